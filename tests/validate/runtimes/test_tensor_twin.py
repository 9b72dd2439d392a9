"""A tensor's two forms in JavaScript are those of Python, number for number."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from records.tensor import Tensor
from workers import registry
from workers.worker import Worker

SHAPES = {"NCHW": (2, 3, 4, 5), "NHWC": (2, 3, 4, 5), "NWC": (2, 3, 4), "NDHWC": (2, 3, 2, 4, 5), "NK": (3, 7)}
KINDS = [("float32", None, 0), ("uint8", 1 / 255, 0), ("int8", 0.5, -3), ("int16", 0.001, 0)]


FOREIGN = ("node",)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    chain = registry.find()["web"]
    chain.build()
    with chain.start(tmp_path_factory.mktemp("twin") / "log") as worker:
        yield worker


@pytest.mark.parametrize(("kind", "scale", "zero"), KINDS, ids=[kind for kind, *_ in KINDS])
@pytest.mark.parametrize("layout", SHAPES)
def test_both_twins_store_and_restore_the_same(
    node: Worker, layout: str, kind: str, scale: float | None, zero: int
) -> None:
    shape = SHAPES[layout]
    values = (60 * np.random.default_rng(0).normal(size=shape)).astype(np.float32)
    values.ravel()[:4] = [0.25, 0.75, -0.25, 1e6]  # half a step goes to the even one; beyond the end there is no more
    stored_shape = (shape[0], *shape[2:], shape[1]) if layout.endswith("C") else shape
    tensor = Tensor("image", kind, stored_shape, layout, scale=scale, zero_point=zero)
    arguments = {"data": values.ravel().tolist(), "shape": list(shape), "tensor": asdict(tensor)}
    there, back = node.call(Path(__file__).with_name("twin.mjs"), "turn", arguments, node.log, 60).value
    stored = tensor.stored(values)
    assert there["type"].lower().removesuffix("array") == stored.dtype.name
    assert (there["shape"], there["data"]) == (list(stored.shape), stored.ravel().tolist())
    restored = tensor.restored(stored)
    assert back["shape"] == list(restored.shape) == list(shape)
    np.testing.assert_array_equal(np.array(back["data"], np.float32), restored.ravel())
