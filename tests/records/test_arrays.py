"""Arrays are as the tensors that describe them say, or one sentence says how they differ."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from records.arrays import read_arrays, unlike
from records.errors import BadInput
from records.tensor import Array, Tensor

IMAGE = Tensor("image", "float32", ("batch", 3, "height", 8), "NCHW")
GOOD = np.zeros((4, 3, 9, 8), np.float32)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"image": GOOD}, ""),
        ({}, "has no image"),
        ({"image": GOOD, "x" * 999: GOOD}, f"has {'x' * 200}…, which the model has not"),
        ({"image": GOOD[..., 0]}, "image has the shape (4, 3, 9), the model"),
        ({"image": GOOD[:, :2]}, "image has the shape (4, 2, 9, 8), the model"),
        ({"image": GOOD.astype(np.float64)}, "image is float64, the model's float32"),
        ({"image": GOOD[:0]}, "image has 0 samples"),
    ],
)
def test_arrays_that_differ_are_seen(arrays: dict[str, Array], said: str) -> None:
    assert unlike(arrays, [IMAGE]).startswith(said)
    assert bool(unlike(arrays, [IMAGE])) == bool(said)


def test_an_oracle_has_double_precision_and_another_size_other_lengths() -> None:
    other = {"image": np.zeros((4, 3, 9, 12))}
    assert unlike({"image": GOOD.astype(np.float64)}, [IMAGE], exact=False) == ""
    assert unlike({"image": GOOD.astype(np.int64)}, [IMAGE], exact=False)
    assert unlike(other, [IMAGE], exact=False, any_size=True) == ""
    assert unlike(other, [IMAGE], exact=False)


def test_outputs_are_of_as_many_samples_as_inputs() -> None:
    assert unlike({"image": GOOD}, [IMAGE], 4) == ""
    assert unlike({"image": GOOD}, [IMAGE], 5) == "image has 4 samples of 5"
    number = Tensor("number", "int64", ("batch",))
    assert unlike({"image": GOOD, "number": np.zeros(3, np.int64)}, [IMAGE, number]) == "number has 3 samples of 4"


WHOLE = save({"image": GOOD})


@pytest.mark.parametrize(
    "content", [b"", b"no tensors", WHOLE[:-1], WHOLE[:40], (2**62).to_bytes(8, "little") + WHOLE[8:], WHOLE * 2]
)
def test_a_file_that_is_no_safetensors_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden").write_bytes(content)
    with pytest.raises(BadInput, match=r"^golden was truncated or is no safetensors \(.*\)\. Train again\.$"):
        read_arrays(tmp_path / "golden", "golden", "Train again.")
