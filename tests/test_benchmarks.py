"""The benchmark compares what it times: a step that wrote something wrong, or nothing, is no fast one."""

from pathlib import Path

import pytest

from benchmarks.export import Comparer, Step, alone
from benchmarks.integers import __main__ as integers
from export.run import Run


@pytest.mark.parametrize("name", ["tfjs/float32", "tflite/float32"])
def test_an_artifact_is_run_and_compared_with_golden(released: Path, tmp_path: Path, name: str) -> None:
    run = Run.open("tiny")
    step = alone(run, name, Comparer(run, tmp_path))
    assert step.failed == ""
    assert step.right
    assert step.batch == {"tfjs/float32": "any", "tflite/float32": "1"}[name]


def test_a_step_whose_file_does_not_run_has_failed(released: Path, tmp_path: Path) -> None:
    run = Run.open("tiny")
    (tmp_path / "model.json").write_text('{"signature": {"inputs": {}, "outputs": {}}}')
    step = Comparer(run, tmp_path).compared(Step("converter"), "tfjs", tmp_path / "model.json")
    assert step.failed.startswith("written, but it does not run")
    assert not step.right


@pytest.mark.nightly
def test_int8_of_every_tool_is_measured_on_golden(released: Path) -> None:
    tools = {**integers.onnx("tiny", 32), **integers.tflite("tiny", 32)}
    assert set(tools) == {"TFLiteConverter", "LiteRT Quantizer", "ONNX Runtime", "anywhere"}
    for tool, values in tools.items():
        assert values["agreement"] > 0.8, (tool, values)
        assert values["most_db"] > 10
        assert integers.cells(values)[-1] == f"{values['size_bytes'] / 1e6:.2f}"
    assert integers.cells({"reason": "it stops"})[0] == "it stops"


@pytest.mark.nightly
def test_int8_by_a_tool_with_an_environment_of_its_own(released: Path) -> None:
    tools = integers.onnx("tiny", 32, ["nncf"])
    assert list(tools) == ["ONNX Runtime", "nncf", "anywhere"]
    assert tools["nncf"]["most_db"] > 10
