"""Agents and models that do as they are told, for tests."""
