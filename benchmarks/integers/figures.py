"""What one int8 file is worth against PyTorch, as the table has it. Runs inside toolchains: numpy only."""

import numpy as np

from measures import tasks
from measures.distance import agreement, sqnr_db, sqnr_of_most_db
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays


def figures(opened: Checkpoint, actual: Arrays, size_bytes: int) -> dict[str, float]:
    """Return SQNR of most samples and of single ones, agreement and fall of the metric, of outputs (n, …) on golden."""
    golden, task = opened.golden(), tasks.load(opened.task)
    count = len(next(iter(actual.values())))
    reference = {name: golden.outputs[name][:count] for name in actual}
    truth = {name: values[:count] for name, values in golden.truth.items()}
    single = [
        np.quantile([sqnr_db(actual[name][row], values[row]) for row in range(count)], 0.1)
        for name, values in reference.items()
    ]
    return {
        "most_db": min(sqnr_of_most_db(actual[name], values) for name, values in reference.items()),
        "single_db": float(min(single)),
        "agreement": agreement(task.decide(actual), task.decide(reference)),
        "fall": task.score(reference, truth) - task.score(actual, truth) if truth else float("nan"),
        "size_bytes": size_bytes,
    }
