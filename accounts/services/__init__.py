"""Every write of accounts. One module a subject."""
