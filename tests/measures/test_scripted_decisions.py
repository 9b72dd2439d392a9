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
    outputs = {"logits": np.random.default_rng(0).random((6, 4), np.float32)}
    assert np.array_equal(alone["decide"](outputs), decide(outputs))
