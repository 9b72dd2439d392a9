"""What a task decides goes into scripts as its source alone, so that it may call nothing else of its file."""

import inspect

import numpy as np
import pytest

from measures import tasks
from records.tensor import Array, Arrays


@pytest.mark.parametrize("name", tasks.names())
def test_the_source_of_a_decision_stands_alone(name: str) -> None:
    decide = tasks.load(name).decide
    alone: dict[str, object] = {"np": np, "Array": Array, "Arrays": Arrays}
    exec(inspect.getsource(decide), alone)
    shape = (6, 4, 5, 5) if name == "segmentation" else (6, 4)
    outputs = {
        "logits": np.random.default_rng(0).random(shape, np.float32),
        "labels": np.arange(24).reshape(6, 4),
        "count": np.arange(6),
    }
    assert np.array_equal(alone["decide"](outputs), decide(outputs))
