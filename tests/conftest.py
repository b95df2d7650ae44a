"""What every test can use; the fixtures themselves are in tests/fixtures/."""

pytest_plugins = ["tests.fixtures.api"]
