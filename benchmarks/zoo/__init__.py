"""The zoo: networks that nobody tuned the converters for, each through the project's own commands.

python -m benchmarks.zoo [--only NAME,NAME] [--force]        or: make zoo
"""
