"""One target in one runtime, one file; runner.py says what a runner is. The folder is the registry."""
