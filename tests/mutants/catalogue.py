"""The mutants: what is broken, in which artifact, where it is run, and why it must be caught.

The same faults in every artifact first, then those that only one format can have, then files and manifests.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from records.tensor import tensors_to
from tests.mutants import faults
from tests.mutants.bench import Change, Mutant, Opened

PLACES = {
    "onnx/float32": "onnxruntime",
    "onnx/float16": "onnxruntime",
    "onnx/int8": "onnxruntime",
    "torchscript/float32": "torch",
    "exported_program/float32": "torch",
    "saved_model/float32": "tensorflow plain",
    "tflite/float32": "litert xnnpack",
    "tflite/float16": "tflite_runtime",
    "tflite/int8_dynamic": "litert builtin",
    "tflite/int8_weights": "litert xnnpack",
    "tflite/int8": "litert xnnpack",
    "tflite/int8_int16": "litert builtin",
    "tfjs/float32": "node wasm",
    "tfjs/float16": "node wasm",
    "tfjs/uint8_weights": "node wasm",
}
"""Artifact → where its mutants are run, unless they say otherwise."""

VALUES = "sqnr_db"
SAID = "in its manifest"
EXACT = "max_absolute"
DECISIONS = "decisions differ from golden's"
NAN = {
    "onnx/int8": VALUES,  # integers have none: it becomes some number
    "tflite/int8_int16": VALUES,
    "tflite/int8": "unsupported scale value (nan)",
}
"""Artifact → what tells a step that is none."""
TRUNCATED = {
    "onnx": "INVALID_PROTOBUF",
    "torchscript": "failed reading zip archive",
    "tflite": "not a valid Flatbuffer",
    "tfjs": "SyntaxError",
}
"""Target → how its runtime refuses half a file."""
MODULES = {
    "tanh GELU": "hidden_act",
    "ReLU for ReLU6": "stem_act",
    "SiLU for hard-swish": "depthwise_act",
    "hard-swish for SiLU": "widen_act",
    "padding on the other side": "pad",
    "corners aligned": "upsample",
    "nearest pixel": "upsample",
    "average pooling": "pool",
    "no residual": "residual",
}
"""Alteration → the one module that computes something else."""


def of(name: str, artifact: str, change: Change, because: str, layer: str = "", where: str = "") -> Mutant:
    return Mutant(name, artifact, where or PLACES[artifact], change, because, layer)


def edit(function: str, **arguments: Any) -> Change:
    """By a function of the target's file in `formats/`."""
    return lambda opened: opened.edit(function, **arguments)


def altered(alteration: str) -> Change:
    """Converted anew, of a model that is another function."""
    return lambda opened: opened.convert(alteration)


def in_every_artifact() -> Iterable[Mutant]:
    """Of all targets and precisions."""
    for artifact in PLACES:
        kind = artifact.partition("/")[2]
        exact = EXACT if kind in {"float32", "float16"} else VALUES
        yield of("weights of one layer 1 % greater", artifact, faults.weights("narrow", 1.01), exact, "narrow")
        yield of("one bias dropped", artifact, faults.no_bias("hidden"), exact, "hidden")
        yield of("two classes swapped", artifact, faults.swapped_classes, DECISIONS, "head")
        yield of("BGR for RGB", artifact, faults.turned("stem", "BGR"), VALUES, "stem")
        yield of("flattened in another order", artifact, faults.turned("hidden", "flattened"), DECISIONS, "hidden")
        yield of("ImageNet's mean and deviation", artifact, faults.normalised(*faults.IMAGENET), VALUES)
        yield of("logits 8.7 % greater", artifact, faults.logits(1.087), VALUES, "head")
        if kind != "uint8_weights":  # JSON has no NaN
            yield of("a NaN weight", artifact, faults.nan("head"), NAN.get(artifact, "NaN or infinite"), "head")


def in_some_artifacts() -> Iterable[Mutant]:
    """Smaller and greater than those."""
    for artifact in ("onnx/int8", "tflite/int8_dynamic", "tflite/int8", "tflite/int8_int16", "tfjs/uint8_weights"):
        yield of("weights of one layer 20 % greater", artifact, faults.weights("narrow", 1.2), VALUES, "narrow")
        yield of("logits 2 % greater", artifact, faults.logits(1.02), VALUES, "head")
    for artifact in ("onnx/float32", "tflite/int8", "tfjs/float16"):
        mean = tuple(value + 0.05 for value in faults.MEAN)
        yield of("mean of each channel 0.05 off", artifact, faults.normalised(mean, faults.DEVIATION), VALUES)
    for artifact in ("onnx/float32", "saved_model/float32", "tflite/int8", "tfjs/float32"):
        turned = faults.turned("narrow", "height and width")
        yield of("a kernel's height and width swapped", artifact, turned, VALUES, "narrow")


