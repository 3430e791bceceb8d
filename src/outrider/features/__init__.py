"""What Outrider does: independent features, which meet in API objects and never call each other."""
