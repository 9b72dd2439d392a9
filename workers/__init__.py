"""Processes in foreign worlds: locked environments, and workers in them that speak with us."""
