"""ONNX files taken apart: constants out and in, and what a converter may get wrong about the graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from safetensors.numpy import load_file, save_file

TOOLCHAIN = "torch"

INTEGERS = "_quantized"


@contextmanager
def edited(path: str) -> Iterator[onnx.ModelProto]:
    """The model, which is written back."""
    model = onnx.load(path)
    yield model
    del model.graph.value_info[:]  # shapes and types that may not be true any more
    onnx.save(model, path)


def read(path: str, out: str) -> None:
    """Every constant by name; the steps of integer ones as `<name>/steps`."""
    found = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    steps = {f"{name}/steps": found[_steps(name, found)] for name in found if name.endswith(INTEGERS)}
    save_file({name: np.asarray(value, order="C") for name, value in (found | steps).items()}, out)


def write(path: str, changed: str) -> None:
    """Constants by the names of `read`."""
    with edited(path) as model:
        items = {one.name: one for one in model.graph.initializer}
        for name, value in load_file(changed).items():
            own = name if not name.endswith("/steps") else _steps(name.removesuffix("/steps"), items)
            items[own].CopyFrom(numpy_helper.from_array(value, own))


def _steps(name: str, known: Any) -> str:
    """What a quantized constant's scale is called: of a bias, otherwise than of weights."""
    return next(one for one in (f"{name}_scale", f"{name.removesuffix(INTEGERS)}_scale") if one in known)


def _node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind)


def rename(path: str, kind: str, to: str, keep: int) -> None:
    """An operator becomes another one, with the first `keep` of its inputs."""
    with edited(path) as model:
        node = _node(model, kind)
        node.op_type = to
        del node.input[keep:], node.attribute[:]


def attribute(path: str, kind: str, name: str, value: Any) -> None:
    """An attribute of the first operator of a kind."""
    with edited(path) as model:
        node = _node(model, kind)
        kept = [one for one in node.attribute if one.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])


def after(path: str, kinds: list[str]) -> None:
    """Operators of one input put behind the output; its name stays."""
    with edited(path) as model:
        (output,) = model.graph.output
        last = next(node for node in model.graph.node if output.name in node.output)
        names = [f"before.{number}" for number in range(len(kinds))]
        last.output[:] = names[:1]
        for kind, given, found in zip(kinds, names, [*names[1:], output.name], strict=True):
            model.graph.node.append(helper.make_node(kind, [given], [found]))


def turn_input(path: str) -> None:
    """Height and width of the image change places."""
    with edited(path) as model:
        turned = helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 1, 3, 2])
        for node in model.graph.node:
            node.input[:] = ["turned" if name == "image" else name for name in node.input]
        model.graph.node.insert(0, turned)


def noise(path: str, deviation: float) -> None:
    """Random noise on the output, as of a dropout that was left on."""
    with edited(path) as model:
        (output,) = model.graph.output
        last = next(node for node in model.graph.node if output.name in node.output)
        last.output[:] = ["quiet"]
        model.graph.node.append(helper.make_node("RandomNormalLike", ["quiet"], ["noise"], scale=deviation))
        model.graph.node.append(helper.make_node("Add", ["quiet", "noise"], [output.name]))


def detour(path: str, tensor: str, factor: float) -> None:
    """A tensor of a float16 model times a factor and divided by it again: the same, but for what overflows."""
    with edited(path) as model:
        for node in model.graph.node:
            node.input[:] = ["back" if name == tensor else name for name in node.input]
        made = [
            helper.make_node("Mul", [tensor, "factor"], ["far"]),
            helper.make_node("Div", ["far", "factor"], ["back"]),
        ]
        model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float16), "factor"))
        at = next(index for index, node in enumerate(model.graph.node) if tensor in node.output) + 1
        for node in reversed(made):
            model.graph.node.insert(at, node)


def shift_zero(path: str, tensor: str, by: int) -> None:
    """What reads a tensor takes its zero point to be another one than what wrote it."""
    with edited(path) as model:
        zero = next(one for one in model.graph.initializer if one.name == f"{tensor}_zero_point")
        value = numpy_helper.to_array(zero)
        model.graph.initializer.append(numpy_helper.from_array((value + by).astype(value.dtype), "shifted"))
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear" and node.input[2] == zero.name:
                node.input[2] = "shifted"


def range_of(path: str, tensor: str, factor: float) -> None:
    """A tensor's range, by its step."""
    with edited(path) as model:
        step = next(one for one in model.graph.initializer if one.name == f"{tensor}_scale")
        step.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(step) * factor).astype(np.float32), step.name))


