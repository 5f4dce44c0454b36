"""Homes: the folders in which agents keep their files."""
