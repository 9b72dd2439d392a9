"""Which layer of an artifact is at fault."""
