"""Every target that is found, really converted; and what each promises of its own."""

import itertools
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import torch

from export.artifact import Artifact
from export.graphs import onnx_exporter
from export.run import Run
from export.target import CHECKPOINT, find, plan
from measures.tolerance import TABLE
from workers import registry, toolchain

EVERY = [conversion.name for conversion in plan(find())]


@pytest.fixture
def run(released: Path) -> Run:
    return Run.open("tiny")


@pytest.mark.parametrize("name", EVERY)
def test_every_conversion_gives_an_artifact_of_this_checkpoint(run: Run, name: str) -> None:
    artifact = run.artifact(name)
    assert artifact.path.exists()
    assert artifact.size_bytes > 1000
    assert [one.name for one in artifact.inputs] == ["image"]
    assert [one.name for one in artifact.outputs] == ["logits"]
    assert artifact.seconds > 0
    integers = [one for one in artifact.findings if "of int16" in one]  # which no delegate of TFLite takes
    assert list(artifact.findings) == integers
    assert len(integers) == (name == "tflite/int8_int16")


@pytest.mark.parametrize("name", list(find()))
def test_every_target_says_what_it_is_and_what_its_precisions_may_differ(name: str) -> None:
    one = find()[name]
    assert one.file.read_text().startswith('"""')
    assert one.toolchain in registry.find()
    for precision, source in one.sources.items():
        assert source == CHECKPOINT or source in EVERY
        assert precision in TABLE


# Not torchscript: torch.jit.save writes the source's file names for its error messages, and has no switch.
@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith("torchscript")])
def test_no_artifact_tells_where_it_was_made(run: Run, name: str) -> None:
    artifact = run.artifact(name)
    for file in artifact.files:
        path = artifact.folder / file
        parts = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts += [archive.read(entry) for entry in archive.namelist()]
        for part in parts:
            assert str(toolchain.ROOT).encode() not in part
            assert b"site-packages" not in part


def session(artifact: Artifact) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(artifact.path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_onnx_has_named_float32_tensors_and_any_batch_size(run: Run, precision: str) -> None:
    loaded = session(run.artifact(f"onnx/{precision}"))
    (image,), (logits,) = loaded.get_inputs(), loaded.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["batch", 3, 28, 28])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 10])
    for batch in (1, 5):
        assert loaded.run(None, {"image": np.zeros((batch, 3, 28, 28), np.float32)})[0].shape == (batch, 10)


def test_onnx_carries_labels_normalisation_and_the_checkpoints_hash(run: Run) -> None:
    for precision in ("float32", "float16", "int8"):
        found = session(run.artifact(f"onnx/{precision}")).get_modelmeta().custom_metadata_map
        assert json.loads(found["labels"]) == list("0123456789")
        assert json.loads(found["normalisation"])["inside_model"] is True
        assert found["checkpoint_sha256"] == run.checkpoint.sha256


def test_onnx_int8_is_qdq_with_weights_per_channel_and_the_checkpoints_calibration(run: Run) -> None:
    artifact = run.artifact("onnx/int8")
    graph = onnx.load(artifact.path).graph
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    kernel = next(value for value in weights.values() if value.shape == (64, 32, 3, 3))
    assert kernel.dtype == np.int8
    assert np.abs(kernel).max() <= 64
    assert any(value.shape == (64,) and value.dtype == np.float32 for value in weights.values())
    assert artifact.details["calibration_samples"] == 32
    assert artifact.size_bytes < run.artifact("onnx/float32").size_bytes / 3


def test_onnx_float16_has_half_the_size(run: Run) -> None:
    sizes = [run.artifact(f"onnx/{precision}").size_bytes for precision in ("float16", "float32")]
    assert sizes[0] < 0.55 * sizes[1]


def test_the_two_exporters_are_compared(run: Run) -> None:
    details = run.artifact("onnx/float32").details
    assert details["cross_check_samples"] == 32
    assert details["cross_check_sqnr_db"]["logits"] > 120


def test_exporters_that_disagree_are_a_finding(run: Run, tmp_path: Path) -> None:
    model = onnx.load(run.artifact("onnx/float32").path)
    (bias,) = [item for item in model.graph.initializer if item.name.endswith("fc2.bias")]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
    onnx.save(model, tmp_path / "model.onnx")
    findings, details = onnx_exporter.cross_check(run.checkpoint, tmp_path / "model.onnx")
    assert len(findings) == 1
    assert "the two PyTorch exporters disagree on logits: SQNR" in findings[0]
    assert details["cross_check_sqnr_db"]["logits"] < 100


