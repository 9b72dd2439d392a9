"""What cannot be judged is refused before anything is run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.run import Run
from pipeline.checkpoint import Checkpoint
from records.errors import BadInput
from records.tensor import Arrays
from tests.conftest import Said
from validate.judge import admission


def rewritten(change: Callable[[dict[str, Arrays]], None], **fields: Any) -> Run:
    """The run whose checkpoint has other arrays or fields, as if training had written them."""
    folder = Path("runs/tiny/checkpoint")
    record, opened = json.loads((folder / "checkpoint.json").read_text()), Checkpoint.open(folder)
    arrays = {name: opened.arrays(name) for name in record["files"] if name.endswith(".safetensors")}
    change(arrays)
    kept = {key: record[key] for key in record if key not in {"sha256", "files", "format"}} | fields
    Checkpoint.write(folder, kept, (folder / "config.toml").read_text(), arrays)
    return Run.open("tiny")


def golden(**changes: Callable[[Arrays], Any]) -> Callable[[dict[str, Arrays]], None]:
    def change(arrays: dict[str, Arrays]) -> None:
        for name, make in changes.items():
            key = name.replace("__", ".")
            arrays["golden.safetensors"][key] = np.ascontiguousarray(make(arrays["golden.safetensors"]))

    return change


def logits(make: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Callable[[dict[str, Arrays]], None]:
    """Golden's and the oracle's."""
    return golden(output__logits=lambda g: make(g["output.logits"]), oracle__logits=lambda g: make(g["oracle.logits"]))


def first(count: int) -> Callable[[dict[str, Arrays]], None]:
    def change(arrays: dict[str, Arrays]) -> None:
        values = arrays["golden.safetensors"]
        arrays["golden.safetensors"] = {name: np.ascontiguousarray(value[:count]) for name, value in values.items()}

    return change


def shared_with_calibration(arrays: dict[str, Arrays]) -> None:
    arrays["calibration.safetensors"]["input.image"][3] = arrays["golden.safetensors"]["input.image"][5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (first(12), "12 samples; parity needs 16"),
        (golden(labels=lambda g: np.zeros_like(g["labels"])), "all 64 labels are one class"),
        (golden(labels=lambda g: g["labels"] + 1), "label 10, but there are 10 classes"),
        (golden(output__logits=lambda g: g["output.logits"] * 0 + 3), "the same for every input"),
        (golden(output__logits=lambda g: g["output.logits"] * 1e-9), "nothing beyond"),
        (golden(output__logits=lambda g: g["output.logits"] * 1e-6 + 1), "noise floors"),
        (golden(output__logits=lambda g: g["output.logits"] * np.nan), "no numbers"),
        (logits(lambda values: values[:, :9]), r"output logits has the shape \(64, 9\)"),
        (golden(labels=lambda g: g["labels"] / 2), "labels are float64"),
        (shared_with_calibration, "1 of its 32 images are golden, too"),
    ],
)
def test_golden_that_proves_nothing_is_refused(
    workplace: Path, change: Callable[[dict[str, Arrays]], None], said: str
) -> None:
    run = rewritten(change)
    with pytest.raises(BadInput, match=said):
        admission.check(run, run.checkpoint.golden())


def test_as_many_labels_as_values_are_needed(workplace: Path) -> None:
    run = Run.open("tiny")
    fewer = replace(run, checkpoint=replace(run.checkpoint, labels=run.checkpoint.labels[:9]))
    with pytest.raises(BadInput, match="10 values, but 9 labels"):
        admission.check(fewer, run.checkpoint.golden())


def test_good_golden_is_not_refused_and_one_decision_for_all_is_warned_of(workplace: Path) -> None:
    run = Run.open("tiny")
    assert admission.check(run, run.checkpoint.golden()) == []
    run = rewritten(logits(lambda values: values + 100 * np.eye(10, dtype=values.dtype)[3]))
    assert "decides for one class" in admission.check(run, run.checkpoint.golden())[0]


def test_what_no_conversion_made_is_refused_and_nothing_is_overwritten(
    at_home: Path, command: Callable[..., Said]
) -> None:
    folder = Path("runs/tiny")
    (folder / "report").mkdir()
    (folder / "report" / "report.json").write_text("before")
    (folder / "artifacts" / "onnx" / "int4").mkdir()
    said = command("validate", "tiny")
    assert said.status == 2
    assert "artifacts/onnx/int4: no conversion of this run made it" in said.err
    assert (folder / "report" / "report.json").read_text() == "before"


def test_the_empty_folder_that_a_failed_conversion_leaves_is_no_artifact(workplace: Path) -> None:
    run = Run.open("tiny")
    (run.folder / "artifacts" / "tfjs").mkdir(parents=True)
    assert admission.check(run, run.checkpoint.golden()) == []


def test_golden_that_was_altered_is_refused(at_home: Path, command: Callable[..., Said]) -> None:
    path = Path("runs/tiny/checkpoint/golden.safetensors")
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    said = command("validate", "tiny")
    assert said.status == 2
    assert "golden.safetensors was truncated or altered" in said.err
    assert not Path("runs/tiny/report").exists()
