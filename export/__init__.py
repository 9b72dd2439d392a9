"""Checkpoint to artifacts. Knows `pipeline/` by its doors only."""
