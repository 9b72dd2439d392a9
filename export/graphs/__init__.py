"""Graphs in hand, one world a file or folder: what targets share."""
