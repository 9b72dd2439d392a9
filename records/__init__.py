"""Records that lie on disk or cross from one process to another, and the errors where they cannot be read."""
