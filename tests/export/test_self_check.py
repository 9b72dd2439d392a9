"""What a conversion checks by itself."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from export import self_check
from export.graphs import onnx_exporter, onnx_runtime
from export.graphs.operators import Inexpressible
from export.quantize.calibration import calibration
from export.targets import onnx as onnx_target
from measures.distance import CEILING_DB
from pipeline.checkpoint import Checkpoint


def test_the_least_of_all_outputs_counts_and_a_nan_is_none() -> None:
    good = np.arange(8, dtype=np.float32)
    assert self_check.least({"a": good}, {"a": good}) == CEILING_DB
    assert 19 < self_check.least({"a": good, "b": good * 1.1}, {"a": good, "b": good}) < 21
    assert not self_check.least({"a": good * np.nan}, {"a": good}) >= 0
    with pytest.raises(ValueError, match=r"shape \(4,\), its source gives \(8,\)"):
        self_check.least({"a": good[:4]}, {"a": good})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.random.default_rng(0).random((31, 3, 8, 8)), "has 31 samples of image; integer ranges need 32"),
        (np.full((40, 3, 8, 8), 0.5), "is constant"),
        (np.repeat(np.random.default_rng(0).random((1, 3, 8, 8)), 40, 0), "is constant"),
    ],
)
def test_calibration_without_a_basis_is_refused(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, values: np.ndarray, said: str
) -> None:
    opened = Checkpoint.open(Path("runs/tiny/checkpoint"))
    assert calibration(opened)["image"].shape == (32, 3, 28, 28)
    monkeypatch.setattr(Checkpoint, "calibration", lambda self: {"image": values.astype(np.float32)})
    with pytest.raises(ValueError, match=said):
        calibration(opened)


def test_weights_beyond_two_gib_are_refused(workplace: Path, tmp_path: Path) -> None:
    opened = Checkpoint.open(Path("runs/tiny/checkpoint"))
    self_check.fits(opened, "ONNX in one file")
    with (tmp_path / "weights.safetensors").open("wb") as file:
        file.truncate(2**31)  # a hole: it takes no room
    with pytest.raises(ValueError, match=r"weights of 2\.0 GiB, and ONNX in one file holds 2 at most"):
        self_check.fits(replace(opened, folder=tmp_path), "ONNX in one file")


@pytest.mark.slow
def test_weights_beyond_two_gib_lie_beside_the_onnx_file(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_check, "LIMIT_BYTES", 2**10)
    folder, out = Path("runs/tiny/checkpoint"), tmp_path / "out"
    out.mkdir()
    made = onnx_target.convert(folder, folder, "float32", out)
    assert {path.name for path in out.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert made["findings"] == ["no cross-check: the TorchScript-based exporter writes 2 GiB at most"]
    golden = Checkpoint.open(folder).golden()
    actual = onnx_runtime.run(out / "model.onnx", golden.inputs)
    assert self_check.least(actual, golden.outputs) > 100
    with pytest.raises(Inexpressible, match="the file that float16 is made in holds 2 at most"):
        onnx_target.convert(out / "model.onnx", folder, "float16", tmp_path)


@pytest.mark.parametrize("chained", [False, True])
def test_a_full_disk_is_no_finding_of_the_cross_check(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, chained: bool
) -> None:
    def full(*_: object, **__: object) -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if chained:
                raise RuntimeError("the exporter's own words") from error
            raise

    def other(*_: object, **__: object) -> None:
        raise OSError("could not get source code")

    opened, path = Checkpoint.open(Path("runs/tiny/checkpoint")), Path("runs/tiny/artifacts/onnx/float32/model.onnx")
    monkeypatch.setattr(torch.onnx, "export", full)
    with pytest.raises(OSError, match="No space left on device"):
        onnx_exporter.cross_check(opened, path)
    monkeypatch.setattr(torch.onnx, "export", other)
    assert "exporter failed (OSError; see the log)" in onnx_exporter.cross_check(opened, path)[0][0]
