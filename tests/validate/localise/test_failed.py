"""A runtime that stops at an operator names the module in its row, in every format; what is not known is not said."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console

from export.convert import convert
from export.run import Run
from export.target import find, plan
from pipeline import config as configs
from pipeline.train import settle, train
from tests.conftest import Said, entered
from tests.validate.report import reports
from tests.validate.test_parity import check, reseal, rewrite
from validate.localise.failed import explained
from validate.report import records, sentences
from validate.report.records import Report, Result
from validate.runtimes import runner
from workers import registry
from workers.toolchain import Toolchain
from workers.worker import Worker, WorkerFailed

BROKEN = Path(__file__).with_name("broken.py")
DIVIDING = Path(__file__).parents[2] / "export" / "quantize" / "dividing.py"


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs/tiny` of a network that divides, in integers. Not to be written into."""
    place = tmp_path_factory.mktemp("divided")
    shutil.copy(DIVIDING, place)
    wanted = {"model.name": "dividing:of_digits", "train.epochs": 1, "data.golden": 64, "data.calibration": 32}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train(settle(configs.read(None, wanted)), place / "runs" / "tiny", None, Console(quiet=True))
        conversions = [
            one for one in plan(find()) if one.name in {"onnx/float32", "saved_model/float32", "tflite/int8"}
        ]
        outcomes = convert(Run.open("tiny"), conversions, jobs=1, force=False, report=lambda _: None)
        assert [one.reason for one in outcomes if one.artifact is None] == []
    return place


def breaks(name: str, function: str, tmp_path: Path) -> None:
    """One operator of an artifact, as if it were the conversion's."""
    artifact = Run.open("tiny").artifact(name)
    chain = registry.find()["tensorflow"]
    chain.build()
    with chain.start(tmp_path / "log") as worker:
        worker.call(BROKEN, function, {"path": str(artifact.path.absolute())}, tmp_path / "log", 300)
    reseal(artifact.folder)


@pytest.mark.slow
def test_a_division_by_zero_names_its_module_and_keeping_it_in_float_mends_it(
    divided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Said]
) -> None:
    entered(divided, tmp_path / "work", monkeypatch)
    breaks("tflite/int8", "divides_by_zero", tmp_path)
    command("validate", "tiny", "--leave-out", "* litert_arm64", "--leave-out", "saved*", "--leave-out", "onnx*")
    report = records.read(Path("runs/tiny/report/report.json"))
    stopped = {one.where: one for one in report.results if one.status in {"error", "refused"}}
    assert set(stopped) == {"litert xnnpack", "litert builtin", "litertjs wasm", "tflite_runtime"}
    for where, one in stopped.items():
        assert "data[i] != zero_point was not true" in one.reason or where == "tflite_runtime"
        assert "(DIV) failed to invoke. " in one.reason or where == "tflite_runtime"
        assert ". That operator computes light (between normalisation and features." in one.reason
        assert one.stopped_in == ["light"]
        keeping = "anywhere export tiny --to tflite --precision int8 --keep-float light"
        assert keeping in [step for _, step in sentences.steps(report, one)]
    kept = command("export", "tiny", "--precision", "int8", "--to", "tflite", "--keep-float", "light")
    assert kept.status == 0
    again = check(runner.find(), only=("tflite/int8 in litert*",), leave_out=("* litert_arm64",))
    ran = [one for one in again.values() if one.status != "not_run"]
    assert {one.status for one in ran} <= {"pass", "fail"}
    assert len(ran) == 3


