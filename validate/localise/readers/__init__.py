"""Readers of what one target's artifacts compute inside, one file a target; localise.py says what such a file is."""
