"""API tokens: keys for programs, each with a name, a scope and perhaps an end."""
