"""Engines: what actually runs an agent. One protocol, one conformance suite, one module for each engine."""
