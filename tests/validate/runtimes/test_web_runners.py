"""The runners that are JavaScript: right numbers in Node and in a real Chromium.

Chromium has to be there: Debian's `chromium`, or whatever $ANYWHERE_CHROMIUM names.
"""

import base64
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from export.target import constants
from measures.distance import compare
from records.golden import Actual
from records.tensor import Arrays
from tests.locks import locked
from validate.runtimes import programs
from workers import registry
from workers.toolchain import Toolchain
from workers.worker import Done, Worker, WorkerFailed

RUNNERS = Path(__file__).parents[3] / "validate" / "runtimes" / "runners"
DATA = Path(__file__).parents[2] / "data"
TFJS = locked("web", "@tensorflow/tfjs-core")
SAMPLES = 5
CALLS = 3
"""Of which latency is taken."""
IMAGE = {"name": "image", "dtype": "float32", "shape": ["batch", 3, 6, 6], "layout": "NCHW"}
LOGITS = {"name": "logits", "dtype": "float32", "shape": ["batch", 4], "layout": "NK"}


FOREIGN = ("web",)


@pytest.fixture(scope="module")
def web() -> Iterator[Toolchain]:
    chain = registry.find()["web"]
    chain.build()
    assert programs.path("chromium"), programs.PROGRAMS["chromium"].get
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in programs.environment(["chromium"]).items():
            patch.setenv(variable, value)
        yield chain


