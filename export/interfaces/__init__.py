"""What an exported file says of itself: names, shapes, types and scales, labels and metadata, and what it computes in.

    interface = read(artifact)
    interface.inputs["image"].shape            # (None, 64, 64, 3)
    interface.labels                           # ("cat", "dog"), as an app reads them

One module a format, with `read(path)`. Nothing is run or unpickled, and nothing needs a toolchain. A file may be
anybody's: what is malformed raises one of `MALFORMED`.
"""

import importlib
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from export.artifact import Artifact

MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OSError,
    RecursionError,
    struct.error,
    zipfile.BadZipFile,
)
"""What reading a malformed file raises: protobuf's DecodeError is made a ValueError where it is read."""
READERS = {
    "exported_program": "archive",
    "mediapipe": "tflite",
    "onnx": "onnx",
    "saved_model": "saved_model",
    "tfjs": "tfjs",
    "tflite": "tflite",
    "torchscript": "archive",
}
"""Target → the module here that reads its files."""
WEIGHT = 64
"""Values of a constant that is taken for a weight, at least: fewer are biases, scalars and shapes."""


@dataclass(frozen=True)
class Slot:
    """An input or output as a file has it."""

    dtype: str
    """`float32`; empty: the file does not say."""
    shape: tuple[int | None, ...] | None
    """None for an axis: any length, or the file does not say; None at all: it does not say how many there are."""
    scale: float | None = None
    zero_point: int = 0


@dataclass(frozen=True)
class Interface:
    """What a file says of itself; what it has no place for is None or empty."""

    inputs: Mapping[str, Slot] | None = None
    """By name."""
    outputs: Mapping[str, Slot] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What an app reads beside the graph, by the checkpoint's own names: `labels`, `task`, `checkpoint_sha256`."""
    pixels: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] | None = None
    """By image input: mean and deviation that an app is told to prepare bytes with. None: no place for it."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """Type → number of values of weights that are stored in it."""
    computed: Mapping[str, int] | None = None
    """Type → number of operators whose result has it; None: not counted."""
    weighted: Mapping[str, int] = field(default_factory=dict)
    """Kind of operator → number of those with weights, as the format calls it: `CONV_2D`, `Conv`."""
    in_float: Mapping[str, int] = field(default_factory=dict)
    """Kind of operator → number of those with weights that compute in float32."""
    references: tuple[str, ...] = ()
    """Files that are named as if they lay beside it, such as weights."""
    problem: str = ""
    """Why it cannot be read; empty: it can."""


def read(artifact: Artifact) -> Interface:
    """Return what an artifact's file says of itself; nothing, where nothing here reads its target."""
    if artifact.target not in READERS:
        return Interface()
    reader = importlib.import_module(f"{__name__}.{READERS[artifact.target]}")
    try:
        interface: Interface = reader.read(artifact.path)
    except MALFORMED as error:
        return Interface(problem=str(error).partition("\n")[0] or type(error).__name__)
    return interface


def foreign(artifact: Artifact, interface: Interface) -> list[str]:
    """Return the files that an artifact's entry names and that are none of its own, so that nobody hashed them."""
    beside = PurePosixPath(artifact.entry).parent
    return [name for name in dict.fromkeys(interface.references) if str(beside / name) not in artifact.files]
