"""Artifacts to report. Knows `export/` by its doors only; no torch, no tensorflow."""