def tensor(like: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    return {"range": None, "channels": "", "scale": None, "zero_point": None, **like, **values}


@pytest.fixture(scope="module")
def weights() -> Arrays:
    """Of a model of a convolution, ReLU, the mean over the picture, and a linear layer."""
    random = np.random.default_rng(0)
    shapes = {"kernel": (3, 3, 3, 5), "matrix": (5, 4), "bias": (4,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def golden(weights: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs and outputs, and beside them what the runner has to leave alone."""
    image = np.random.default_rng(1).random((2 * SAMPLES, 3, 6, 6), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), (2, 3))  # (N, C, 4, 4, 3, 3)
    features = np.einsum("nchwij,ijco->nhwo", windows.astype(np.float64), weights["kernel"])
    logits = np.maximum(features, 0).mean((1, 2)) @ weights["matrix"] + weights["bias"]
    file = tmp_path_factory.mktemp("golden") / "golden.safetensors"
    labels = np.arange(2 * SAMPLES)
    save_file({"labels": labels, "input.image": image, "output.logits": logits.astype(np.float32)}, file)
    return file


@pytest.fixture(scope="module")
def tfjs(weights: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as TensorFlow.js has it: NHWC."""
    arrays = {**weights, "axes": np.array([1, 2], np.int32)}
    types = {"float32": {"type": "DT_FLOAT"}, "int32": {"type": "DT_INT32"}}

    def shape(*sizes: int) -> dict[str, Any]:
        return {"dim": [{"size": str(size)} for size in sizes]}

    def node(name: str, op: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
        return {"name": name, "op": op, "input": list(inputs), "attr": {"T": types["float32"], **attributes}}

    def text(value: str) -> dict[str, str]:
        return {"s": base64.b64encode(value.encode()).decode()}

    ones = {"list": {"i": ["1"] * 4}}
    nhwc = text("NHWC")
    nodes = [
        node("in", "Placeholder", dtype=types["float32"], shape={"shape": shape(-1, 6, 6, 3)}),
        *(
            node(name, "Const", dtype=types[value.dtype.name], value={"tensor": {"tensorShape": shape(*value.shape)}})
            for name, value in arrays.items()
        ),
        node("c", "Conv2D", "in", "kernel", strides=ones, dilations=ones, padding=text("VALID"), data_format=nhwc),
        node("r", "Relu", "c"),
        node("m", "Mean", "r", "axes", keep_dims={"b": False}),
        node("l", "MatMul", "m", "matrix", transpose_a={"b": False}, transpose_b={"b": False}),
        node("out", "BiasAdd", "l", "bias", data_format=nhwc),
    ]
    entries = [{"name": name, "shape": list(value.shape), "dtype": value.dtype.name} for name, value in arrays.items()]
    model = {
        "format": "graph-model",
        "modelTopology": {"node": nodes, "versions": {}},
        "signature": {"inputs": {"image": {"name": "in:0"}}, "outputs": {"logits": {"name": "out:0"}}},
        "weightsManifest": [{"paths": ["shard1.bin", "shard2.bin"], "weights": entries}],
    }
    folder = tmp_path_factory.mktemp("tfjs")
    content = b"".join(value.tobytes() for value in arrays.values())
    # In the middle of a tensor. Were the last of two larger than the first, tfjs 4.22 would load wrong weights and not
    # say so (findShardForByte in its composite_array_buffer.ts).
    (folder / "shard1.bin").write_bytes(content[:-100])
    (folder / "shard2.bin").write_bytes(content[-100:])
    (folder / "model.json").write_text(json.dumps(model))
    return folder / "model.json"


@pytest.fixture(scope="module")
def onnx_file(weights: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in ONNX: NCHW."""
    arrays = {**weights, "kernel": weights["kernel"].transpose(3, 2, 0, 1).copy()}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "kernel"], ["c"]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["m"]),
            helper.make_node("Flatten", ["m"], ["f"]),
            helper.make_node("Gemm", ["f", "matrix", "bias"], ["logits"]),
        ],
        "model",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return file


def measure(
    worker: Worker,
    runner: Path,
    path: Path,
    golden: Path,
    backend: str = "wasm",
    inputs: Sequence[dict[str, Any]] = (tensor(IMAGE),),
    outputs: Sequence[dict[str, Any]] = (tensor(LOGITS),),
    limit_s: float = 120,
) -> tuple[Done, Arrays]:
    """What the job gave, and the outputs of golden's inputs that it left."""
    harness = "chromium.mjs" if "chromium" in constants(runner).get("NEEDS", []) else "measure.mjs"
    out = worker.log.with_suffix(".safetensors")
    out.unlink(missing_ok=True)
    job = {
        "runner": str(runner),
        "path": str(path),
        "manifest": {"inputs": inputs, "outputs": outputs},
        "golden": str(golden),
        "out": str(out),
        "samples": SAMPLES,
        "threads": 2,
        "backend": backend,
        "budget": {"warm_up": 1, "timed": CALLS},
    }
    done = worker.call(RUNNERS.parent / harness, "measure", job, worker.log, limit_s)
    return done, Actual.of(load_file(out)).golden


def check(done: Done, actual: Arrays, golden: Path) -> None:
    assert done.value["samples"] == SAMPLES
    latency = done.value["latency_ms"]
    assert set(latency) == {"median", "p90", "calls", "batch", "threads"}
    assert 0 < latency["median"] <= latency["p90"]
    assert (latency["batch"], 1 <= latency["calls"] <= CALLS) == (1, True)
    assert list(actual) == ["logits"]
    assert compare(actual["logits"], load_file(golden)["output.logits"][:SAMPLES]).sqnr_db > 120


@pytest.mark.parametrize("backend", ["wasm", "cpu"])
def test_tfjs_in_node(web: Toolchain, tfjs: Path, golden: Path, tmp_path: Path, backend: str) -> None:
    with web.start(tmp_path / "log") as worker:
        image = tensor(IMAGE, layout="NHWC", shape=["batch", 6, 6, 3])
        done, actual = measure(worker, RUNNERS / "tfjs_in_node.mjs", tfjs, golden, backend, [image])
    check(done, actual, golden)
    assert done.value["runtime_version"].startswith(f"tfjs {TFJS} {backend}, Node ")
    assert done.value["latency_ms"]["threads"] == 1


def test_tfjs_never_goes_to_another_backend(web: Toolchain, tfjs: Path, golden: Path, tmp_path: Path) -> None:
    """Its own setBackend says that it failed by giving false, and goes on with what it had."""
    (tmp_path / "job.mjs").write_text(
        'import * as tf from "@tensorflow/tfjs-core";\nimport "@tensorflow/tfjs-backend-cpu";\n'
        f'import {{ activate }} from "{RUNNERS.parent / "tfjs.mjs"}";\n'
        'tf.registerBackend("broken", () => { throw new Error("no device"); });\n'
        'export const load = async () => { await tf.setBackend("cpu"); await activate(tf, "", {}, "broken"); };\n'
    )
    with web.start(tmp_path / "log") as worker:
        with pytest.raises(WorkerFailed, match="Error: tfjs did not start its backend broken"):
            worker.call(tmp_path / "job.mjs", "load", {}, tmp_path / "log", 30)
        with pytest.raises(WorkerFailed, match="webgl"):
            measure(worker, RUNNERS / "tfjs_in_node.mjs", tfjs, golden, "webgl")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "drawn_by"), [("wasm", "wasm, Chromium"), ("webgl", "SwiftShader"), ("webgpu", "swiftshader")]
)
def test_tfjs_in_chromium(
    web: Toolchain, tfjs: Path, golden: Path, tmp_path: Path, backend: str, drawn_by: str
) -> None:
    with web.start(tmp_path / "log") as worker:
        image = tensor(IMAGE, layout="NHWC", shape=["batch", 6, 6, 3])
        done, actual = measure(worker, RUNNERS / "tfjs_in_chromium.mjs", tfjs, golden, backend, [image])
    check(done, actual, golden)
    assert drawn_by in done.value["runtime_version"]
    assert done.value["runtime_version"].startswith(f"tfjs {TFJS} {backend}")


@pytest.mark.slow
def test_a_heavy_model_is_loaded_by_a_browser_that_may_keep_nothing(
    web: Toolchain, tfjs: Path, weights: Arrays, golden: Path, tmp_path: Path
) -> None:
    """In eight files of 4 MiB it never was: six are asked for at once, and read when all have been."""
    shutil.copy(tfjs, tmp_path / "model.json")
    save_file({**weights, "axes": np.array([1, 2], np.int32)}, tmp_path / "weights")
    with registry.find()["tensorflow"].start(tmp_path / "log") as worker:
        arguments = {"weights": str(tmp_path / "weights"), "model": str(tmp_path / "model.json")}
        files = worker.call(Path(__file__).parent / "heavy.py", "write", arguments, tmp_path / "log", 60).value
    assert files < 6
    with web.start(tmp_path / "log") as worker:
        image = tensor(IMAGE, layout="NHWC", shape=["batch", 6, 6, 3])
        done, actual = measure(
            worker, RUNNERS / "tfjs_in_chromium.mjs", tmp_path / "model.json", golden, "wasm", [image]
        )
    check(done, actual, golden)


@pytest.mark.slow
def test_onnx_in_ort_web(web: Toolchain, onnx_file: Path, golden: Path, tmp_path: Path) -> None:
    with web.start(tmp_path / "log") as worker:
        done, actual = measure(worker, RUNNERS / "onnx_in_ort_web.mjs", onnx_file, golden)
    check(done, actual, golden)
    assert done.value["runtime_version"].startswith(
        f"onnxruntime-web {locked('web', 'onnxruntime-web')} wasm, Chromium "
    )
    assert done.value["latency_ms"]["threads"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "scale", "allowed"), [("float32", None, 1e-6), ("uint8", 1 / 255, 0.012)])
def test_tflite_in_litertjs(web: Toolchain, tmp_path: Path, kind: str, scale: float | None, allowed: float) -> None:
    """The mean colour of a picture, from −1 to 1, integers included; its batch is 1."""
    image = np.random.default_rng(2).random((SAMPLES, 3, 8, 8), np.float32)
    save_file({"input.image": image}, tmp_path / "golden")
    with web.start(tmp_path / "log") as worker:
        done, actual = measure(
            worker,
            RUNNERS / "tflite_in_litertjs.mjs",
            DATA / f"mean-{kind}.tflite",
            tmp_path / "golden",
            inputs=[tensor(IMAGE, dtype=kind, shape=[1, 8, 8, 3], layout="NHWC", scale=scale, zero_point=0)],
            outputs=[tensor(LOGITS, name="colour", dtype=kind, scale=scale and 2 * scale, zero_point=127)],
        )
    assert np.abs(actual["colour"] - (image.mean((2, 3)) * 2 - 1)).max() < allowed
    assert done.value["runtime_version"].startswith(f"LiteRT.js {locked('web', '@litertjs/core')} wasm, Chromium ")


@pytest.mark.slow
def test_litertjs_says_that_it_has_no_booleans(web: Toolchain, golden: Path, tmp_path: Path) -> None:
    file, image = DATA / "mean-float32.tflite", tensor(IMAGE, shape=[1, 8, 8, 3], layout="NHWC")
    keep = tensor(LOGITS, name="keep", dtype="bool")
    with (
        web.start(tmp_path / "log") as worker,
        pytest.raises(WorkerFailed, match=r"LiteRT.js .* has no booleans, and keep is one") as failed,
    ):
        measure(worker, RUNNERS / "tflite_in_litertjs.mjs", file, golden, inputs=[image], outputs=[keep])
    assert failed.value.kind == "Refused"


@pytest.mark.slow
def test_ort_web_says_that_it_takes_no_weights_in_a_file_beside(
    web: Toolchain, onnx_file: Path, golden: Path, tmp_path: Path
) -> None:
    onnx.save(
        onnx.load(onnx_file), tmp_path / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0
    )
    with (
        web.start(tmp_path / "log") as worker,
        pytest.raises(WorkerFailed, match=r"onnxruntime-web .* has no room for weights in a file beside it") as failed,
    ):
        measure(worker, RUNNERS / "onnx_in_ort_web.mjs", tmp_path / "model.onnx", golden)
    assert failed.value.kind == "Refused"


ECHO = """
export const TOOLCHAIN = "web";
export const BATCH = 2;
export const version = () => "echo";
export const activate = async () => async ({ image }) =>
  ({ logits: image, shape: { data: image.shape, shape: [1, 4] } });
"""


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "least"),
    [("uint8", 1 / 255, 3, 0), ("int8", 1 / 300, -100, -128), ("float32", None, None, 0)],
)
def test_a_runner_is_given_the_layout_and_type_of_the_manifest(
    web: Toolchain, golden: Path, tmp_path: Path, dtype: str, scale: float | None, zero: int | None, least: int
) -> None:
    """What comes back from a runner that gives back what it got: numbers of the same meaning, in its layout."""
    (tmp_path / "echo.mjs").write_text(ECHO)
    here = {"dtype": dtype, "scale": scale, "zero_point": zero}
    with web.start(tmp_path / "log") as worker:
        done, actual = measure(
            worker,
            tmp_path / "echo.mjs",
            golden,
            golden,
            inputs=[tensor(IMAGE, **here, layout="NHWC")],
            outputs=[tensor(LOGITS, **here)],
        )
    expected = load_file(golden)["input.image"][:SAMPLES].transpose(0, 2, 3, 1)
    if scale is not None and zero is not None:
        steps = np.clip(np.round(expected / np.float32(scale)) + zero, least, least + 255)
        expected = ((steps - zero) * scale).astype(np.float32)
        assert steps.max() == least + 255  # it has to be held within the type's range
    np.testing.assert_array_equal(actual["logits"], expected)
    assert actual["shape"].tolist() == [[2, 6, 6, 3], [2, 6, 6, 3], [1, 6, 6, 3]]
    assert done.value["runtime_version"] == "echo"


def test_latency_is_what_pythons_statistics_say(web: Toolchain, tmp_path: Path) -> None:
    import statistics

    (tmp_path / "job.mjs").write_text(
        f'import {{ summary }} from "{RUNNERS.parent / "measure.mjs"}";\n'
        "export const many = ({ lists }) => lists.map(summary);\n"
    )
    random = np.random.default_rng(3)
    lists = [random.exponential(size=count).tolist() for count in (1, 2, 3, 10, 11, 50)]
    with web.start(tmp_path / "log") as worker:
        found = worker.call(tmp_path / "job.mjs", "many", {"lists": lists}, tmp_path / "log", 30).value
    for times, one in zip(lists, found, strict=True):
        assert one["median"] == pytest.approx(statistics.median(times))
        p90 = statistics.quantiles(times, n=10, method="inclusive")[8] if len(times) > 1 else times[0]
        assert one["p90"] == pytest.approx(p90)