def with_flags() -> Iterable[Mutant]:
    """Whose numbers one measure might hide."""
    for artifact in ("onnx/float32", "saved_model/float32", "tflite/float16", "tfjs/uint8_weights"):
        yield of("a last layer of zeros", artifact, faults.weights("head", 0), "is the same for all 128 inputs", "head")
    for artifact in ("exported_program/float32", "tflite/float32", "tfjs/float16"):
        yield of("one class never decided for", artifact, faults.unlikely(3), "class 3 is never decided for", "head")
    yield of("levels lost", "onnx/int8", edit("range_of", tensor="logits", factor=32), "different values only")
    for artifact, other in (
        ("tflite/int8_dynamic", "tflite/float32"),
        ("tfjs/uint8_weights", "tfjs/float32"),
        ("onnx/float16", "onnx/float32"),
    ):
        yield of(f"the file of {other}", artifact, file_of(other), "cannot be: the artifact is float32")
    for artifact, other in (("onnx/float32", "onnx/float16"), ("tflite/float32", "tflite/int8_dynamic")):
        yield of(f"the file of {other}", artifact, file_of(other), EXACT)


def before_the_file_was_written() -> Iterable[Mutant]:
    """Other functions of the same weights."""
    for alteration in (
        "tanh GELU",
        "ReLU for ReLU6",
        "SiLU for hard-swish",
        "hard-swish for SiLU",
        "padding on the other side",
        "corners aligned",
        "nearest pixel",
        "average pooling",
        "epsilon 1e-3",
        "an older training",
        "no residual",
    ):
        yield of(alteration, "torchscript/float32", altered(alteration), EXACT, MODULES.get(alteration, ""))
    for alteration in ("tanh GELU", "ReLU for ReLU6", "padding on the other side", "epsilon 1e-3", "corners aligned"):
        yield of(alteration, "onnx/float16", altered(alteration), EXACT, MODULES.get(alteration, ""))
    for alteration in ("tanh GELU", "ReLU for ReLU6", "padding on the other side", "corners aligned"):
        yield of(alteration, "onnx/int8", altered(alteration), VALUES, MODULES[alteration])
    for artifact in ("torchscript/float32", "exported_program/float32"):
        training = "BatchNorm in training mode"
        yield of(training, artifact, altered(training), "gives other rows than its images one by one", "stem_norm")
        yield of("softmax twice", artifact, altered("softmax twice"), VALUES)
    dropout = altered("dropout left on")
    yield of("dropout left on", "exported_program/float32", dropout, "between two runs of the same input")
    centred = altered("centred over the batch")
    yield of("centred over the batch", "onnx/float32", centred, "gives other rows than its images one by one")
    yield of("mean and deviation 0.5", "onnx/float32", altered("mean and deviation 0.5"), VALUES)
    for artifact in ("torchscript/float32", "exported_program/float32", "onnx/float32", "onnx/float16"):
        lost = "the branch of bright images lost"
        yield of(lost, artifact, altered(lost), "probe white: logits: probe_absolute")


def in_onnx() -> Iterable[Mutant]:
    for kind in ("onnx/float32", "onnx/float16", "onnx/int8"):
        yield of("image turned", kind, edit("turn_input"), DECISIONS)
    yield of("ReLU for ReLU6", "onnx/float32", edit("rename", kind="Clip", to="Relu", keep=1), EXACT)
    yield of("softmax twice", "onnx/float16", edit("after", kinds=["Softmax", "Softmax"]), VALUES)
    yield of("tanh GELU", "onnx/float32", edit("attribute", kind="Gelu", name="approximate", value="tanh"), EXACT)
    mode = {"kind": "Resize", "name": "coordinate_transformation_mode", "value": "asymmetric"}
    yield of("pixels resized from their corners", "onnx/float32", edit("attribute", **mode), EXACT)
    yield of("another output name", "onnx/float32", edit("rename_output", to="scores"), "logits")
    yield of("a batch of one only", "onnx/float16", edit("fix_batch"), "Got invalid dimensions for input")
    yield of("random noise", "onnx/float32", edit("noise", deviation=1e-3), "between two runs of the same input")
    yield of(
        "an overflow on the way", "onnx/float16", edit("detour", tensor="linear", factor=30000.0), "NaN or infinite"
    )
    for by in (1, 4):
        yield of(f"a zero point off by {by}", "onnx/int8", edit("shift_zero", tensor="linear", by=by), VALUES)
    for tensor in ("hardswish", "add"):
        yield of(f"range of {tensor} saturated", "onnx/int8", edit("range_of", tensor=tensor, factor=0.25), VALUES)
    yield of("range of logits saturated", "onnx/int8", edit("range_of", tensor="logits", factor=0.5), "saturated")


