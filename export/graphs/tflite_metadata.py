"""TFLite Metadata: writes labels, names and the scale of the pixels into a .tflite, where apps look for them.

    inputs, outputs = [ImageMetadata("image")], [TensorMetadata("logits")]
    described = with_metadata(model, Description("digits", "…", "1"), inputs, outputs, ["0", …])

MediaPipe's and the Task Library's vision tasks on Android, iOS and the web load such a file without any further code
and show its outputs as they are (logits stay logits); for an interpreter it is the same model. The labels are a zip at
the end of the file: `unzip model.tflite` works. The layout is that of tflite-support's metadata_schema.fbs and
TensorFlow's schema.fbs. Their writer, tflite-support, has no wheel beyond Python 3.11; the object API of the generated
schema packs the whole model anew and loses the alignment of its weights. Needs flatbuffers only.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import flatbuffers

from export.graphs.flatbuffer import length, number, numbers, position, root_of, tables, text
from export.graphs.flatbuffer_written import ALIGNMENT, aligned, floats, table, vector

LABELS_FILE = "labels.txt"
MODEL_IDENTIFIER, METADATA_IDENTIFIER, METADATA_NAME = b"TFL3", b"M001", "TFLITE_METADATA"
MIN_PARSER_VERSION, WITH_CUSTOM = "1.0.0", "1.5.0"
"""Versions of the metadata schema: the first that has all tables written here, and the first with tasks' own."""

# Slots of the tables in schema.fbs that are read …
VERSION, SUBGRAPHS, BUFFERS, METADATA, MODEL_SLOTS = 0, 2, 4, 6, 10
TENSORS, INPUTS, OUTPUTS = 0, 1, 2
SHAPE = 0
BUFFER_OFFSET = 1
# … and values of enums and unions in metadata_schema.fbs.
LABELLED = {"axis": 2, "values": 3}
RGB, IMAGE_PROPERTIES, NORMALIZATION_OPTIONS = 1, 2, 1
BOUNDARIES, RATIO, BOX_PROPERTIES = 1, 0, 3
ROOM = 2**16
"""Bytes reserved for the new tables; the builder grows if they are too few."""


@dataclass(frozen=True)
class Description:
    """The name, description and version that the model states of itself."""

    name: str
    description: str
    version: str


@dataclass(frozen=True)
class TensorMetadata:
    """The name and description of an input or output."""

    name: str
    description: str = ""
    labelled: Literal["", "axis", "values"] = ""
    """What the labels name: places along the last axis, or values; empty: nothing of this tensor."""


@dataclass(frozen=True)
class BoxesMetadata(TensorMetadata):
    """An output of boxes: left, top, right and bottom as shares of the picture's width and height."""


@dataclass(frozen=True)
class ImageMetadata(TensorMetadata):
    """An input of RGB pixels: an app computes (byte − mean) ÷ std.

    For a uint8 input the same holds, followed by its quantization: with scale 1/255 and zero point 0 the byte comes out
    as it went in, and MediaPipe passes bytes on without computing.
    """

    mean: tuple[float, ...] = (0.0,)
    """One for all channels, or one a channel; in units of a byte."""
    std: tuple[float, ...] = (255.0,)


