"""People: their account, their slug, their role."""
