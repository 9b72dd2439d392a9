"""What lies on disk, what crosses from one process to another, and the sentence when it cannot be read."""
