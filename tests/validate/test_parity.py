"""Every artifact in every runtime for real; and that nothing wrong, missing or stale passes."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from export import artifact as artifacts
from export.artifact import Artifact
from export.convert import convert
from export.run import Run
from export.target import find, plan
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config
from pipeline.train import train
from records.errors import BadInput
from records.golden import PATTERNS, Actual, Golden, Proof
from records.tensor import Arrays
from tests.conftest import scans
from tests.validate.judge.test_judge import measured
from validate import fresh, parity
from validate.judge.judge import part_of, result_of
from validate.measure import BATCHES, Options
from validate.plan import Row
from validate.report.records import Result
from validate.runtimes import runner
from validate.settings import ValidateConfig
from workers.executor import Local

EVERY = [conversion.name for conversion in plan(find())]

SLOW = ("* in chromium webgl", "* in chromium webgpu", "* in litert_arm64")
"""Rows on a GPU that software draws and on an emulated processor: `make test` runs those below, `make nightly` all."""
SAMPLE = {
    "tfjs/float32 in chromium webgl",
    "tfjs/float16 in chromium webgpu",
    "tflite/float32 in litert_arm64",
    "tflite/int8 in litert_arm64",
}


def rows() -> set[str]:
    """Every target in every runtime."""
    return {
        f"{name} in {one.runtime} {backend}".rstrip()
        for name in EVERY
        for one in runner.find()
        for backend in one.backends
        if one.target == name.split("/")[0]
    }


def slow() -> tuple[str, ...]:
    """Rows for `make nightly` alone."""
    return tuple(row for row in sorted(rows() - SAMPLE) if any(fnmatchcase(row, pattern) for pattern in SLOW))


def own() -> list[runner.Runner]:
    """The runners of this very environment: the fast ones."""
    return [one for one in runner.find() if one.toolchain == "torch"]


def check(runners: list[runner.Runner] | None = None, **settings: Any) -> dict[str, Result]:
    run, chosen = Run.open("tiny"), own() if runners is None else runners
    report = parity.check(run, chosen, Options(1, timed=3), settings=ValidateConfig(**settings))
    assert (report.verdict == "pass") == all(not one.blocking for one in report.results)
    return {one.name: one for one in report.results}


@pytest.mark.parametrize("left_out", [slow(), pytest.param((), marks=pytest.mark.nightly)], ids=["sample", "all"])
def test_every_target_that_is_found_passes_in_every_runtime_that_can_run_it(
    released: Path, left_out: tuple[str, ...]
) -> None:
    """Those that can be on this machine: without qemu, ARM64 is not run; Chromium is here (.ci/run installs it)."""
    results = check(runner.find(), leave_out=left_out)
    assert set(results) == rows() >= SAMPLE
    for name, result in results.items():
        if name in left_out:
            assert (result.status, result.outcome) == ("not_run", "excused")
            continue
        if result.status == "not_run" and result.runtime == "litert_arm64":
            assert not result.blocking
            assert "doctor --fix" in result.reason or "qemu" in result.reason
            continue
        if name == "tflite/int8_int16 in tflite_runtime":  # this network sums channels; 2.14 has no SUM of int16
            assert result.status == "refused"
            assert "SUM" in result.reason
            continue
        assert result.status == "pass", (name, result.reason)
        assert 0 < result.samples <= 64
        assert result.runtime_version
        assert result.latency_ms
        assert 0 < result.latency_ms.median <= result.latency_ms.p90
        assert result.latency_ms.calls >= 1
        assert result.outputs[0].sqnr_db is not None
        *patterns, anew = [one.name for one in result.probes]
        assert patterns == list(PATTERNS[: max(2, len(patterns))])
        assert anew == "made anew"
        assert result.outputs[0].sqnr_db > {"float32": 100, "float16": 55}.get(result.precision, 25)
        file = f"{name.replace(' in ', '-').replace('/', '-').replace(' ', '-')}.safetensors"
        written = Actual.of(load_file(Path("runs/tiny/report/actual") / file))
        assert written.golden["logits"].shape == (result.samples, 10)
        assert written.last["logits"].shape == (1, 10)
        assert 2 <= len(written.fresh["logits"]) <= fresh.SAMPLES
        sizes = {int(size) for size in part_of(written.batches, "logits")}
        one_shape = result.target == "tflite" or result.backend in {"webgl", "webgpu"}
        assert sizes <= {size for size in BATCHES if size <= result.samples}
        assert one_shape or max(sizes) > 2 or result.samples < 3
        assert not (one_shape and sizes)


@pytest.mark.parametrize("target", list(find()))
def test_every_target_has_a_runner(target: str) -> None:
    assert [one for one in runner.find() if one.target == target]


def reseal(place: Path, **changes: Any) -> None:
    """Write the manifest anew, as if the conversion had made what is there."""
    record = json.loads((place / "manifest.json").read_text())
    files = {name: artifacts.sha256_of_file(place / name) for name in record["files"]}
    (place / "manifest.json").write_text(json.dumps(artifacts.seal(record | {"files": files} | changes)))


def rewrite(name: str, change: Callable[[onnx.ModelProto], None]) -> None:
    place = Path("runs/tiny/artifacts") / name
    model = onnx.load(place / "model.onnx")
    change(model)
    onnx.save(model, place / "model.onnx")
    reseal(place)


def scale(part: str, factor: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        (item,) = [one for one in model.graph.initializer if part in one.name]
        values = onnx.numpy_helper.to_array(item)
        item.CopyFrom(onnx.numpy_helper.from_array((values * factor).astype(values.dtype), item.name))

    return change


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("onnx/float32", scale("conv2.weight", 1.01), "max_absolute"),
        ("onnx/float32", scale("fc2.bias", 0), "max_absolute"),
        ("onnx/float32", scale("conv1.weight", np.nan), "640 values are NaN or infinite, the first at (0, 0)"),
        ("onnx/float32", scale("mean", 1.02), "sqnr_db"),
        ("onnx/float16", scale("fc2.weight", 1.1), "sqnr_db"),
    ],
)
def test_a_wrong_artifact_fails_in_its_real_runtime(
    at_home: Path, name: str, change: Callable[[onnx.ModelProto], None], said: str
) -> None:
    rewrite(name, change)
    result = check(only=(f"{name} in onnxruntime",))[f"{name} in onnxruntime"]
    assert result.status == "fail"
    assert said in result.reason


def test_int8_with_a_saturated_range_fails(at_home: Path) -> None:
    def saturate(model: onnx.ModelProto) -> None:
        for item in model.graph.initializer:
            if item.name.endswith("_scale") and not item.dims:
                value = onnx.numpy_helper.to_array(item) / 4
                item.CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, np.float32), item.name))

    rewrite("onnx/int8", saturate)
    result = check(only=("onnx/int8 *",))["onnx/int8 in onnxruntime"]
    assert result.status == "fail"
    assert "sqnr_db" in result.reason


def test_what_was_expected_and_is_not_there_fails(at_home: Path) -> None:
    shutil.rmtree("runs/tiny/artifacts/torchscript")
    results = check(only=("torchscript/*", "onnx/int8 *"))
    missing = results["torchscript/float32 in torch"]
    assert missing.status == "not_run"
    assert "anywhere export tiny" in missing.reason
    assert results["onnx/int8 in onnxruntime"].status == "pass"


def test_a_target_without_a_runner_is_not_proved(at_home: Path) -> None:
    results = check([one for one in own() if one.target != "torchscript"], only=("torchscript/*",))
    assert results["torchscript/float32 in none"].status == "not_run"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os; os._exit(9)", "ended with exit status 9"),
        ("import time; time.sleep(60)", "gave no answer within 1 s"),
        ("raise RuntimeError('unsupported operator')", "RuntimeError: unsupported operator"),
        ("return lambda inputs: {}", "logits: missing among the outputs ()"),
        ("return lambda inputs: {'scores': inputs['image']}", "logits: missing among the outputs"),
        ("return lambda inputs: {'logits': inputs['image'][:, 0, 0]}", "shape (64, 28), golden has (64, 10)"),
        ("return lambda inputs: {'logits': inputs['image'][:1, 0, 0, :10]}", "shape (2, 10), golden has (64, 10)"),
    ],
)
def test_a_runtime_that_fails_is_one_row_and_the_others_go_on(
    at_home: Path, tmp_path: Path, body: str, said: str
) -> None:
    folder = tmp_path / "runners"
    folder.mkdir()
    shutil.copy(runner.FOLDER / "onnx_in_onnxruntime.py", folder)
    limit_s = 1 if "sleep" in body else 60
    (folder / "torchscript_in_nowhere.py").write_text(
        f"TOOLCHAIN = 'torch'\nLIMIT_S = {limit_s}\n"
        "def version(): return '0'\n"
        f"def activate(path, manifest, threads, backend):\n    {body}\n"
    )
    results = check(runner.find(folder), only=("torchscript/*", "onnx/float32 *"))
    failed = results["torchscript/float32 in nowhere"]
    assert failed.status in {"error", "fail"}
    assert said in failed.reason
    assert failed.log
    assert (Path("runs/tiny") / failed.log).is_file()
    assert results["onnx/float32 in onnxruntime"].status == "pass"


def test_outputs_that_cannot_be_read_are_one_row(at_home: Path, tmp_path: Path) -> None:
    (tmp_path / "torchscript_in_nowhere.py").write_text(
        "from pathlib import Path\nTOOLCHAIN = 'torch'\n"
        "def version():\n"
        "    next(Path('runs/tiny/report/actual').glob('*nowhere*')).write_bytes(b'rubbish')\n"
        "    return '0'\n"
        "def activate(path, manifest, threads, backend):\n"
        "    return lambda inputs: {'logits': inputs['image'][:, 0, 0, :10]}\n"
    )
    result = check(runner.find(tmp_path))["torchscript/float32 in nowhere"]
    assert result.status == "error"
    assert "it left no readable outputs" in result.reason


def test_a_slow_runtime_takes_fewer_samples_and_the_report_says_how_many(at_home: Path, tmp_path: Path) -> None:
    source = (runner.FOLDER / "onnx_in_onnxruntime.py").read_text()
    slow = source.replace(
        "        return dict(", "        __import__('time').sleep(0.01 * len(inputs['image']))\n        return dict("
    )
    assert slow != source
    (tmp_path / "onnx_in_slow.py").write_text(slow + "\nCOLLECT_S = 0.1\n")
    result = check(runner.find(tmp_path), only=("onnx/float32 *",))["onnx/float32 in slow"]
    assert (result.status, result.samples) == ("pass", 32)


def judged(artifact: Artifact, actual: Arrays, golden: Golden, samples: int = 64) -> Result:
    """Outputs that a second run repeats."""
    row = Row(artifact, artifact.target, artifact.precision, "test", "", "")
    few = {tensor.name: golden.outputs[tensor.name][:2] for tensor in artifact.outputs}
    first = {name: value[:1] for name, value in few.items()}
    return result_of(row, measured(samples), Actual(actual, together=few, again=few, last=first), Proof(golden))


@pytest.fixture
def pair(at_home: Path) -> tuple[Artifact, Arrays, Golden]:
    """An artifact, outputs equal to golden, and golden."""
    run = Run.open("tiny")
    golden = run.checkpoint.golden()
    return run.artifact("onnx/float32"), {"logits": golden.outputs["logits"].copy()}, golden


def test_equal_outputs_pass_with_all_headroom(pair: tuple[Artifact, Arrays, Golden]) -> None:
    artifact, actual, golden = pair
    result = judged(artifact, actual, golden)
    assert (result.status, result.reason, result.headroom) == ("pass", "", pytest.approx(1))
    assert result.metric
    assert result.metric.golden == result.metric.actual


def test_the_allowance_follows_the_noise_floor(pair: tuple[Artifact, Arrays, Golden]) -> None:
    artifact, actual, golden = pair
    floor = float(np.abs(golden.outputs["logits"] - golden.oracle["logits"]).max())
    resolution = float(np.abs(golden.outputs["logits"]).max() * np.finfo(np.float32).eps)
    (judgement,) = [
        one for one in judged(artifact, actual, golden).outputs[0].judgements if one.measure == "max_absolute"
    ]
    assert judgement.allowed == pytest.approx(16 * max(floor, resolution))
    assert judgement.reason


def test_swapped_classes_are_seen_in_decisions_and_metric(pair: tuple[Artifact, Arrays, Golden]) -> None:
    artifact, actual, golden = pair
    actual["logits"][:, [3, 8]] = actual["logits"][:, [8, 3]]
    result = judged(artifact, actual, golden)
    assert result.agreement
    assert result.agreement.share < 0.9
    assert result.metric
    assert result.metric.change < -0.05
    assert "decisions differ from golden's" in result.reason
    assert "accuracy" in result.reason


def test_one_nan_fails_whatever_the_rest(pair: tuple[Artifact, Arrays, Golden]) -> None:
    artifact, actual, golden = pair
    actual["logits"][5, 2] = np.nan
    result = judged(artifact, actual, golden)
    assert result.status == "fail"
    assert "1 values are NaN or infinite, the first at (5, 2)" in result.reason
    assert result.outputs[0].judgements[0].within is False


def test_no_sample_and_no_unnamed_output_passes(pair: tuple[Artifact, Arrays, Golden]) -> None:
    artifact, actual, golden = pair
    empty = judged(artifact, {"logits": actual["logits"][:0]}, golden, samples=0)
    assert (empty.status, "no golden input was run" in empty.reason) == ("fail", True)
    extra = judged(artifact, actual | {"more": actual["logits"]}, golden)
    assert (extra.status, "more: an output that golden does not have" in extra.reason) == ("fail", True)


def test_a_slow_runtime_is_compared_on_the_samples_it_took(pair: tuple[Artifact, Arrays, Golden]) -> None:
    artifact, actual, golden = pair
    result = judged(artifact, {"logits": actual["logits"][:4]}, golden, samples=4)
    assert (result.status, result.samples) == ("pass", 4)


def test_several_outputs_are_compared_each_by_its_name(pair: tuple[Artifact, Arrays, Golden]) -> None:
    artifact, actual, golden = pair
    (logits,) = artifact.outputs
    second = dataclasses.replace(logits, name="features", shape=("batch", 4))
    artifact = dataclasses.replace(artifact, outputs=(logits, second))
    features = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    golden.outputs["features"], golden.oracle["features"] = features, features.astype(np.float64)
    assert judged(artifact, actual | {"features": features}, golden).status == "pass"
    result = judged(artifact, actual | {"features": features[::-1]}, golden)
    assert result.status == "fail"
    assert result.reason.startswith("features: ")
    assert "features: missing" in judged(artifact, actual, golden).reason


def test_golden_without_signal_is_refused(at_home: Path) -> None:
    folder = Path("runs/tiny/checkpoint")
    record = json.loads((folder / "checkpoint.json").read_text())
    opened = Checkpoint.open(folder)
    arrays = {name: opened.arrays(name) for name in record["files"] if name.endswith(".safetensors")}
    arrays["golden.safetensors"]["output.logits"][:] = 1
    fields = {key: record[key] for key in record if key not in {"sha256", "files", "format"}}
    Checkpoint.write(folder, fields, (folder / "config.toml").read_text(), arrays)
    with pytest.raises(BadInput, match="the same for every input"):
        check()


def test_nothing_exported_is_nothing_to_validate(workplace: Path) -> None:
    with pytest.raises(BadInput, match="nothing was exported"):
        check()


@pytest.mark.slow
def test_float16_of_a_vision_transformer_loads_and_keeps_layer_normalisation_in_float32(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every operator in float16, ONNX Runtime 1.31 ends with SIGSEGV while it loads this network."""
    (tmp_path / "tiny_vit.py").write_text(
        "from torchvision.models import VisionTransformer\n"
        "def tiny(num_classes):\n"
        "    return VisionTransformer(image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=32,\n"
        "                             mlp_dim=64, num_classes=num_classes)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    scans(tmp_path / "images", 30)
    wanted = small.with_values("data", folder=str(tmp_path / "images"), golden=16)
    train(wanted.with_values("model", name="tiny_vit:tiny"), Path("runs/tiny"), None, Console(quiet=True))
    outcomes = convert(Run.open("tiny"), plan(find(), ["onnx"], ["float16"]), 1, force=False, report=lambda _: None)
    assert [one.reason for one in outcomes] == ["", ""]
    graph = onnx.load("runs/tiny/artifacts/onnx/float16/model.onnx").graph
    types = {item.name: item.type.tensor_type.elem_type for item in graph.value_info}
    assert {types[node.output[0]] for node in graph.node if node.op_type == "LayerNormalization"} == {1}
    assert {types[node.output[0]] for node in graph.node if node.op_type == "Gelu"} == {10}
    half = check()["onnx/float16 in onnxruntime"]
    assert half.status != "error", half.reason
    assert half.outputs[0].sqnr_db is not None
    assert 55 < half.outputs[0].sqnr_db < 100


def test_a_row_that_is_not_there_cannot_be_asked_for(at_home: Path) -> None:
    with pytest.raises(
        BadInput, match=r"--only: unknown row 'onnx/int7 in onnxruntime'. Nearest: onnx/int8 in onnxruntime"
    ):
        check(only=("onnx/int7 in onnxruntime",))


def test_only_verifies_the_artifacts_of_the_rows_it_runs(at_home: Path) -> None:
    broken = Path("runs/tiny/artifacts/torchscript/float32/model.pt")
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1])
    try:
        assert list(check(only=("onnx/float32 in onnxruntime",))) == ["onnx/float32 in onnxruntime"]
        with pytest.raises(BadInput, match="does not match its manifest"):
            check()
    finally:
        broken.write_bytes(whole)


