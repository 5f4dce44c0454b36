"""Backends: the kinds of agent that an admin has declared."""
