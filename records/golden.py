"""What a checkpoint proves itself by: names of its arrays."""

PATTERNS = ("black", "white", "checkerboard", "noise", "shifted")
"""Inputs unlike golden's, in the order in which they are run: a slow runtime takes the first."""
PATTERN = "pattern."
"""What stands before the names of their arrays."""
