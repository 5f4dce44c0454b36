"""Limits: how much one address, account or user may ask for."""
