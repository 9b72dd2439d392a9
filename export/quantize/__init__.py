"""Integers: calibration, which layers stay in float32, and the quantizers."""
