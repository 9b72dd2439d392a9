"""Whether a run can be judged, and how each of its measured rows is."""
