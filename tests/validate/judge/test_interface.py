"""What a file says of itself is what its manifest and the checkpoint say: labels, pixels, shapes, types and scales."""

import dataclasses
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from export.artifact import Artifact
from export.interfaces import READERS, Interface, read
from export.run import Run
from export.target import find
from records.tensor import Tensor
from tests.mutants.formats.onnx import in_float
from validate.judge.interface import misfits, remarks

REVERSED = "labels in the file are others than the checkpoint's: 0 is 9, in the checkpoint 0; 1 is 8"


def opened(name: str) -> tuple[Run, Artifact]:
    run = Run.open("tiny")
    return run, run.artifact(name)


def said(name: str, **changes: Any) -> str:
    """The sentences of an artifact as it lies there, its manifest with these fields otherwise."""
    run, artifact = opened_unhashed(name)
    artifact = dataclasses.replace(artifact, **changes)
    return "; ".join(misfits(artifact, run.checkpoint, read(artifact)))


def opened_unhashed(name: str) -> tuple[Run, Artifact]:
    """The artifact though its files were altered, as if somebody had written its manifest anew."""
    run = Run.open("tiny")
    record = json.loads((run.place(name) / "manifest.json").read_text())
    return run, Artifact._from_record(run.place(name), record)


def extra_reversed(path: Path) -> None:
    """The labels beside a program or a TorchScript module."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            turned = name.endswith("labels.txt")
            archive.writestr(name, b"\n".join(reversed(content.split(b"\n"))) if turned else content)


def onnx_reversed(path: Path) -> None:
    model = onnx.load(path)
    for item in model.metadata_props:
        if item.key == "labels":
            item.value = json.dumps(json.loads(item.value)[::-1])
    onnx.save(model, path)


def tfjs_reversed(path: Path) -> None:
    model = json.loads(path.read_text())
    model["userDefinedMetadata"]["labels"].reverse()
    path.write_text(json.dumps(model))


def tflite_reversed(path: Path) -> None:
    """The zip at the end of the file, with the same names in another order."""
    content = path.read_bytes()
    labels = zipfile.ZipFile(io.BytesIO(content)).read("labels.txt")
    start = content.rindex(b"PK\x03\x04")
    file = io.BytesIO(content[:start])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("labels.txt", b"".join(reversed(labels.splitlines(keepends=True))))
    path.write_bytes(file.getvalue())


def tflite_normalised(path: Path) -> None:
    """Mean 0 and deviation 255 become others: the floats stand in the metadata, which is the last buffer."""
    content = bytearray(path.read_bytes())
    place = content.rindex(struct.pack("<f", 255.0))
    content[place : place + 4] = struct.pack("<f", 127.5)
    path.write_bytes(bytes(content))


AT_HOME: dict[str, Callable[[Path], None]] = {
    "onnx/float32": onnx_reversed,
    "torchscript/float32": extra_reversed,
    "exported_program/float32": extra_reversed,
}
ELSEWHERE: dict[str, Callable[[Path], None]] = {"tflite/int8": tflite_reversed, "tfjs/float16": tfjs_reversed}


@pytest.mark.parametrize("name", AT_HOME)
def test_labels_in_a_file_are_the_checkpoints(at_home: Path, name: str) -> None:
    assert said(name) == ""
    AT_HOME[name](opened(name)[1].path)
    assert said(name).startswith(REVERSED)


@pytest.mark.slow
@pytest.mark.parametrize("name", ELSEWHERE)
def test_labels_in_a_file_of_an_app_are_the_checkpoints(released: Path, name: str) -> None:
    ELSEWHERE[name](opened(name)[1].path)
    assert said(name).startswith(REVERSED)


@pytest.mark.slow
def test_the_pixels_that_tflite_metadata_asks_for_are_trainings(released: Path) -> None:
    tflite_normalised(opened("tflite/float32")[1].path)
    assert "to prepare image with mean [0.0] and deviation [127.5]; bytes are divided by 255" in said("tflite/float32")


@pytest.mark.slow
def test_everything_that_is_exported_fits(released: Path) -> None:
    run = Run.open("tiny")
    assert {name: said(name) for name in run.expected()} == dict.fromkeys(run.expected(), "")
    for name in run.expected():
        interface = read(run.artifact(name))
        assert interface.problem == ""
        if name.partition("/")[0] not in {"torchscript", "exported_program"}:
            assert list(interface.inputs or {}) == ["image"]
            assert list(interface.outputs or {}) == ["logits"]
        if name.partition("/")[0] in {"onnx", "tflite", "tfjs"}:
            assert interface.weights


def test_every_target_has_what_reads_its_files() -> None:
    assert set(READERS) == set(find())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": "BGR"}, "its manifest's image has channels BGR; the checkpoint RGB"),
        ({"range": (-1.0, 1.0)}, "its manifest's image has range [-1, 1]; the checkpoint [0, 1]"),
        ({"layout": "NHWC"}, "its manifest's image has shape (any, 3, 28, 28); the checkpoint (any, 3, 28, 28)"),
        ({"layout": "NHW"}, "its manifest's image has layout NHW; the checkpoint NCHW"),
        ({"dtype": "float64"}, "input image is float32 in the file; float64 in its manifest"),
        ({"name": "pixels"}, "its manifest has other inputs than the checkpoint: pixels; image"),
        ({"shape": (1, 3, 28, 28)}, ""),  # the file takes more than it says
        ({"shape": ("batch", 3, 28, 27)}, "has shape (any, 3, 28, 27); the checkpoint (any, 3, 28, 28)"),
        (
            {"scale": 1 / 255, "dtype": "uint8"},
            "has scale None and zero point 0 in the file; 0.00392156862745098 and 0",
        ),
    ],
)
def test_a_manifest_that_describes_other_inputs_is_seen(at_home: Path, changes: dict[str, Any], sentence: str) -> None:
    _, artifact = opened("onnx/float32")
    found = said("onnx/float32", inputs=(dataclasses.replace(artifact.inputs[0], **changes),))
    assert sentence in found
    assert bool(sentence) == bool(found)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": "onnx/float32"}, "its manifest names source 'onnx/float32'; onnx/float32 has 'checkpoint'"),
        ({"toolchain": "mine"}, "its manifest names toolchain 'mine'; onnx/float32 has 'torch'"),
        ({"recipe": "by hand"}, "its manifest's recipe is no sha256"),
        ({"precision": "int4"}, "its manifest names onnx/int4, which is no target and precision known here"),
    ],
)
def test_a_manifest_says_of_its_making_what_its_target_does(
    at_home: Path, changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in said("onnx/float32", **changes)


def test_a_file_that_takes_one_batch_only_is_no_file_of_any(at_home: Path) -> None:
    _, artifact = opened("onnx/float32")
    model = onnx.load(artifact.path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, artifact.path)
    assert said("onnx/float32") == (
        "input image has shape (1, 3, 28, 28) in the file; (any, 3, 28, 28) in its manifest"
    )


@pytest.mark.slow
def test_a_web_models_signature_that_takes_one_batch_only_is_seen(released: Path) -> None:
    path = opened("tfjs/float32")[1].path
    model = json.loads(path.read_text())
    model["signature"]["inputs"]["image"]["tensorShape"]["dim"][0]["size"] = "1"
    path.write_text(json.dumps(model))
    assert "input image has shape (1, 28, 28, 3) in the file; (any, 28, 28, 3) in its manifest" in said("tfjs/float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "other", "sentence"),
    [
        ("onnx/int8", "onnx/float16", "no weight is int8 or uint8, which int8 means: the file has"),
        ("tflite/int8_dynamic", "tflite/float16", "no weight is int8, which int8_dynamic means: the file has"),
        ("tflite/int8", "tflite/int8_dynamic", "no operator computes int8 or uint8, which int8 means"),
        ("tflite/int8_int16", "tflite/int8", "no operator computes int16, which int8_int16 means"),
        ("tfjs/uint8_weights", "tfjs/float16", "no weight is uint8, which uint8_weights means: the file has"),
        ("tfjs/float16", "tfjs/float32", "no weight is float16, which float16 means: the file has"),
    ],
)
def test_a_precision_is_what_is_stored_and_computed(released: Path, name: str, other: str, sentence: str) -> None:
    run, artifact = opened(name)
    assert sentence in "; ".join(misfits(artifact, run.checkpoint, read(run.artifact(other))))


def test_metadata_that_is_no_json_is_said(at_home: Path) -> None:
    _, artifact = opened("onnx/float32")
    model = onnx.load(artifact.path)
    model.metadata_props[0].value, model.metadata_props[1].value = "{", "{"
    onnx.save(model, artifact.path)
    assert said("onnx/float32").startswith("what model.onnx says of itself cannot be read: ")


def test_an_output_is_described_as_the_checkpoint_has_it(at_home: Path) -> None:
    logits = Tensor("logits", "float32", ("batch", 9), "NK")
    assert "its manifest's logits has shape (any, 9); the checkpoint (any, 10)" in said(
        "onnx/float32", outputs=(logits,)
    )


def unasked(interface: Interface, precision: str = "int8", **details: Any) -> tuple[str, list[str]]:
    """What is said of a file of a precision whose operators are counted so."""
    run, artifact = opened("onnx/int8")
    artifact = dataclasses.replace(artifact, precision=precision, details={**artifact.details, **details})
    sentences = [one for one in misfits(artifact, run.checkpoint, interface) if "stayed float" in one]
    return "; ".join(sentences), remarks(artifact, interface)


def counted(**in_float: int) -> Interface:
    return Interface(
        weights={"int8": 1000, "float32": 500},
        computed={"int8": 50},
        weighted={"CONV_2D": 53, "FULLY_CONNECTED": 1, "CONV_3D": 2},
        in_float=in_float,
    )


def test_operators_that_stayed_float_are_counted_by_kind(at_home: Path) -> None:
    assert unasked(counted()) == ("", [])
    assert unasked(counted(CONV_2D=7, FULLY_CONNECTED=1)) == (
        "stayed float in int8: 7 of 53 CONV_2D, 1 of 1 FULLY_CONNECTED compute in float32",
        [],
    )
    for other in ("float32", "int8_dynamic", "int8_weights", "uint8_weights"):
        assert unasked(counted(CONV_2D=7), other) == ("", [])


def test_operators_that_no_quantizer_takes_are_a_warning(at_home: Path) -> None:
    assert unasked(counted(CONV_3D=2)) == ("", ["no quantizer makes integers of 2 of 2 CONV_3D: in float32"])


def test_operators_that_were_asked_to_stay_float_are_right(at_home: Path) -> None:
    asked = {"keep_float": ["features.0"], "float_operators": {"CONV_2D": 7}}
    assert unasked(counted(CONV_2D=7), **asked) == ("", [])
    assert unasked(counted(CONV_2D=9), **asked)[0] == (
        "stayed float in int8 beside what --keep-float asked for: 2 of 53 CONV_2D compute in float32"
    )
    (older := dict(asked)).pop("float_operators")
    run, artifact = opened("onnx/int8")
    older = {key: value for key, value in artifact.details.items() if key != "float_operators"} | older
    artifact = dataclasses.replace(artifact, details=older)
    assert remarks(artifact, counted(CONV_2D=7, CONV_3D=1)) == []
    assert not any("stayed float" in one for one in misfits(artifact, run.checkpoint, counted(CONV_2D=7)))


def test_an_onnx_file_of_which_a_part_stayed_float_is_told_by_operator(at_home: Path) -> None:
    """Its numbers are better than they need be, so nothing else tells."""
    assert said("onnx/int8") == ""
    _, artifact = opened("onnx/int8")
    interface = read(artifact)
    assert dict(interface.weighted) == {"Conv": 2, "Gemm": 2}
    assert dict(interface.in_float) == {}
    in_float(str(artifact.path), "Conv")
    assert said("onnx/int8") == "stayed float in int8: 1 of 2 Conv compute in float32"


@pytest.mark.slow
def test_the_operators_of_a_tflite_file_are_counted(released: Path) -> None:
    """As an app's runtime has them: whole integers in the precisions that say so, floats in the others."""
    weighted = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 2}
    for precision, floats in {
        "float32": weighted,
        "float16": weighted,
        "int8_dynamic": weighted,
        "int8_weights": weighted,
        "int8": {},
        "int8_int16": {},
    }.items():
        interface = read(opened(f"tflite/{precision}")[1])
        assert (dict(interface.weighted), dict(interface.in_float)) == (weighted, floats), precision
    run, artifact = opened("tflite/int8")
    other = read(opened("tflite/int8_weights")[1])
    assert (
        "stayed float in int8: 2 of 2 CONV_2D, 1 of 1 DEPTHWISE_CONV_2D, 2 of 2 FULLY_CONNECTED compute in float32"
        in "; ".join(misfits(artifact, run.checkpoint, other))
    )