def in_saved_models() -> Iterable[Mutant]:
    yield of("ReLU for ReLU6", "saved_model/float32", edit("rename", kind="Relu6", to="Relu"), EXACT)
    yield of("corners aligned", "saved_model/float32", edit("resize", align_corners=True), EXACT)
    yield of("padding on the other side", "saved_model/float32", other_side, EXACT)


def in_tflite() -> Iterable[Mutant]:
    corners = {"kind": "RESIZE_BILINEAR", "values": {"alignCorners": True, "halfPixelCenters": False}}
    left = {"kind": "RESIZE_BILINEAR", "values": {"halfPixelCenters": False}}
    same = {"kind": "GELU", "values": {"approximate": True}}
    for kind, where in (("float32", "litert builtin"), ("int8", "tflite_runtime")):
        artifact = f"tflite/{kind}"
        yield of("corners aligned", artifact, edit("option", **corners), VALUES, where=where)
    yield of("pixels resized from their corners", "tflite/float16", edit("option", **left), VALUES)
    yield of("tanh GELU", "tflite/float32", edit("option", **same), EXACT)
    yield of("ReLU for ReLU6", "tflite/float32", edit("activation", old="RELU6", new="RELU"), EXACT)
    yield of("ReLU for ReLU6", "tflite/int8_dynamic", edit("activation", old="RELU6", new="RELU"), VALUES)
    swish = {"kind": "HARD_SWISH", "to": "LOGISTIC"}
    yield of("sigmoid for hard-swish", "tflite/int8", edit("rename", **swish), VALUES, "depthwise_act")
    yield of("padding on one side", "tflite/float32", one_side, EXACT)
    yield of("padding on one side", "tflite/int8_int16", one_side, VALUES)
    yield of("range of hard-swish saturated", "tflite/int8", edit("range_of", kind="HARD_SWISH", factor=0.25), VALUES)
    yield of("range of the sum saturated", "tflite/int8_int16", edit("range_of", kind="ADD", factor=0.25), VALUES)
    for runtime in ("litert builtin", "tflite_runtime"):
        yield of("output scale 10 % greater", "tflite/int8", output(scale=1.1), VALUES, where=runtime)
    yield of("output scale 2 % greater", "tflite/int8", output(scale=1.02), SAID)
    yield of("output zero point off by one", "tflite/int8", output(zero=1), SAID)
    yield of("output zero point off by 128", "tflite/int8", output(zero=-128), VALUES)
    yield of("input zero point off by one", "tflite/int8", given(zero=1), SAID)
    yield of("input scale of [-1, 1]", "tflite/int8", given(scale=2.0), VALUES)


def in_tfjs() -> Iterable[Mutant]:
    yield of("products with a turned factor", "tfjs/float32", edit("turn_products"), VALUES)
    yield of("ReLU for ReLU6", "tfjs/float32", edit("activation", old="Relu6", new="Relu"), EXACT)
    yield of("ReLU for ReLU6", "tfjs/uint8_weights", edit("activation", old="Relu6", new="Relu"), VALUES)
    yield of("corners aligned", "tfjs/float16", edit("resize", align_corners=True), VALUES)
    yield of("tanh for sigmoid", "tfjs/uint8_weights", edit("rename", kind="Sigmoid", to="Tanh"), VALUES)
    yield of("padding on the other side", "tfjs/float32", other_side, EXACT, where="node cpu")
    yield of("shards swapped", "tfjs/float32", edit("swap_shards"), "Error")
    yield of("shards swapped", "tfjs/uint8_weights", edit("swap_shards"), "Error")
    yield of("a weight beyond float16", "tfjs/float16", faults.infinite("narrow"), "NaN or infinite", "narrow")
    yield of("a weight beyond float16", "tflite/float16", faults.infinite("narrow"), "NaN or infinite", "narrow")


