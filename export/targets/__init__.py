"""One target, one file; `export/target.py` says what a target is. The folder is the registry."""