def test_rows_measured_side_by_side_have_the_same_numbers_and_latency_afterwards_alone(at_home: Path) -> None:
    told: list[str] = []
    options, run = Options(1, timed=3, progress=told.append), Run.open("tiny")
    settings = ValidateConfig(only=("onnx/* in onnxruntime",))
    one_by_one = parity.check(run, own(), options, settings=settings)
    alone, told[:] = list(told), []
    side_by_side = parity.check(run, own(), options, settings=settings, executor=Local(2))
    assert alone == [one.name for one in one_by_one.results]
    assert sorted(told[: len(alone)]) == sorted(alone)
    assert told[len(alone) :] == [f"{name}, its latency" for name in alone]
    for one, other in zip(one_by_one.results, side_by_side.results, strict=True):
        assert (one.status, other.outputs, other.probes) == ("pass", one.outputs, one.probes)
        assert other.latency_ms
        assert other.latency_ms.calls == 3


def test_weights_out_of_a_pickle_are_told_in_every_report() -> None:
    trusting = SimpleNamespace(loaded={"trusted": True, "file": "my.pt"})
    (warning,) = parity.trusted(cast(Checkpoint, trusting))
    assert "were read from my.pt as a pickle" in warning
    for loaded in (None, {"trusted": False, "file": "my.pt"}):
        assert parity.trusted(cast(Checkpoint, SimpleNamespace(loaded=loaded))) == []
