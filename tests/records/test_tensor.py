"""A tensor's two forms: what is stored can be restored, in every layout and type."""

import numpy as np
import pytest

from records.tensor import Tensor, tensor_from, tensors_to

SHAPES = {
    "NCHW": (2, 3, 4, 5),
    "NHWC": (2, 3, 4, 5),
    "NWC": (2, 3, 4),
    "NDHWC": (2, 3, 4, 5, 6),
    "NK": (2, 7),
    "": (2, 3, 4, 5),
}
"""Layout → the shape of a checkpoint's array."""
PREPARED = {
    "resize": [8, 8], "crop": None, "interpolation": "bilinear", "antialias": True, "channels": "RGB", "scale": 1 / 255,
}  # fmt: skip
NO_TENSORS = [
    {"dtype": "float32", "shape": [1]},
    {"name": "x", "dtype": "int8"},
    {"name": "x", "dtype": "int8", "shape": 3},
    {"name": "x", "dtype": "int8", "shape": [1], "colour": 1},
    None,
    "x",
    *(
        {"name": "x", "dtype": "int8", "shape": shape}
        for shape in ([], [0, 3], [-1, 3], [2**62], [2**21, 2**21], [None], [{}], [[1]])
    ),
    *(
        {"name": "x", "dtype": "uint8", "shape": ["batch", 3], **more}
        for more in (
            {"dtype": "float33 or so"}, {"layout": "NCHW"}, {"scale": 0.0}, {"scale": float("nan")}, {"scale": -1},
            {"dtype": "float32", "scale": 0.5}, {"range": [1, 0]}, {"range": [float("nan"), 1]}, {"range": [1, 2, 3]},
            {"preparation": {}},
        )
    ),
    *(
        {"name": "x", "dtype": "uint8", "shape": ["batch", 3], "preparation": {**PREPARED, **more}}
        for more in ({"scale": "a"}, {"scale": None})
    ),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "shape"), SHAPES.items())
def test_what_is_stored_is_restored(layout: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape, np.float32)
    tensor = Tensor("image", "float32", shape, layout)
    stored = tensor.stored(values)
    np.testing.assert_array_equal(tensor.restored(stored), values)
    if layout.endswith("C"):
        assert stored.shape == (shape[0], *shape[2:], shape[1])
        np.testing.assert_array_equal(stored[..., 1], values[:, 1])
    else:
        assert stored.shape == shape


def test_integers_are_the_nearest_steps_and_end_where_their_type_does() -> None:
    tensor = Tensor("image", "uint8", ("batch", 1), "NK", scale=0.5, zero_point=3)
    stored = tensor.stored(np.array([[-9], [0.2], [0.25], [0.75], [1000]], np.float32))
    assert stored.dtype == np.uint8
    assert stored.ravel().tolist() == [0, 3, 3, 5, 255]  # half a step goes to the even one
    assert tensor.restored(stored).ravel().tolist() == [-1.5, 0, 0, 1, 126]


def test_a_restored_array_is_a_copy() -> None:
    memory = np.zeros((1, 2), np.float32)
    restored = Tensor("logits", "float32", (1, 2), "NK").restored(memory)
    memory[:] = 1
    assert not restored.any()


def test_json_gives_the_same_tensor_and_what_is_left_out_has_its_default() -> None:
    tensor = Tensor("image", "int8", ("batch", 3, 8, 8), "NCHW", (0.0, 1.0), "RGB", 1 / 255, -128)
    assert tensor_from(tensors_to([tensor])[0]) == tensor
    assert tensor_from({"name": "x", "dtype": "float32", "shape": [1, 2]}) == Tensor("x", "float32", (1, 2))


@pytest.mark.parametrize("item", NO_TENSORS)
def test_what_is_no_tensor_is_said(item: object) -> None:
    with pytest.raises(ValueError, match="no tensor"):
        tensor_from(item)  # type: ignore[arg-type]


def test_a_tensor_as_every_export_has_it_is_read() -> None:
    item = {
        "name": "x", "dtype": "uint8", "shape": ["batch", 8, 8, 3], "layout": "NHWC", "range": [0, 255],
        "scale": 1 / 255, "zero_point": 0, "preparation": PREPARED,
    }  # fmt: skip
    assert tensor_from(item).preparation == PREPARED
    assert tensor_from({**item, "preparation": {**PREPARED, "crop": [4, 4]}, "shape": [1, 8, 8, 3]}).shape[0] == 1
