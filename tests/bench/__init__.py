"""Benchmarks: `make bench`. They start the real daemon against the real emulator; see docs/benchmarks.md."""
