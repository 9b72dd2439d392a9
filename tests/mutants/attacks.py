"""Mutants that somebody makes so that a validation does not see them, and what an app reads beside the numbers.

Right on golden and wrong elsewhere: in other batches, after many calls, on black, on inputs that no file has known.
Under other labels, pixels, shapes or precisions than the file says. Read from files that nobody hashed.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from records.tensor import tensors_to
from tests.mutants import faults
from tests.mutants.bench import Change, Mutant, Opened
from tests.mutants.catalogue import PLACES, altered, edit, file_of, manifest, of, unsealed

ANEW = "made anew by seed 1: logits"
BATCH = "gives other rows than"
LABELS = "labels in the file are others than the checkpoint's"
CALLS = 36
"""Of those that a validation of 128 samples makes before the last one."""
ONNX = ("onnx/float32", "onnx/float16", "onnx/int8")
OF_TORCH = ("torchscript/float32", "exported_program/float32")
LABELLED = [name for name in PLACES if not name.startswith("saved_model")]


def right_on_golden() -> Iterable[Mutant]:
    """And wrong elsewhere."""
    for when in ("beyond 32", "none of 1, 2 and 32"):
        name = "wrong in batches beyond 32" if when == "beyond 32" else "wrong in batches but of 1, 2 and 32"
        for artifact in ONNX:
            yield of(name, artifact, edit("wrong_where", when=when), BATCH)
        for artifact in OF_TORCH:
            yield of(name, artifact, altered(name), BATCH)
        yield of(name, "saved_model/float32", edit("wrong_where", when=when), BATCH)
    black = "NaN on black"
    for artifact in ONNX:
        yield of(black, artifact, edit("wrong_where", when="black"), "probe black: logits: 10 values are NaN")
    for artifact in OF_TORCH:
        yield of(black, artifact, altered(black), "probe black: logits: 10 values are NaN")
    yield of(black, "saved_model/float32", edit("wrong_where", when="black"), "probe black: logits: 10 values are NaN")
    tired = f"wrong after {CALLS} calls"
    because = "the last of the timed calls gives other outputs"
    yield of(tired, "torchscript/float32", edit("tire", calls=CALLS), because)
    yield of(tired, "saved_model/float32", edit("wrong_where", when="tired", calls=CALLS), because)


def from_a_table() -> Iterable[Mutant]:
    """No network at all."""
    name = "it answers from a table"
    yield of(name, "onnx/float32", remembered("remember"), ANEW)
    yield of(name, "saved_model/float32", remembered("remember"), ANEW)
    yield of(name, "tflite/float32", in_tflite, ANEW)
    for artifact in OF_TORCH:
        yield of(name, artifact, altered(name), ANEW)


def beside_the_graph() -> Iterable[Mutant]:
    """What an app reads."""
    for artifact in LABELLED:
        yield of("labels in the file reversed", artifact, labelled([str(9 - n) for n in range(10)]), LABELS)
        yield of("one label lost", artifact, labelled([str(n) for n in range(9)]), "the file has 9 labels")
    for artifact in ("tflite/float32", "tflite/int8"):
        yield of("pixels divided by 127.5", artifact, edit("pixels", deviation=127.5), "deviation [127.5]")
    other = {"mean": [0.5] * 3, "deviation": [0.5] * 3, "inside_model": False}
    yield of(
        "normalisation in the file",
        "onnx/float32",
        edit("properties", normalisation=json.dumps(other)),
        "normalisation",
    )
    yield of("normalisation in the file", "tfjs/float32", edit("metadata", normalisation=other), "normalisation")
    yield of("no preparation in the file", "onnx/int8", edit("properties", preparation="{}"), "the preparation in the")
    yield of("no preparation in the file", "tfjs/float16", edit("metadata", preparation={}), "the preparation in the")
    sealed = {"checkpoint_sha256": "0" * 64}
    yield of("another checkpoint in the file", "onnx/float16", edit("properties", **sealed), "the checkpoint_sha256 in")
    yield of(
        "another checkpoint in the file", "tfjs/uint8_weights", edit("metadata", **sealed), "the checkpoint_sha256"
    )
    yield of("a signature of one image", "tfjs/float32", edit("fix_batch"), "has shape (1, 24, 24, 3) in the file")


def in_manifests() -> Iterable[Mutant]:
    """What an app's author reads."""
    for artifact in ("onnx/float32", "tflite/float32", "tfjs/float32"):
        yield of("a range of [-1, 1]", artifact, image(range=(-1.0, 1.0)), "has range [-1, 1]; the checkpoint [0, 1]")
        yield of("channels said to be BGR", artifact, image(channels="BGR"), "has channels BGR; the checkpoint RGB")
    yield of(
        "a source that it has not", "tflite/int8", manifest(source="tflite/float32"), "names source 'tflite/float32'"
    )
    yield of("a toolchain that is none", "onnx/int8", manifest(toolchain="mine"), "names toolchain 'mine'")
    yield of("a recipe that is none", "saved_model/float32", manifest(recipe="by hand"), "recipe is no sha256")


