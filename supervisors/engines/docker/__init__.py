"""The Docker engine: an agent as a hardened container."""