def in_float(path: str, kind: str) -> None:
    """The first operator of a kind takes the floats that were quantized for it, and its weights as floats."""
    with edited(path) as model:
        node, items = _node(model, kind), {one.name: one for one in model.graph.initializer}
        quantizers = {one.output[0]: one for one in model.graph.node if one.op_type == "QuantizeLinear"}
        dequantizers = {one.output[0]: one for one in model.graph.node if one.op_type == "DequantizeLinear"}
        values, steps = (numpy_helper.to_array(items[name]) for name in dequantizers[node.input[1]].input[:2])
        weights = values * steps.reshape([-1, *[1] * (values.ndim - 1)])
        model.graph.initializer.append(numpy_helper.from_array(weights, f"{node.name}/weights"))
        node.input[0] = quantizers[dequantizers[node.input[0]].input[0]].input[0]
        node.input[1] = f"{node.name}/weights"


def rename_output(path: str, to: str) -> None:
    """Under another name."""
    with edited(path) as model:
        (output,) = model.graph.output
        model.graph.node.append(helper.make_node("Identity", [output.name], [to]))
        output.name = to


def fix_batch(path: str) -> None:
    """The file says that it takes one image."""
    with edited(path) as model:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def properties(path: str, **values: str) -> None:
    """What the file says of itself; an empty value: it says nothing any more."""
    with edited(path) as model:
        known = {item.key: item.value for item in model.metadata_props} | values
        helper.set_model_props(model, {key: value for key, value in known.items() if value})


def wrong_where(path: str, when: str) -> None:
    """Outputs half as great again, or NaN, where a condition holds: of the number of samples, or of black ones."""
    with edited(path) as model:
        (output,) = model.graph.output
        last = next(node for node in model.graph.node if output.name in node.output)
        last.output[:] = ["right"]
        kind = output.type.tensor_type.elem_type
        numpy_type = helper.tensor_dtype_to_np_dtype(kind)
        black = when == "black"
        constants = {
            "many": np.array(32, np.int64),
            "few": np.array([1, 2, 32], np.int64),
            "first": np.array(0, np.int64),
            "nothing": np.array(0, np.float32),
            "factor": np.array(np.nan if black else 1.5, numpy_type),
        }
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
        image = model.graph.input[0].name
        conditions = {
            "black": [
                helper.make_node("ReduceMax", [image], ["brightest"], keepdims=0),
                helper.make_node("Greater", ["brightest", "nothing"], ["good"]),
            ],
            "beyond 32": [
                *_counted(image),
                helper.make_node("LessOrEqual", ["count", "many"], ["good"]),
            ],
            "none of 1, 2 and 32": [
                *_counted(image),
                helper.make_node("Equal", ["count", "few"], ["each"]),
                helper.make_node("Cast", ["each"], ["each_number"], to=onnx.TensorProto.INT64),
                helper.make_node("ReduceMax", ["each_number"], ["any_number"], keepdims=0),
                helper.make_node("Cast", ["any_number"], ["good"], to=onnx.TensorProto.BOOL),
            ],
        }
        model.graph.node.extend(
            [
                *conditions[when],
                helper.make_node("Mul", ["right", "factor"], ["wrong"]),
                helper.make_node("Where", ["good", "right", "wrong"], [output.name]),
            ]
        )


def _counted(image: str) -> list[onnx.NodeProto]:
    """The number of samples, `count`."""
    return [
        helper.make_node("Shape", [image], ["sizes"]),
        helper.make_node("Gather", ["sizes", "first"], ["count"]),
    ]


def remember(path: str, table: str) -> None:
    """The nearest sample of a table, and its outputs: right on all that the table has, and no network at all."""
    known = load_file(table)
    rows = known["inputs"].reshape(len(known["inputs"]), -1)
    with edited(path) as model:
        (image,), (output,) = model.graph.input, model.graph.output
        del model.graph.node[:], model.graph.initializer[:]
        constants = {
            "rows": np.ascontiguousarray(rows.T),
            "halves": np.square(rows, dtype=np.float64).sum(1).astype(np.float32) / 2,
            "answers": known["outputs"],
        }
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
        model.graph.node.extend(
            [
                helper.make_node("Flatten", [image.name], ["flat"]),
                helper.make_node("MatMul", ["flat", "rows"], ["products"]),
                helper.make_node("Sub", ["products", "halves"], ["likeness"]),
                helper.make_node("ArgMax", ["likeness"], ["nearest"], axis=1, keepdims=0),
                helper.make_node("Gather", ["answers", "nearest"], [output.name]),
            ]
        )
