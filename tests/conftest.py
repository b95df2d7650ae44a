"""What every test can use; the fixtures themselves are in tests/fixtures/."""

from django.core.servers.basehttp import WSGIRequestHandler

pytest_plugins = ["tests.fixtures.api", "tests.fixtures.broker", "tests.fixtures.database"]

# Live servers send heads and bodies apart: each answer would wait for the client's delayed ACK.
WSGIRequestHandler.disable_nagle_algorithm = True
