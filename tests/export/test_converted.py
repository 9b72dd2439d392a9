"""A wrong answer of a conversion is one failed conversion, whatever is wrong with it."""

from pathlib import Path
from typing import Any

import pytest

from export.converted import Converted
from records.tensor import Tensor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").write_text("x")
    return tmp_path


def test_what_a_target_leaves_out_has_its_default(folder: Path) -> None:
    assert Converted.read({"entry": "model"}, folder) == Converted("model")
    given = {"entry": "model", "findings": ["One."], "inputs": [{"name": "x", "dtype": "int8", "shape": [1, 2]}]}
    assert Converted.read(given, folder) == Converted("model", ("One.",), {}, (Tensor("x", "int8", (1, 2)),))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "wrote no entry"),
        ("model", "wrote no entry"),
        ({"entry": "other"}, "wrote no other"),
        ({"entry": "model", "finding": []}, "answers finding, and nobody asks for that"),
        ({"entry": "model", "findings": [3]}, "findings are no sentences"),
        ({"entry": "model", "findings": "One."}, "findings are no sentences"),
        ({"entry": "model", "details": ["x"]}, "details are no facts"),
        ({"entry": "model", "inputs": [{"name": "x"}]}, "inputs are no tensors: no tensor: {'name': 'x'}"),
        ({"entry": "model", "outputs": 3}, "outputs are no tensors"),
    ],
)
def test_what_is_no_answer_is_said(folder: Path, answer: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Converted.read(answer, folder)
