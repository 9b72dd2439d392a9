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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import flatbuffers

from export.graphs.flatbuffer import length, number, numbers, position, root_of, tables, text

LABELS_FILE = "labels.txt"
MODEL_IDENTIFIER, METADATA_IDENTIFIER, METADATA_NAME = b"TFL3", b"M001", "TFLITE_METADATA"
MIN_PARSER_VERSION = "1.0.0"
"""Version of the metadata schema: the first that has all tables written here."""

# Slots of the tables in schema.fbs that are read …
VERSION, SUBGRAPHS, BUFFERS, METADATA, MODEL_SLOTS = 0, 2, 4, 6, 10
TENSORS, INPUTS, OUTPUTS = 0, 1, 2
SHAPE = 0
BUFFER_OFFSET = 1
# … and values of enums and unions in metadata_schema.fbs.
TENSOR_AXIS_LABELS, RGB, IMAGE_PROPERTIES, NORMALIZATION_OPTIONS = 2, 1, 2, 1

ALIGNMENT = 16
"""Alignment of a buffer's data, in bytes (`force_align` in schema.fbs). XNNPACK reads weights in place."""
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
) -> bytes:
    """Return the bytes of a .tflite with metadata added. Tensors are in the order of the model's first subgraph.

    `labels` name the last axis of the first output. Raises ValueError where the model is not what is described, has
    metadata already, or keeps weights outside the flatbuffer (more than 2 GB).
    """
    old = _Model(model)
    old.check(inputs, outputs, labels)
    described = old.with_buffer(METADATA_NAME, _metadata(description, inputs, outputs, bool(labels)))
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

    def check(self, inputs: Sequence[TensorMetadata], outputs: Sequence[TensorMetadata], labels: Sequence[str]) -> None:
        """Raise ValueError if the description is of another model, or if metadata cannot be added to this one."""
        graph = tables(self.root, SUBGRAPHS)[0]
        tensors = tables(graph, TENSORS)
        for slot, described, side in ((INPUTS, inputs, "inputs"), (OUTPUTS, outputs, "outputs")):
            if length(graph, slot) != len(described):
                raise ValueError(f"the model has {length(graph, slot)} {side}, but {len(described)} are described.")
        if labels:
            shape = numbers(tensors[numbers(graph, OUTPUTS)[0]], SHAPE)
            if shape[-1:] != [len(labels)]:
                raise ValueError(f"there are {len(labels)} labels for an output of shape {shape}: one a class, please.")
        if any(not label.strip() or label.splitlines() != [label] for label in labels):
            raise ValueError("a label is empty or has more than one line, and the labels' file has one a line.")
        names = [text(table, 0) for table in tables(self.root, METADATA)]
        if METADATA_NAME in names:
            raise ValueError("the model has metadata already. Convert it anew.")
        if any(number(table, BUFFER_OFFSET) > 1 for table in tables(self.root, BUFFERS)):
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
        buffers = [end - table.Pos for table in tables(self.root, BUFFERS)]
        listed = [end - table.Pos for table in tables(self.root, METADATA)]
        label = builder.CreateString(name)
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, label, 0)
        builder.PrependUint32Slot(1, len(buffers), 0)
        listed = [*listed, builder.EndObject()]
        buffers = [*buffers, _table(builder, 3, {0: _aligned(builder, data)})]
        slots = {
            slot: end - self.root.Indirect(position(self.root, slot))
            for slot in range(1, MODEL_SLOTS)
            if position(self.root, slot)
        } | {BUFFERS: _vector(builder, buffers), METADATA: _vector(builder, listed)}
        version = number(self.root, VERSION)
        builder.StartObject(MODEL_SLOTS)
        builder.PrependUint32Slot(VERSION, version, 0)
        for slot, offset in slots.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        builder.Finish(builder.EndObject(), MODEL_IDENTIFIER)
        return bytes(builder.Output())


def _metadata(
    description: Description, inputs: Sequence[TensorMetadata], outputs: Sequence[TensorMetadata], labelled: bool
) -> bytes:
    """Return a flatbuffer of metadata_schema.fbs. The number before each dictionary is how many slots its table has."""
    builder = flatbuffers.Builder(1024)
    write = builder.CreateString
    files = []
    if labelled:
        files.append(_table(builder, 5, {0: write(LABELS_FILE)}, {2: TENSOR_AXIS_LABELS}))
    into = _vector(builder, [_table(builder, 7, _tensor(builder, tensor)) for tensor in inputs])
    out: list[int] = []
    for tensor in outputs:
        attached = {6: _vector(builder, files)} if files and not out else {}
        out.append(_table(builder, 7, _tensor(builder, tensor) | attached))
    graph = _table(builder, 10, {2: into, 3: _vector(builder, out)})
    fields = {
        0: write(description.name),
        1: write(description.description),
        2: write(description.version),
        3: _vector(builder, [graph]),
        7: write(MIN_PARSER_VERSION),
    }
    builder.Finish(_table(builder, 8, fields), METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, tensor: TensorMetadata) -> dict[int, int]:
    """Write the parts of a TensorMetadata and return slot → offset."""
    fields = {0: builder.CreateString(tensor.name), 1: builder.CreateString(tensor.description)}
    if not isinstance(tensor, ImageMetadata):
        return fields
    image = _table(builder, 2, {}, {0: RGB})
    options = _table(builder, 2, {0: _floats(builder, tensor.mean), 1: _floats(builder, tensor.std)})
    unit = _table(builder, 2, {1: options}, {0: NORMALIZATION_OPTIONS})
    content = _table(builder, 3, {1: image}, {0: IMAGE_PROPERTIES})
    return fields | {3: content, 4: _vector(builder, [unit])}


def _table(
    builder: flatbuffers.Builder, slots: int, offsets: Mapping[int, int], numbers: Mapping[int, int] | None = None
) -> int:
    """Write a table and return its offset. `numbers` are enums and unions' types: a byte each."""
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (numbers or {}).items():
        builder.PrependUint8Slot(slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, values: Iterable[float]) -> int:
    values = list(values)
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def _aligned(builder: flatbuffers.Builder, data: bytes) -> int:
    builder.StartVector(1, len(data), ALIGNMENT)
    builder.head -= len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    return int(builder.EndVector())
