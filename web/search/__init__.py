"""/api/search."""
