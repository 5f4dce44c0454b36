"""/api/me: one's own account, sign-ins, API tokens and usage."""
