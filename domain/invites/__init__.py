"""Invitations: links with which people make their own accounts."""
