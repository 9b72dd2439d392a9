"""int8 by every tool, of the same checkpoint, on the same golden samples."""