def with_metadata(
    model: bytes,
    description: Description,
    inputs: Sequence[TensorMetadata],
    outputs: Sequence[TensorMetadata],
    labels: Sequence[str] = (),
    custom: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return the bytes of a .tflite with metadata added. Tensors are in the order of the model's first subgraph.

    custom: what a task of MediaPipe's wants to know besides, by name. Raises ValueError where the model is not what is
    described, has metadata already, or keeps weights outside the flatbuffer (more than 2 GB).
    """
    old = _Model(model)
    old.check(inputs, outputs, labels)
    described = old.with_buffer(METADATA_NAME, _metadata(description, inputs, outputs, bool(labels), custom or {}))
    if not labels:
        return described
    file = io.BytesIO(described)
    with zipfile.ZipFile(file, "a") as archive:  # stored, and at a fixed date: the same labels, the same bytes
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), "".join(f"{label}\n" for label in labels))
    return file.getvalue()


class _Model:
    """The content of a .tflite."""

    def __init__(self, model: bytes):
        if model[4:8] != MODEL_IDENTIFIER:
            raise ValueError("these bytes are no .tflite. Give the content of the file the converter wrote.")
        self.bytes = model + bytes(-len(model) % ALIGNMENT)
        self.root = root_of(self.bytes)

    def check(
        self,
        inputs: Sequence[TensorMetadata],
        outputs: Sequence[TensorMetadata],
        labels: Sequence[str],
    ) -> None:
        """Raise ValueError if the description is of another model, or if metadata cannot be added to this one."""
        graph = tables(self.root, SUBGRAPHS)[0]
        tensors = tables(graph, TENSORS)
        for slot, described, side in ((INPUTS, inputs, "inputs"), (OUTPUTS, outputs, "outputs")):
            if length(graph, slot) != len(described):
                raise ValueError(f"the model has {length(graph, slot)} {side}, but {len(described)} are described.")
        for place, output in zip(numbers(graph, OUTPUTS), outputs, strict=True):
            shape = numbers(tensors[place], SHAPE)
            if labels and output.labelled == "axis" and shape[-1:] != [len(labels)]:
                raise ValueError(f"there are {len(labels)} labels for an output of shape {shape}: one a class, please.")
        if any(not label.strip() or label.splitlines() != [label] for label in labels):
            raise ValueError("a label is empty or has more than one line, and the labels' file has one a line.")
        names = [text(entry, 0) for entry in tables(self.root, METADATA)]
        if METADATA_NAME in names:
            raise ValueError("the model has metadata already. Convert it anew.")
        if any(number(buffer, BUFFER_OFFSET) > 1 for buffer in tables(self.root, BUFFERS)):
            raise ValueError("the model keeps weights outside its flatbuffer (over 2 GB): metadata cannot be added.")

    def with_buffer(self, name: str, data: bytes) -> bytes:
        """Return the model with one more buffer, which the `metadata` table lists by name.

        A flatbuffer is built from its end to its start and offsets point forward. So the old file is taken for what the
        builder has made so far, and a new root is put before it: no byte of graph or weights is touched.
        """
        builder = flatbuffers.Builder(0)
        builder.Bytes = bytearray(ROOM + len(data)) + self.bytes
        builder.head = ROOM + len(data)
        builder.minalign = ALIGNMENT  # so that old bytes are moved by a multiple of it
        end = len(self.bytes)
        buffers = [end - buffer.Pos for buffer in tables(self.root, BUFFERS)]
        listed = [end - entry.Pos for entry in tables(self.root, METADATA)]
        label = builder.CreateString(name)
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, label, 0)
        builder.PrependUint32Slot(1, len(buffers), 0)
        listed = [*listed, builder.EndObject()]
        buffers = [*buffers, table(builder, 3, {0: aligned(builder, data)})]
        slots = {
            slot: end - self.root.Indirect(position(self.root, slot))
            for slot in range(1, MODEL_SLOTS)
            if position(self.root, slot)
        } | {BUFFERS: vector(builder, buffers), METADATA: vector(builder, listed)}
        version = number(self.root, VERSION)
        builder.StartObject(MODEL_SLOTS)
        builder.PrependUint32Slot(VERSION, version, 0)
        for slot, offset in slots.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        builder.Finish(builder.EndObject(), MODEL_IDENTIFIER)
        return bytes(builder.Output())


def _metadata(
    description: Description,
    inputs: Sequence[TensorMetadata],
    outputs: Sequence[TensorMetadata],
    labelled: bool,
    custom: Mapping[str, bytes],
) -> bytes:
    """Return a flatbuffer of metadata_schema.fbs. The number before each dictionary is how many slots its table has."""
    builder = flatbuffers.Builder(1024)
    write = builder.CreateString
    into = vector(builder, [table(builder, 7, _tensor(builder, tensor, labelled)) for tensor in inputs])
    out = vector(builder, [table(builder, 7, _tensor(builder, tensor, labelled)) for tensor in outputs])
    sides = {2: into, 3: out}
    if custom:
        own = [table(builder, 2, {0: write(name), 1: aligned(builder, data)}) for name, data in custom.items()]
        sides[9] = vector(builder, own)
    graph = table(builder, 10, sides)
    fields = {
        0: write(description.name),
        1: write(description.description),
        2: write(description.version),
        3: vector(builder, [graph]),
        7: write(WITH_CUSTOM if custom else MIN_PARSER_VERSION),
    }
    builder.Finish(table(builder, 8, fields), METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, tensor: TensorMetadata, labelled: bool) -> dict[int, int]:
    """Write the parts of a TensorMetadata and return slot → offset."""
    fields = {0: builder.CreateString(tensor.name), 1: builder.CreateString(tensor.description)}
    if labelled and tensor.labelled:
        file = table(builder, 5, {0: builder.CreateString(LABELS_FILE)}, {2: LABELLED[tensor.labelled]})
        fields[6] = vector(builder, [file])
    if isinstance(tensor, BoxesMetadata):
        boxes = table(builder, 3, {}, {1: BOUNDARIES, 2: RATIO})
        fields[3] = table(builder, 3, {1: boxes}, {0: BOX_PROPERTIES})
    if isinstance(tensor, ImageMetadata):
        image = table(builder, 2, {}, {0: RGB})
        options = table(builder, 2, {0: floats(builder, tensor.mean), 1: floats(builder, tensor.std)})
        fields[3] = table(builder, 3, {1: image}, {0: IMAGE_PROPERTIES})
        fields[4] = vector(builder, [table(builder, 2, {1: options}, {0: NORMALIZATION_OPTIONS})])
    return fields