def test_torchscript_is_frozen_and_carries_the_labels(run: Run) -> None:
    extra = {"labels.txt": "", "checkpoint_sha256": ""}
    with pytest.warns(FutureWarning):
        model = torch.jit.load(run.artifact("torchscript/float32").path, _extra_files=extra)
    assert list(model.parameters()) == []
    assert extra["labels.txt"].split() == [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"]
    assert extra["checkpoint_sha256"].decode() == run.checkpoint.sha256


def test_exported_program_takes_any_batch_size_and_carries_the_labels(run: Run) -> None:
    extra = {"labels.txt": "", "checkpoint_sha256": ""}
    program = torch.export.load(run.artifact("exported_program/float32").path, extra_files=extra).module()
    assert program(torch.zeros(7, 3, 28, 28)).shape == (7, 10)
    assert program(torch.zeros(1, 3, 28, 28)).shape == (1, 10)
    assert extra["checkpoint_sha256"] == run.checkpoint.sha256


def test_an_artifact_that_cannot_run_is_not_blamed_on_the_cross_check(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(Exception, match=r"model\.onnx"):
        onnx_exporter.cross_check(run.checkpoint, tmp_path / "model.onnx")


@pytest.mark.slow
def test_the_operators_of_tensorflow_js_are_those_of_the_runtime() -> None:
    web = registry.find()["web"]
    web.build()
    lists = web.home / "node_modules" / "@tensorflow" / "tfjs-converter" / "dist" / "operations" / "op_list"
    known = {name for file in lists.glob("*.js") for name in re.findall(r"'tfOpName': '(\w+)'", file.read_text())}
    assert len(known) > 200
    assert set((toolchain.ROOT / "export" / "graphs" / "tfjs_operators.txt").read_text().split()) == known


@pytest.mark.parametrize(
    ("size", "kinds"),
    [
        (1, ["ReduceMean"]),
        (5, ["AveragePool"]),
        pytest.param(4, ["MatMul", "MatMul"], marks=pytest.mark.slow),
        ((7, 12), ["MatMul", "MatMul"]),
        pytest.param((10, None), ["AveragePool"], marks=pytest.mark.slow),
    ],
)
def test_adaptive_average_pooling_is_exported_without_gathering(
    tmp_path: Path, size: int | tuple[int, int | None], kinds: list[str]
) -> None:
    pool, image = torch.nn.AdaptiveAvgPool2d(size).eval(), torch.rand(3, 2, 10, 15)
    table = {torch.ops.aten._adaptive_avg_pool2d.default: onnx_exporter.adaptive_average}
    shapes = ({0: torch.export.Dim("batch")},)
    options = {"dynamic_shapes": shapes, "custom_translation_table": table, "verbose": False}
    program = torch.onnx.export(pool, (image,), dynamo=True, **options)
    assert program
    program.save(str(tmp_path / "model.onnx"))
    assert [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node] == kinds
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert np.abs(found - pool(image).numpy()).max() < 1e-6


def test_an_axis_that_nothing_is_known_of_gets_no_name(run: Run) -> None:
    """Two maps of other sizes behind group normalisation: ONNX Runtime took axes of one name for equally long."""
    shapes = {"image": ["s7", 3, 28, 28], "norm": [None, None, None], "double": ["2*s7", 10], "logits": ["s7", 10]}
    values = {
        name: onnx_ir.Value(name=name, shape=onnx_ir.Shape(shape), type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT))
        for name, shape in shapes.items()
    }
    names = list(values)
    nodes = [
        onnx_ir.Node("", "Identity", [values[before]], outputs=[values[after]])
        for before, after in itertools.pairwise(names)
    ]
    graph = onnx_ir.Graph([values["image"]], [values["logits"]], nodes=nodes, opset_imports={"": 20}, name="g")
    onnx_exporter.name_axes(onnx_ir.Model(graph, ir_version=10), run.checkpoint)
    written = onnx_ir.to_proto(onnx_ir.Model(graph, ir_version=10)).graph.value_info
    named = {item.name: [axis.dim_param for axis in item.type.tensor_type.shape.dim] for item in written}
    assert named == {"norm": ["", "", ""], "double": ["2*batch", ""]}
