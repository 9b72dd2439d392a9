"""A network whose activations have one scale for channels of very different sizes: `int8_dynamic` is garbage there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import anywhere
from export.run import Run
from validate import parity
from validate.measure import Options
from validate.report import sentences
from validate.runtimes import runner
from validate.settings import ValidateConfig

WIDE, LOGITS = 48, 32
FAR = 5000.0
"""Times that one channel is as great as the others: 8 bits for both leave the others nothing."""


class Excited(nn.Module):
    """A stem, hard-swish, squeeze and excite, and a pointwise convolution, as MobileNetV3 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDE, 3, stride=2, padding=1)
        self.squeeze, self.excite = nn.Conv2d(WIDE, 16, 1), nn.Conv2d(16, WIDE, 1)
        self.project, self.head = nn.Conv2d(WIDE, WIDE, 1), nn.Linear(WIDE, LOGITS)
        with torch.no_grad():
            self.stem.bias[0] = FAR
            for reader in (self.squeeze, self.project):  # what is the same for every image is of no use to them
                reader.weight[:, 0] = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (N, 32) of images (N, 3, 32, 32)."""
        wide = nn.functional.hardswish(self.stem(image))
        gate = nn.functional.hardsigmoid(self.excite(self.squeeze(wide.mean((2, 3), keepdim=True)).relu()))
        return self.head(nn.functional.hardswish(self.project(wide * gate)).mean((2, 3)))


@pytest.mark.slow
def test_int8_dynamic_is_red_where_it_is_garbage_and_int8_weights_is_offered_and_green(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    colours = np.random.default_rng(0).random((72, 3, 4, 4), np.float32)
    images = {"image": np.kron(colours, np.ones((8, 8), np.float32))}
    run = anywhere.adopt(Excited(), inputs=images, run="excited", tell=lambda _: None)
    run.export(to=["tflite"], precision=["float32", "int8_dynamic", "int8_weights"], tell=lambda _: None)
    settings = ValidateConfig(only=("tflite/* in litert xnnpack",))
    report = parity.check(Run.open(run.name), runner.find(), Options(1, timed=1), settings=settings)
    results = {result.precision: result for result in report.results}
    decibels = {precision: result.outputs[0].sqnr_db for precision, result in results.items()}
    assert results["float32"].status == results["int8_weights"].status == "pass", decibels
    assert results["int8_dynamic"].outcome == "blocking", decibels
    assert results["int8_dynamic"].flags == ["output is the same for all 40 inputs, whatever they are"]
    assert decibels["int8_dynamic"] > 15  # what all images have in common is most of the outputs
    (failure,) = sentences.failures(report)
    steps = [command for _, command in failure.steps]
    assert "anywhere export excited --to tflite --precision int8_weights" in steps
