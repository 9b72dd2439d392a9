"""Data to checkpoint. Imports torch; knows nothing of `export/` or `validate/`."""
