"""The folder is the registry; a plan holds what was asked for, after what it is made from."""

from pathlib import Path
from typing import Any

import pytest

from export.target import code, find, plan
from records.constants import constants
from records.errors import BadInput


def names(**options: Any) -> list[str]:
    return [conversion.name for conversion in plan(find(), **options)]


def test_a_file_in_the_folder_is_a_target(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text(
        'import no_such_module\nTOOLCHAIN = "torch"\nSOURCES = {"float32": "checkpoint"}\n'
    )
    assert list(find(tmp_path)) == ["new"]
    assert find(tmp_path)["new"].toolchain == "torch"


def test_a_target_names_the_variables_of_its_worker(tmp_path: Path) -> None:
    head = 'import no_such_module\nTOOLCHAIN = "torch"\nSOURCES = {"float32": "checkpoint"}\n'
    (tmp_path / "one.py").write_text(head + 'ENVIRONMENT = {"A": "1", "B": "2"}\n')
    (tmp_path / "same.py").write_text(head + 'ENVIRONMENT = {"B": "2", "A": "1"}\n')
    (tmp_path / "other.py").write_text(head + 'ENVIRONMENT = {"A": "1"}\n')
    (tmp_path / "none.py").write_text(head)
    targets = find(tmp_path)
    assert targets["one"].environment == {"A": "1", "B": "2"}
    assert targets["none"].environment == {}
    assert targets["one"].workplace == targets["same"].workplace
    assert len({target.workplace for target in targets.values()}) == 3


def test_targets_of_a_toolchain_share_one_worker() -> None:
    """So that TensorFlow is imported once and in memory once."""
    targets = find().values()
    assert len({one.workplace for one in targets}) == len({one.toolchain for one in targets})


def test_constants_are_read_without_running_the_file(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text("A = 1\nB = [A]\nraise SystemExit\nC = {'x': (1, 2)}\n")
    assert constants(file) == {"A": 1, "C": {"x": (1, 2)}}


def test_constants_of_a_javascript_file_are_json_on_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file.mjs"
    file.write_text(
        'throw "run";\nexport const A = ["wasm", 1.5];\nexport const B = {"webgl": 8};\nexport const C = A[0];\n'
        "const D = 4;\n  export const E = 5;\n"
    )
    assert constants(file) == {"A": ["wasm", 1.5], "B": {"webgl": 8}}


def test_what_decides_an_artifact_is_all_that_its_target_imports_of_the_project() -> None:
    target = find()["tflite"]
    names = {file.name for file in code(target.file)}
    assert {
        "tflite.py",
        "tflite_converter.py",
        "repair.py",
        "checkpoint.py",
        "tensor.py",
        "tfjs_operators.txt",
    } <= names
    assert {"tfjs_kernels.json"} <= {file.name for file in code(find()["tfjs"].file)}
    assert not names & {"onnx.py", "convert.py", "numpy.py", "train.py"}


def test_a_plan_has_sources_before_what_is_made_from_them() -> None:
    everything = names()
    assert everything.index("onnx/float32") < everything.index("onnx/int8")
    assert {"torchscript/float32", "exported_program/float32", "onnx/float16"} <= set(everything)


def test_a_source_is_added_to_what_was_asked_for() -> None:
    assert names(to=["onnx"], precisions=["int8"]) == ["onnx/float32", "onnx/int8"]
    assert names(precisions=["int8"]) == ["onnx/float32", "onnx/int8", "tflite/int8"]
    assert names(to=["tflite"], precisions=["float32"]) == ["onnx/float32", "saved_model/float32", "tflite/float32"]
    assert names(to=["torchscript", "onnx"], precisions=["int8"]) == ["onnx/float32", "onnx/int8"]
    assert names(to=["torchscript", "onnx"], precisions=["float32"]) == ["torchscript/float32", "onnx/float32"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": ["onxx"]}, "unknown target 'onxx'. Nearest: onnx"),
        ({"precisions": ["int4"]}, "unknown precision 'int4'. Nearest: int8"),
        ({"to": ["torchscript"], "precisions": ["int8"]}, "none of torchscript has int8. torchscript has float32."),
    ],
)
def test_unknown_names_come_with_the_nearest(options: dict[str, list[str]], said: str) -> None:
    with pytest.raises(BadInput) as raised:
        names(**options)
    assert said in str(raised.value)


def test_a_target_for_one_task_is_planned_for_that_task_alone(tmp_path: Path) -> None:
    for name, more in (("all", ""), ("boxes", 'TASKS = ["detection"]\n')):
        (tmp_path / f"{name}.py").write_text(f'TOOLCHAIN = "torch"\nSOURCES = {{"float32": "checkpoint"}}\n{more}')
    targets = find(tmp_path)
    assert [one.name for one in plan(targets, task="detection")] == ["all/float32", "boxes/float32"]
    assert [one.name for one in plan(targets, task="classification")] == ["all/float32"]
    with pytest.raises(BadInput, match="target boxes: is for detection, not classification"):
        plan(targets, ["boxes"], task="classification")
