"""A report says of every TFLite file what its manifest says, and it fails nothing."""

from pathlib import Path

from export.run import Run
from validate import parity
from validate.judge.lint import lints
from validate.measure import Options
from validate.runtimes import runner


def test_a_report_has_the_lint_of_every_tflite_file_that_is_there(released: Path) -> None:
    run = Run.open("tiny")
    artifacts = {name: run.artifact(name) for name in run.expected()}
    found = {lint.artifact: lint for lint in lints({**artifacts, "tflite/gone": None})}
    assert list(found) == [name for name in artifacts if name.startswith("tflite/")]
    whole, none = found["tflite/float32"], found["tflite/int8_int16"]
    assert (whole.in_xnnpack, whole.on_gpu_list) == (whole.operators, whole.operators)
    assert whole.sentences[0] == f"all {whole.operators} operators run in XNNPACK."
    assert (none.in_xnnpack, none.on_gpu_list) == (0, 0)
    rows = [one for one in runner.find() if one.target == "tflite" and one.toolchain == "litert"]
    report = parity.check(run, rows, Options(1, timed=3))
    assert report.lints == list(found.values())
    assert {one.status for one in report.results if one.target == "tflite"} == {"pass"}
