"""Declared backends, and the home templates of their agents."""