def of_another_precision() -> Iterable[Mutant]:
    """Better numbers than the precision can have, or as good ones."""
    none = "which int8 means"
    yield of("a float16 file", "onnx/int8", file_of("onnx/float16"), none)
    yield of("a float16 file", "tflite/int8_dynamic", file_of("tflite/float16"), "which int8_dynamic means")
    yield of("a float16 file", "tflite/int8_weights", file_of("tflite/float16"), "which int8_weights means")
    yield of("a float16 file", "tfjs/uint8_weights", file_of("tfjs/float16"), "which uint8_weights means")
    yield of("a float16 file", "tflite/int8", as_the_file_of("tflite/float16"), none)
    yield of("weights in integers alone", "tflite/int8", as_the_file_of("tflite/int8_dynamic"), none)
    yield of(
        "weights in integers alone", "tflite/int8_int16", as_the_file_of("tflite/int8_dynamic"), "int8_int16 means"
    )
    yield of("one convolution that stayed float", "onnx/int8", edit("in_float", kind="Conv"), "stayed float in int8")
    for artifact in ("onnx/int8", "tflite/int8", "tflite/int8_dynamic", "tflite/int8_int16"):
        yield of("scales of a layer's channels rotated", artifact, faults.rotated("narrow"), "sqnr_db", "narrow")


def in_files_of_nobody() -> Iterable[Mutant]:
    """Read by a runtime, and hashed by nobody."""
    yield of("an entry that leads out", "onnx/float32", leads_out, "is none of its files")
    yield of("a link", "tflite/float32", linked, "is a link")
    yield of("a folder that is a link", "saved_model/float32", linked_folder, "is a link")
    yield of("a pipe", "torchscript/float32", piped, "is no file")
    yield of("weights that lie elsewhere", "tfjs/float32", edit("from_elsewhere"), "which is none of its files")
    yield unsealed("a second manifest", "onnx/float16", second_manifest, "is not in its manifest")


def labelled(lines: list[str]) -> Change:
    """Other labels in the file, wherever its format has them."""

    def change(opened: Opened) -> None:
        target = opened.artifact.target
        if target == "onnx":
            opened.edit("properties", labels=json.dumps(lines))
        elif target == "tfjs":
            opened.edit("metadata", labels=lines)
        else:
            opened.edit("labels", lines=lines)

    return change


def image(**changes: Any) -> Change:
    """The manifest describes the input otherwise."""

    def change(opened: Opened) -> None:
        (tensor,) = opened.artifact.inputs
        opened.manifest["inputs"] = tensors_to([dataclasses.replace(tensor, **changes)])

    return change


def as_the_file_of(other: str) -> Change:
    """Another precision's file under a manifest that describes it."""

    def change(opened: Opened) -> None:
        file_of(other)(opened)
        source = opened.run.artifact(other)
        opened.manifest.update(inputs=tensors_to(source.inputs), outputs=tensors_to(source.outputs))

    return change


def _table(opened: Opened) -> str:
    file = str((opened.scratch / "table.safetensors").absolute())
    opened.call("altered.py", "write_table", checkpoint=str(opened.run.checkpoint.folder.absolute()), out=file)
    return file


def remembered(function: str) -> Change:
    """By a function of the target's file that takes a table."""
    return lambda opened: opened.edit(function, table=_table(opened))


def in_tflite(opened: Opened) -> None:
    """Made by TensorFlow's converter."""
    checkpoint = str(opened.run.checkpoint.folder.absolute())
    path = str(opened.artifact.path.absolute())
    opened.call("saved_model.py", "remember_in_tflite", path=path, table=_table(opened), checkpoint=checkpoint)


def _outside(opened: Opened) -> Path:
    """A place beside the artifact's folder."""
    return opened.artifact.folder.parent / ".outside"


def leads_out(opened: Opened) -> None:
    shutil.copy(opened.artifact.path, _outside(opened))
    opened.manifest["entry"] = "../.outside"


def linked(opened: Opened) -> None:
    shutil.move(opened.artifact.path, _outside(opened))
    opened.artifact.path.symlink_to(_outside(opened).absolute())


def linked_folder(opened: Opened) -> None:
    (opened.artifact.folder / "more").symlink_to(opened.scratch.absolute())


def piped(opened: Opened) -> None:
    os.mkfifo(opened.artifact.folder / "pipe")


def second_manifest(opened: Opened) -> None:
    (opened.artifact.folder / "inner").mkdir()
    (opened.artifact.folder / "inner" / "manifest.json").write_text("{}")


MUTANTS = (
    *right_on_golden(),
    *from_a_table(),
    *beside_the_graph(),
    *in_manifests(),
    *of_another_precision(),
    *in_files_of_nobody(),
)
