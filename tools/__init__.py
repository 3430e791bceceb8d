"""What builds, checks and measures the project; nothing of it is shipped."""
