"""`make run` and `make test` on a machine that has nothing but Python.

`bootstrap` makes the environment; `services` lends out an embedded PostgreSQL and Valkey, each held
by a keeper of its own for as long as somebody uses it; `run` starts the whole backend under one
supervisor. Only development, tests and CI use this package; images leave it out.
"""
