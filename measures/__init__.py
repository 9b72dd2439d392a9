"""Arrays in, numbers out: distances, tolerances, red flags, and what a task decides."""
