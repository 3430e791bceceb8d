"""What a benchmark of the data path needs around the real gateway and the real tunnel."""
