"""TFLite files taken apart: constants out and in, ranges, and the options of operators."""

import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from safetensors.numpy import load_file, save_file

TOOLCHAIN = "litert"

TYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}


ZIPPED = b"PK\x03\x04"
"""What the archive of labels begins with; it has one file."""


@contextmanager
def edited(path: str) -> Iterator[Any]:
    """The model as an object, which is written back, and the labels behind it."""
    content = Path(path).read_bytes()
    model = flatbuffer_utils.read_model(path)
    yield model
    written = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    Path(path).write_bytes(written + content[content.rindex(ZIPPED) :])


def read(path: str, out: str) -> None:
    """Every constant by its tensor's number; the steps of integer ones as `<number>/steps`."""
    model, found = flatbuffer_utils.read_model(path), {}
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        data = model.buffers[tensor.buffer].data
        if data is None or not len(data) or tensor.type not in TYPES:
            continue
        found[str(number)] = np.frombuffer(bytes(data), TYPES[tensor.type]).reshape(tensor.shape)
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            found[f"{number}/steps"] = np.array(tensor.quantization.scale, np.float32)
    save_file({name: np.asarray(value, order="C") for name, value in found.items()}, out)


def write(path: str, changed: str) -> None:
    """Constants by the names of `read`."""
    with edited(path) as model:
        for name, value in load_file(changed).items():
            tensor = model.subgraphs[0].tensors[int(name.removesuffix("/steps"))]
            if name.endswith("/steps"):
                tensor.quantization.scale = value
            else:
                model.buffers[tensor.buffer].data = np.frombuffer(value.tobytes(), np.uint8)


def _operators(model: Any, kind: str) -> list[Any]:
    number = getattr(schema.BuiltinOperator, kind)
    found = [one for one in model.subgraphs[0].operators if model.operatorCodes[one.opcodeIndex].builtinCode == number]
    assert found, kind
    return found


def option(path: str, kind: str, values: dict[str, Any]) -> None:
    """Options of the first operator of a kind."""
    with edited(path) as model:
        options = _operators(model, kind)[0].builtinOptions
        for name, value in values.items():
            assert hasattr(options, name), name
            setattr(options, name, value)


def activation(path: str, old: str, new: str) -> None:
    """The activation of the first convolution that has the old one."""
    with edited(path) as model:
        kinds = schema.ActivationFunctionType
        options = next(
            one.builtinOptions
            for one in _operators(model, "CONV_2D")
            if one.builtinOptions.fusedActivationFunction == getattr(kinds, old)
        )
        options.fusedActivationFunction = getattr(kinds, new)


def _replaced(model: Any, operator: Any, kind: str) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode, code.version = min(127, code.builtinCode), 1
    model.operatorCodes.append(code)
    operator.opcodeIndex, operator.builtinOptionsType, operator.builtinOptions = len(model.operatorCodes) - 1, 0, None


def rename(path: str, kind: str, to: str) -> None:
    """The first operator of a kind becomes another one without options."""
    with edited(path) as model:
        _replaced(model, _operators(model, kind)[0], to)


def range_of(path: str, kind: str, factor: float) -> None:
    """The step of what the first operator of a kind gives."""
    with edited(path) as model:
        given = model.subgraphs[0].tensors[_operators(model, kind)[0].outputs[0]].quantization
        given.scale = [float(given.scale[0]) * factor]


def zero_of(path: str, kind: str, by: int, which: int = 0) -> None:
    """The zero point of what an operator gives: the first of its kind, or the last with `which` = -1."""
    with edited(path) as model:
        given = model.subgraphs[0].tensors[_operators(model, kind)[which].outputs[0]].quantization
        given.zeroPoint = [int(given.zeroPoint[0]) + by]


def labels(path: str, lines: list[str]) -> None:
    """The file of labels behind the model."""
    content = Path(path).read_bytes()
    file = io.BytesIO(content[: content.rindex(ZIPPED)])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("labels.txt", "".join(f"{line}\n" for line in lines))
    Path(path).write_bytes(file.getvalue())


def pixels(path: str, deviation: float) -> None:
    """The deviation that the metadata tells an app to divide bytes by: the last float of 255 in the file."""
    content = bytearray(Path(path).read_bytes())
    place = content.rindex(struct.pack("<f", 255))
    content[place : place + 4] = struct.pack("<f", deviation)
    Path(path).write_bytes(bytes(content))