def file_of(other: str) -> Change:
    """What another conversion of the same model made."""

    def change(opened: Opened) -> None:
        source = opened.run.artifact(other)
        for name in source.files:
            shutil.copy(source.folder / name, opened.artifact.folder / name)

    return change


def one_side(opened: Opened) -> None:
    """Both rows and columns of padding before the image instead of one on each side."""
    with opened.constants() as constants:
        for name, value in constants.items():
            if value.shape == (4, 2) and value.tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]:
                constants[name] = np.array([[0, 0], [2, 0], [2, 0], [0, 0]], value.dtype)


def other_side(opened: Opened) -> None:
    """Both rows and columns of padding behind the image instead of one on each side."""
    with opened.constants() as constants:
        for name, value in constants.items():
            if value.shape == (4, 2) and value.tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]:
                constants[name] = np.array([[0, 0], [0, 2], [0, 2], [0, 0]], value.dtype)


def output(scale: float = 1.0, zero: int = 0) -> Change:
    """The manifest takes the output's integers for other numbers than the file."""
    return _described("outputs", scale, zero)


def given(scale: float = 1.0, zero: int = 0) -> Change:
    """The manifest takes the input's integers for other numbers than the file."""
    return _described("inputs", scale, zero)


def _described(which: str, scale: float, zero: int) -> Change:
    def change(opened: Opened) -> None:
        (tensor,) = (dataclasses.asdict(one) for one in getattr(opened.artifact, which))
        opened.manifest[which] = [
            tensor | {"scale": tensor["scale"] * scale, "zero_point": tensor["zero_point"] + zero}
        ]

    return change


def files_and_manifests() -> Iterable[Mutant]:
    """What is told from hashes alone: nothing is run, and nobody has written the manifest anew."""
    altered, stale = "does not match its manifest (truncated or altered)", "made from another checkpoint"
    for artifact in ("onnx/float32", "tflite/int8", "tfjs/float16", "saved_model/float32"):
        yield unsealed("a truncated file", artifact, truncated, altered)
    yield unsealed("one bit flipped", "torchscript/float32", flipped, altered)
    yield unsealed("a file missing", "tfjs/float32", missing, "is missing")
    yield unsealed("a file of nobody", "exported_program/float32", added, "is not in its manifest")
    yield unsealed("a manifest edited", "tflite/float32", edited_manifest, "manifest.json was altered")
    yield unsealed("a manifest cut off", "onnx/int8", cut_manifest, "manifest.json was truncated or altered")
    for artifact in ("onnx/float16", "tflite/int8_int16"):
        yield of("made from another checkpoint", artifact, manifest(checkpoint_sha256="0" * 64), stale)
    yield of("another artifact's manifest", "tflite/int8_dynamic", manifest(precision="int8"), "its manifest says")
    yield of("labels in another order", "onnx/float32", reversed_labels, "its manifest has other labels than")
    yield of("another preparation", "tfjs/float32", cropped, "has other preparation than")
    for artifact in ("onnx/int8", "torchscript/float32", "tflite/int8", "tfjs/uint8_weights"):
        yield of("a truncated file, sealed", artifact, truncated, TRUNCATED[artifact.partition("/")[0]])


def unsealed(name: str, artifact: str, change: Change, because: str) -> Mutant:
    return dataclasses.replace(of(name, artifact, change, because), sealed=False)


def manifest(**changes: Any) -> Change:
    return lambda opened: opened.manifest.update(changes)


def reversed_labels(opened: Opened) -> None:
    opened.manifest["labels"] = list(opened.artifact.labels[::-1])


def cropped(opened: Opened) -> None:
    (image,) = opened.artifact.inputs
    assert image.preparation
    crop = {**image.preparation, "resize": [256, 256], "crop": [224, 224]}
    opened.manifest["inputs"] = tensors_to([dataclasses.replace(image, preparation=crop)])


def _file(opened: Opened) -> Path:
    """The greatest one."""
    folder = opened.artifact.folder
    return max((folder / name for name in opened.artifact.files), key=lambda file: file.stat().st_size)


