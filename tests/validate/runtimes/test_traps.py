"""What the usual tools get wrong silently, made on purpose: the validator sees each, and says what it is."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export.run import Run
from export.target import find, plan
from measures.tolerance import TABLE
from tests.conftest import entered
from tests.kept import bring
from tests.locks import locked
from tests.validate.test_parity import check, reseal
from validate.runtimes import runner
from workers import registry
from workers.worker import WorkerFailed

UNMENDED = Path(__file__).with_name("unmended.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs/tiny` of the awkward network, exported. Not to be written into."""
    values = {"model.name": "awkward:awkward", "data.image_size": 32, "train.epochs": 3, "data.golden": 64}
    network = Path(__file__).with_name("awkward.py")
    return bring("tiny", values, tmp_path_factory.mktemp("awkward"), plan(find()), beside=[network])


@pytest.fixture
def awkward(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with that; the current one."""
    return entered(made, tmp_path / "work", monkeypatch)


TARGET = find()["saved_model"]
"""tfjs and tflite have its toolchain and environment, too."""


def call(
    tmp_path: Path, file: Path, function: str, environment: Mapping[str, str] = TARGET.environment, **arguments: Any
) -> Any:
    """A function in the `tensorflow` toolchain, in a process of its own."""
    chain = registry.find()[TARGET.toolchain]
    chain.build()
    with chain.start(tmp_path / "log", [], environment) as worker:
        return worker.call(file, function, arguments, tmp_path / "log", 300).value


def unmended(tmp_path: Path, function: str, source: str, file: Path = UNMENDED, **arguments: Any) -> Any:
    """What a conversion without its mend says; what it writes is in `tmp_path / "out"`."""
    run = Run.open("tiny")
    (tmp_path / "out").mkdir()
    paths = {
        "source": str(run.artifact(source).path.absolute()),
        "checkpoint": str(run.checkpoint.folder.absolute()),
        "out": str(tmp_path / "out"),
    }
    return call(tmp_path, file, function, **paths, **arguments)


def put(tmp_path: Path, name: str) -> None:
    """What was written in the place of an artifact, as if it were the conversion's."""
    place = Run.open("tiny").place(name)
    shutil.copytree(tmp_path / "out", place, dirs_exist_ok=True)
    reseal(place)


def runners(*names: str) -> list[runner.Runner]:
    return [one for one in runner.find() if one.name in names]


@pytest.mark.slow
def test_an_operator_newer_than_the_runtime_is_a_refusal_that_can_be_accepted(released: Path, tmp_path: Path) -> None:
    unmended(tmp_path, "dense_layers_per_row", "saved_model/float32")
    put(tmp_path, "tflite/int8_dynamic")
    name = "tflite/int8_dynamic in tflite_runtime"
    refused = check(runners("tflite_in_tflite_runtime"))[name]
    assert refused.status == "refused"
    assert refused.blocking
    assert (
        f"tflite-runtime {locked('tflite_runtime', 'tflite-runtime')} has no FULLY_CONNECTED version 12"
        in refused.reason
    )
    accepted = check(runners("tflite_in_tflite_runtime"), accept=("* in tflite_runtime",))[name]
    assert (accepted.status, accepted.outcome) == ("refused", "excused")


@pytest.mark.slow
def test_garbage_without_an_error_fails_and_cannot_be_accepted(released: Path, tmp_path: Path) -> None:
    """LiteRT Quantizer's dynamic range in tflite-runtime 2.14."""
    unmended(tmp_path, "ai_edge_dynamic", "saved_model/float32")
    put(tmp_path, "tflite/int8_dynamic")
    garbage = check(runners("tflite_in_tflite_runtime"), accept=("*",))["tflite/int8_dynamic in tflite_runtime"]
    assert (garbage.status, garbage.outcome) == ("fail", "blocking")
    assert "sqnr_db" in garbage.reason


def test_no_chromium_is_not_run_and_fails_only_where_all_is_required(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYWHERE_CHROMIUM", "/nowhere/chromium")
    (only,) = [one for one in runner.find() if one.name == "onnx_in_ort_web"]
    row = check([only])["onnx/float32 in ort_web wasm"]
    assert (row.status, row.outcome) == ("not_run", "excused")
    assert "apt-get install chromium" in row.reason
    required = check([only], require="all")["onnx/float32 in ort_web wasm"]
    assert (required.status, required.outcome) == ("not_run", "blocking")
    left_out = check([only], require="all", leave_out=("* in ort_web*",))["onnx/float32 in ort_web wasm"]
    assert (left_out.status, left_out.outcome) == ("not_run", "excused")


@pytest.mark.nightly
def test_an_awkward_network_is_right_everywhere(awkward: Path) -> None:
    """Hard-swish and depthwise convolutions; a maximum padded with reflections, and one with zeros."""
    others = tuple(f"*/{precision} *" for precision in TABLE if precision != "float32")
    results = check(runner.find(), leave_out=(*others, "* webgl", "* webgpu"))
    ran = {name: result for name, result in results.items() if result.status != "not_run"}
    assert {"node wasm", "node cpu", "chromium wasm", "litert xnnpack", "litert builtin", "tflite_runtime"} <= {
        f"{result.runtime} {result.backend}".rstrip() for result in ran.values()
    }
    for name, result in ran.items():
        assert result.status == "pass", (name, result.reason)
    said = Run.open("tiny").artifact("tflite/int8").details["quantizers_sqnr_db"]
    assert min(map(float, said.values())) > 20


@pytest.mark.slow
def test_tensorflow_js_gets_fused_operators_in_one_layout(awkward: Path) -> None:
    model = json.loads(Run.open("tiny").artifact("tfjs/float32").path.read_text())
    kinds = Counter(node["op"] for node in model["modelTopology"]["node"])
    assert (kinds["_FusedMatMul"], kinds["MatMul"]) == (2, 0)
    assert kinds["_FusedConv2D"] == 3
    assert kinds["Conv2D"] == 4  # the groups
    assert kinds["Transpose"] <= 1


@pytest.mark.slow
def test_products_with_a_turned_factor_are_wrong_on_wasm_and_mended(awkward: Path, tmp_path: Path) -> None:
    unmended(tmp_path, "turned_products", "saved_model/float32", mend=False)
    put(tmp_path, "tfjs/float32")
    results = check(runners("tfjs_in_node"))
    assert results["tfjs/float32 in node cpu"].status == "pass"
    wrong = results["tfjs/float32 in node wasm"]
    assert wrong.status == "fail"
    assert "sqnr_db" in wrong.reason
    shutil.rmtree(tmp_path / "out")
    unmended(tmp_path, "turned_products", "saved_model/float32", mend=True)
    put(tmp_path, "tfjs/float32")
    assert check(runners("tfjs_in_node"))["tfjs/float32 in node wasm"].status == "pass"


@pytest.mark.slow
def test_an_operator_that_tensorflow_js_does_not_have_is_refused(awkward: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"TensorFlow.js cannot express Erfc"):
        unmended(tmp_path, "operator_of_tensorflow_alone", "saved_model/float32")


@pytest.mark.slow
def test_with_onednn_grappler_makes_what_tensorflow_js_has_not_and_it_is_refused(awkward: Path, tmp_path: Path) -> None:
    """Why the targets' ENVIRONMENT turns it off, which plain TensorFlow has on where the processor suits it."""
    file, environment = find()["tfjs"].file, {**TARGET.environment, "TF_ENABLE_ONEDNN_OPTS": "1"}
    with pytest.raises(WorkerFailed, match=r"TensorFlow.js cannot express .*_MklSwish"):
        unmended(tmp_path, "convert", "saved_model/float32", file, environment=environment, precision="float32")


@pytest.mark.slow
def test_constants_of_channels_stop_the_fast_way_and_the_check_chooses_another(awkward: Path, tmp_path: Path) -> None:
    assert Run.open("tiny").artifact("saved_model/float32").details["way"] == "importer"
    made = unmended(tmp_path, "constants_as_they_are", "onnx/float32")
    details = made["details"]
    assert details["tried"]["importer"] == "the importer has no Whirl; the model is of opset 18"
    assert "any_batch" in details["tried"]
    assert details["way"] not in {"importer", "any_batch"}
    assert details["sqnr_db"]["onnx"] > 100
    assert any("made by onnx2tf" in finding for finding in made["findings"])


@pytest.mark.slow
def test_padded_maxima_leave_an_infinite_step(awkward: Path, tmp_path: Path) -> None:
    """Which LiteRT aborts at: in ranges of ours the padding sets none, and TensorFlow's quantizer is refused."""
    details = unmended(tmp_path, "maxima_as_they_are", "onnx/float32", converter=False)["details"]
    assert details["quantizer"] == "litert-quantizer"
    others = {name: why for name, why in details["quantizers_sqnr_db"].items() if name != "litert-quantizer"}
    assert all("an infinite value in the range of" in str(why) for why in others.values()), others
    (tmp_path / "again").mkdir()
    with pytest.raises(WorkerFailed, match="an infinite value in the range of"):
        unmended(tmp_path / "again", "maxima_as_they_are", "onnx/float32", converter=True)


def graph_of(path: Path, *nodes: onnx.NodeProto) -> Path:
    """ONNX of image (N, 3, 9, 9) to `out`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 9, 9])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


POOLS = [
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]},
    {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]},  # a reflection would reach beyond the window
    {"kernel_shape": [3, 3], "pads": [1, 0, 0, 1], "strides": [3, 2]},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "dilations": [2, 2]},
    {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
]


@pytest.mark.slow
def test_padding_of_maxima_changes_no_value(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(4, 3, 9, 9)).astype(np.float32)
    cases = [(first, pool) for first in ("Identity", "Relu", "Neg") for pool in POOLS]
    files = {}
    for number, (first, pool) in enumerate(cases):
        nodes = [helper.make_node(first, ["image"], ["x"]), helper.make_node("MaxPool", ["x"], ["out"], **pool)]
        files[str(graph_of(tmp_path / f"{number}.onnx", *nodes))] = str(tmp_path / f"{number}.prepared.onnx")
    call(tmp_path, UNMENDED, "prepare", files=files)
    modes = []
    for case, paths in zip(cases, files.items(), strict=True):
        expected, found = (onnxruntime.InferenceSession(path).run(None, {"image": image})[0] for path in paths)
        assert np.array_equal(found, expected), case
        modes += [node.attribute[0].s for node in onnx.load(paths[1]).graph.node if node.op_type == "Pad"]
    assert (modes.count(b"constant"), modes.count(b"reflect")) == (5, 6)


@pytest.mark.slow
def test_an_operator_onnx2tf_does_not_know_is_named_with_its_module(tmp_path: Path) -> None:
    node = helper.make_node("Whirl", ["image"], ["out"], domain="own")
    scopes = str(["", "model", "model.head.2", "whirl"])
    onnx.helper.set_metadata_props(node, {"pkg.torch.onnx.name_scopes": scopes})
    source = graph_of(tmp_path / "own.onnx", node)
    with pytest.raises(WorkerFailed, match=r"onnx2tf cannot express Whirl \(in module head.2\)"):
        call(tmp_path, UNMENDED, "check_operators", source=str(source))


def test_a_browser_that_never_answers_is_one_red_row_and_its_console_is_in_the_log(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "chromium"
    silent.write_text("#!/bin/sh\necho it hums >&2\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setenv("ANYWHERE_CHROMIUM", str(silent))
    (web,) = runners("onnx_in_ort_web")
    results = check([replace(web, limit_s=4), *runners("onnx_in_onnxruntime")])
    for name, result in results.items():
        if result.target != "onnx":
            continue
        if result.runtime == "onnxruntime":
            assert result.status == "pass"
        else:
            assert (result.status, result.outcome) == ("error", "blocking"), name
            assert "gave no answer within 4 s and was killed" in result.reason
            assert result.log
            assert "it hums" in (Path("runs/tiny") / result.log).read_text()
