"""Platforms' stores as real HTTP servers on 127.0.0.1, with faults on command."""
