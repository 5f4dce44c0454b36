"""Agents: one person's instance of one backend."""
