"""What was brought in from elsewhere."""
