"""What the usual tools get wrong silently, made on purpose: the validator sees each, and says what it is."""

import shutil
from pathlib import Path

import pytest

from export import toolchain
from export.artifact import Run
from tests.validate.test_parity import check, reseal
from validate import runner

UNMENDED = Path(__file__).with_name("unmended.py")


def replace_by(function: str, tmp_path: Path) -> None:
    """tflite/int8_dynamic's file by what an unmended conversion gives."""
    run, chain = Run.open("tiny"), toolchain.find()["tensorflow"]
    chain.build()
    source = run.artifact("saved_model/float32").path.absolute()
    arguments = {"source": str(source), "checkpoint": str(run.checkpoint.folder.absolute()), "out": str(tmp_path)}
    with chain.start(tmp_path / "log") as worker:
        worker.call(UNMENDED, function, arguments, tmp_path / "log", 300)
    shutil.copy(tmp_path / "model.tflite", run.place("tflite/int8_dynamic"))
    reseal(run.place("tflite/int8_dynamic"))


def in_tflite_runtime() -> list[runner.Runner]:
    return [one for one in runner.find() if one.runtime == "tflite_runtime"]


@pytest.mark.slow
def test_an_operator_newer_than_the_runtime_is_a_refusal_that_can_be_accepted(released: Path, tmp_path: Path) -> None:
    replace_by("dense_layers_per_row", tmp_path)
    name = "tflite/int8_dynamic in tflite_runtime"
    refused = check(in_tflite_runtime())[name]
    assert refused.status == "refused"
    assert not refused.settled
    assert "tflite-runtime 2.14.0 has no FULLY_CONNECTED version 12" in refused.reason
    accepted = check(in_tflite_runtime(), accept=("* in tflite_runtime",))[name]
    assert (accepted.status, accepted.settled) == ("refused", True)


@pytest.mark.slow
def test_garbage_without_an_error_fails_and_cannot_be_accepted(released: Path, tmp_path: Path) -> None:
    """AI Edge Quantizer's dynamic range in tflite-runtime 2.14."""
    replace_by("ai_edge_dynamic", tmp_path)
    garbage = check(in_tflite_runtime(), accept=("*",))["tflite/int8_dynamic in tflite_runtime"]
    assert (garbage.status, garbage.settled) == ("fail", False)
    assert "sqnr_db" in garbage.reason


def test_no_chromium_is_not_run_and_fails_only_where_all_is_required(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYWHERE_CHROMIUM", "/nowhere/chromium")
    (only,) = [one for one in runner.find() if one.name == "onnx_in_ort_web"]
    row = check([only])["onnx/float32 in ort_web wasm"]
    assert (row.status, row.settled) == ("not_run", True)
    assert "apt-get install chromium" in row.reason
    required = check([only], require="all")["onnx/float32 in ort_web wasm"]
    assert (required.status, required.settled) == ("not_run", False)
    left_out = check([only], require="all", leave_out=("* in ort_web*",))["onnx/float32 in ort_web wasm"]
    assert (left_out.status, left_out.settled) == ("not_run", True)
