"""Measurements that are no tests: how long, how much memory, how right, beside what one would do otherwise."""
