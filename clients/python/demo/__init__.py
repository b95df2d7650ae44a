"""A believable day of a few hundred players, played over HTTP against a running server."""
