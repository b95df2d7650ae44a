"""What the server can do, measured: `python -m benchmarks` (docs/performance.md)."""