def truncated(opened: Opened) -> None:
    content = _file(opened).read_bytes()
    _file(opened).write_bytes(content[: len(content) * 2 // 3])


def flipped(opened: Opened) -> None:
    content = bytearray(_file(opened).read_bytes())
    content[len(content) // 2] ^= 1
    _file(opened).write_bytes(content)


def missing(opened: Opened) -> None:
    _file(opened).unlink()


def added(opened: Opened) -> None:
    (opened.artifact.folder / "model.old").write_bytes(b"old")


def edited_manifest(opened: Opened) -> None:
    path = opened.artifact.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": "float16"}))


def cut_manifest(opened: Opened) -> None:
    path = opened.artifact.folder / "manifest.json"
    path.write_text(path.read_text()[:100])


MUTANTS = (
    *in_every_artifact(),
    *in_some_artifacts(),
    *with_flags(),
    *before_the_file_was_written(),
    *in_onnx(),
    *in_saved_models(),
    *in_tflite(),
    *in_tfjs(),
    *files_and_manifests(),
)


def controls() -> Iterable[Mutant]:
    """Taken apart and put together again with nothing wrong: what a mutant must not be caught for."""
    for artifact in PLACES:
        yield of("nothing", artifact, untouched, "")
    for artifact in ("onnx/float32", "onnx/float16", "onnx/int8", "torchscript/float32", "exported_program/float32"):
        yield of("nothing, converted anew", artifact, altered("nothing"), "")


def untouched(opened: Opened) -> None:
    with opened.constants() as constants:
        for name in list(constants):
            constants[name] = constants[name].copy()


CONTROLS = tuple(controls())

NOISE = "above 25 dB, where other networks' own quantization lies"
ONE_STEP = "half a step is what rounding may be off anyway"
UNCAUGHT = {
    "weights of one layer 1 % greater: onnx/int8 in onnxruntime": NOISE,
    "weights of one layer 1 % greater: tflite/int8_dynamic in litert builtin": NOISE,
    "weights of one layer 1 % greater: tflite/int8_weights in litert xnnpack": NOISE,
    "weights of one layer 1 % greater: tflite/int8 in litert xnnpack": NOISE,
    "weights of one layer 1 % greater: tflite/int8_int16 in litert builtin": NOISE,
    "weights of one layer 1 % greater: tfjs/uint8_weights in node wasm": NOISE,
    "one bias dropped: onnx/int8 in onnxruntime": NOISE,
    "one bias dropped: tflite/int8_dynamic in litert builtin": NOISE,
    "one bias dropped: tflite/int8_weights in litert xnnpack": NOISE,
    "one bias dropped: tflite/int8 in litert xnnpack": NOISE,
    "one bias dropped: tflite/int8_int16 in litert builtin": NOISE,
    "one bias dropped: tfjs/uint8_weights in node wasm": NOISE,
    "logits 2 % greater: onnx/int8 in onnxruntime": NOISE,
    "logits 2 % greater: tflite/int8_dynamic in litert builtin": NOISE,
    "logits 2 % greater: tflite/int8 in litert xnnpack": NOISE,
    "logits 2 % greater: tflite/int8_int16 in litert builtin": NOISE,
    "logits 2 % greater: tfjs/uint8_weights in node wasm": NOISE,
    "tanh GELU: onnx/float16 in onnxruntime": "13 dB below float16's own rounding",
    "tanh GELU: onnx/int8 in onnxruntime": "20 dB below the noise of quantization",
    "a zero point off by 1: onnx/int8 in onnxruntime": ONE_STEP,
    "an overflow on the way: onnx/float16 in onnxruntime": "ONNX Runtime's CPU computes float16 in float32",
}
"""Mutants that pass → why they cannot be told from what is right. `make mutants` says how much they change."""


def sample(mutants: Iterable[Mutant], *kinds: Callable[[Mutant], str]) -> set[str]:
    """Return titles of mutants that have every kind there is, such as every artifact; drawn by a hash of their titles.

    `make test` examines these, `make nightly` all.
    """
    chosen: set[str] = set()
    met: set[tuple[int, str]] = set()
    for mutant in sorted(mutants, key=lambda mutant: hashlib.sha256(mutant.title.encode()).digest()):
        new = {(number, kind(mutant)) for number, kind in enumerate(kinds)} - met
        if new:
            chosen.add(mutant.title)
            met |= new
    return chosen