def test_onnx_runtime_names_the_module_of_a_layer_with_other_channels(shown: Run) -> None:
    def fewer(model: onnx.ModelProto) -> None:
        (item,) = [one for one in model.graph.initializer if "conv2.weight" in one.name]
        item.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(item)[:, 1:], item.name))

    rewrite("onnx/float32", fewer)
    row = check()["onnx/float32 in onnxruntime"]
    assert row.status == "error"
    assert "channels" in row.reason
    assert "That operator computes conv2 (between " in row.reason
    assert row.stopped_in == ["conv2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function", "where", "said"),
    [
        ("tflite/float32", "is_newer", "* in litert*", "opcode 'FULLY_CONNECTED' version '99'"),
        ("tflite/float32", "is_newer", "* in tflite_runtime", "has no FULLY_CONNECTED version 99"),
        ("saved_model/float32", "is_of_integers", "*", "{{node "),
    ],
)
def test_every_runtime_of_a_format_names_the_module(
    released: Path, tmp_path: Path, name: str, function: str, where: str, said: str
) -> None:
    breaks(name, function, tmp_path)
    rows = check(runner.find(), only=(f"{name} in *",), leave_out=("* litert_arm64",))
    rows = {row: one for row, one in rows.items() if one.status != "not_run" and (where == "*" or said in one.reason)}
    assert len(rows) >= (3 if "litert" in where else 1)
    for row, one in rows.items():
        assert said in one.reason, row
        assert "That operator computes fc1 (between " in one.reason, row


@pytest.mark.slow
def test_tensorflow_js_names_the_module_of_an_operator_it_does_not_have(released: Path) -> None:
    artifact = Run.open("tiny").artifact("tfjs/float32")
    model = json.loads(artifact.path.read_text())
    (pool, *_) = [one for one in model["modelTopology"]["node"] if one["op"] == "MaxPool"]
    pool["op"] = "Digamma"
    artifact.path.write_text(json.dumps(model))
    reseal(artifact.folder)
    row = check(runner.find(), only=("tfjs/float32 in node cpu",))["tfjs/float32 in node cpu"]
    assert "Unknown op 'Digamma'" in row.reason
    assert "That operator computes " in row.reason
    assert row.stopped_in


NAMED = "Fail: Non-zero status code returned while running Conv node. Name:'node_conv2d' Status Message: no."


def stopped(made: Report, reason: str = NAMED, status: records.Status = "error") -> Result:
    return reports.unmeasured(made, target="onnx", precision="float32", status=status, reason=reason)


def test_a_reader_that_fails_leaves_the_sentence_of_the_runtime(shown: Run, made: Report) -> None:
    def fails(chain: Toolchain, file: Path, log: Path) -> AbstractContextManager[Worker]:
        raise WorkerFailed("it crashes at this file")

    row = stopped(made)
    assert explained(shown, [row], registry.find(), fails) == [row]
    (shown.place("onnx/float32") / "model.onnx").write_bytes(b"rubbish")
    assert explained(shown, [row], registry.find()) == [row]
    reseal(shown.place("onnx/float32"))
    assert explained(shown, [row], registry.find()) == [row]


def test_an_artifact_is_read_once_and_only_where_a_runtime_named_an_operator(shown: Run, made: Report) -> None:
    started = []

    def start(chain: Toolchain, file: Path, log: Path) -> AbstractContextManager[Worker]:
        started.append(file.stem)
        return chain.start(log, [file])

    silent = stopped(made, "the worker of toolchain torch was ended by signal SIGSEGV")
    passed = stopped(made, NAMED, "pass")
    other = dataclasses.replace(stopped(made), target="torchscript")  # whose inside cannot be read
    assert explained(shown, [silent, passed, other], registry.find(), start) == [silent, passed, other]
    assert started == []
    rows = [dataclasses.replace(stopped(made), backend=f"b{number}") for number in range(3)]
    found = explained(shown, rows, registry.find(), start)
    assert started == ["onnx"]
    assert [one.stopped_in for one in found] == [["conv1"]] * 3
    assert found[0].reason.startswith(f"{NAMED} That operator computes conv1 (")


def test_no_toolchain_is_built_for_a_sentence(shown: Run, made: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toolchain, "ready", False)
    row = stopped(made)
    assert explained(shown, [row], registry.find()) == [row]


def test_values_that_are_no_numbers_are_no_stop(shown: Run) -> None:
    rewrite("onnx/float32", lambda model: _fill(model, np.nan))
    row = check()["onnx/float32 in onnxruntime"]
    assert row.status == "fail"
    assert row.stopped_in == []


def _fill(model: onnx.ModelProto, value: float) -> None:
    for item in model.graph.initializer:
        if "conv1.weight" in item.name:
            item.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(item) * np.float32(value), item.name))
