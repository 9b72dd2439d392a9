"""Runners, the harnesses that feed them, and the programs that runtimes need."""
