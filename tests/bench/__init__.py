"""Measurements. `make bench` runs them all; each figure stands beside one of the same run."""
