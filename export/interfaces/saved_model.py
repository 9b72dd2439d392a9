"""What a SavedModel says of itself: the signature that TensorFlow Serving calls. It has no place for labels.

TensorFlow's own messages come with TensorBoard, so that TensorFlow need not be there.
"""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from tensorboard.compat.proto import meta_graph_pb2, types_pb2

from export.interfaces import Interface, Slot

FILE = "saved_model.pb"
SIGNATURE = "serving_default"
NAMES = {"float": "float32", "double": "float64", "half": "float16"}


def read(path: Path) -> Interface:
    """Return what a folder's `saved_model.pb` says of itself. Raises ValueError and alike for one that is malformed."""
    try:
        model = _saved_model().FromString((path / FILE).read_bytes())
    except DecodeError as error:
        raise ValueError(str(error)) from error
    signature = model.meta_graphs[0].signature_def[SIGNATURE]
    return Interface(
        inputs={name: _slot(tensor) for name, tensor in signature.inputs.items()},
        outputs={name: _slot(tensor) for name, tensor in signature.outputs.items()},
    )


@cache
def _saved_model() -> Any:
    """Return the message that is the file: TensorBoard has the one inside, and not this one around it."""
    inside = meta_graph_pb2.MetaGraphDef.DESCRIPTOR
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="anywhere/saved_model.proto", package="anywhere", syntax="proto3", dependency=[inside.file.name]
    )
    message = file.message_type.add(name="SavedModel")
    message.field.add(
        name="meta_graphs",
        number=2,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_REPEATED,
        type_name=f".{inside.full_name}",
    )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("anywhere.SavedModel"))


def _slot(tensor: Any) -> Slot:
    name = str(types_pb2.DataType.Name(tensor.dtype)).removeprefix("DT_").lower()
    shape = tensor.tensor_shape
    sizes = None if shape.unknown_rank else tuple(None if axis.size < 0 else int(axis.size) for axis in shape.dim)
    return Slot(NAMES.get(name, name), sizes)
