"""The detector that is trained by default, on 500 pictures: boxes, scores and count are what is promised of float32."""

from dataclasses import replace
from pathlib import Path

import pytest

from export.run import Run
from export.target import find, plan
from tests.kept import bring
from validate import parity
from validate.measure import Options
from validate.runtimes import runner
from validate.runtimes.runner import Runner
from validate.settings import ValidateConfig

pytestmark = pytest.mark.nightly
GOLDEN = 500
FORMATS = ("onnx", "torchscript", "saved_model", "tflite")
ROWS = (
    "onnx/float32 in onnxruntime", "torchscript/float32 in torch", "saved_model/float32 in tensorflow plain",
    "tflite/float32 in litert xnnpack", "tflite/float32 in tflite_runtime",
)  # fmt: skip


def patient() -> list[Runner]:
    """The runners, with time for all pictures, whatever else the machine does."""
    return [
        replace(one, budget=replace(one.budget, collect_s=600.0), limit_s=one.limit_s + 600) for one in runner.find()
    ]


def test_the_default_detector_is_the_same_on_500_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversions = plan(find(), FORMATS, ["float32"], "detection")
    bring("detection", {"task": "detection", "data.golden": GOLDEN}, tmp_path, conversions)
    monkeypatch.chdir(tmp_path)
    run = Run.open("detection")
    assert run.checkpoint.metrics["test_mAP@50"] >= 0.8
    settings = ValidateConfig(only=ROWS)
    report = parity.check(run, patient(), Options(2, timed=1), settings=settings)
    assert {result.name: result.reason for result in report.results if result.status != "pass"} == {}
    assert sorted(result.name for result in report.results) == sorted(ROWS)
    for result in report.results:
        assert result.samples == GOLDEN
        assert result.agreement
        assert result.agreement.share == 1
        worst = {output.name: output.max_absolute for output in result.outputs}
        assert (worst["boxes"] or 0) < 0.01
        assert (worst["scores"] or 0) < 1e-4
