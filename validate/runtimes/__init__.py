"""What a runner is, the harnesses that feed it, and the programs that runtimes need."""
