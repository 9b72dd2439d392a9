"""One target in one runtime, one file; `validate/runner.py` says what a runner is. The folder is the registry."""
