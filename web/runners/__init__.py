"""Backends and runners over HTTP."""
