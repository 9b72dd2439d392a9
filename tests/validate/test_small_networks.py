"""A network whose weights are too few to be stored in fewer bytes is right in every precision, and each says so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import anywhere
from export.run import Run
from validate import parity
from validate.measure import Options
from validate.runtimes import runner
from validate.settings import ValidateConfig

WHAT = {
    "tfjs/float16": "nothing is stored in fewer bytes: no weight has 64 values that float16 can hold",
    "tfjs/uint8_weights": "nothing is stored in fewer bytes: no weight has 64 values that uint8_weights can hold",
    "tflite/int8_dynamic": "nothing is quantized: no weight has 1,024 values",
}


@pytest.mark.nightly
def test_a_precision_that_changes_nothing_passes_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    values = np.random.default_rng(0).normal(size=(48, 12)).astype(np.float32)
    told: list[str] = []
    run = anywhere.adopt(nn.Sequential(nn.Linear(12, 5)), inputs={"x": values}, run="few", tell=told.append)
    run.export(to=["tfjs", "tflite"], precision=["float16", "uint8_weights", "int8_dynamic"], tell=told.append)
    settings = ValidateConfig(only=("tfjs/* in node wasm", "tflite/int8_dynamic in litert xnnpack"))
    report = parity.check(Run.open(run.name), runner.find(), Options(1, timed=1), settings=settings)
    results = {f"{result.target}/{result.precision}": result for result in report.results}
    for name, sentence in WHAT.items():
        assert (results[name].status, results[name].outcome) == ("pass", "tight"), results[name].reason
        assert any(warning.startswith(sentence) for warning in results[name].warnings)
        assert any(sentence in line for line in told)
