"""Runners: one start of one agent, from the request for it to its end."""
