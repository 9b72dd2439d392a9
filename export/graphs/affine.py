"""Turns ONNX's elementwise operators with one constant per channel into depthwise 1×1 convolutions.

    merge(model, {"image": 4})             # the normalisation of the model's inputs: mean and deviation

In integers a convolution has a range for each channel and a bias of 32 bits, where a difference and a quotient have one
range for all, and cannot be converted to 16 bits at all.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from records.tensor import Array


def merge(model: onnx.ModelProto, ranks: Mapping[str, int]) -> None:
    """Rewrite every such operator on tensors of rank 4; two or more in a row become one.

    ranks: the ranks of the tensors that may be rewritten. What a rewritten operator returns has rank 4 and may be, too.
    """
    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    nodes: list[onnx.NodeProto] = []
    affines: dict[str, Affine] = {}
    for node in graph.node:
        affine = per_channel(node, constants, {**ranks, **dict.fromkeys(affines, 4)})
        if affine is None:
            nodes.append(node)
            continue
        previous = affines.get(affine.tensor)
        if previous and uses[affine.tensor] == 1:  # mean and deviation: one convolution instead of two
            nodes = [item for item in nodes if item.output[0] != affine.tensor]
            affine = Affine(
                previous.tensor, previous.scale * affine.scale, previous.shift * affine.scale + affine.shift
            )
        affines[node.output[0]] = affine
        nodes.append(_depthwise(affine, node, graph))
    del graph.node[:]
    graph.node.extend(nodes)


@dataclass(frozen=True)
class Affine:
    """The function scale · tensor + shift, per channel of a rank-4 tensor."""

    tensor: str
    scale: Array
    """(C,)."""
    shift: Array
    """(C,)."""


def _depthwise(affine: Affine, node: onnx.NodeProto, graph: onnx.GraphProto) -> onnx.NodeProto:
    weight, bias = f"{node.output[0]}.scale", f"{node.output[0]}.shift"
    graph.initializer.append(numpy_helper.from_array(affine.scale.reshape(-1, 1, 1, 1), weight))
    graph.initializer.append(numpy_helper.from_array(affine.shift, bias))
    convolution = helper.make_node(
        "Conv",
        [affine.tensor, weight, bias],
        list(node.output),
        node.name,
        group=len(affine.scale),
        kernel_shape=[1, 1],
    )
    convolution.metadata_props.extend(node.metadata_props)
    return convolution


def per_channel(node: onnx.NodeProto, constants: dict[str, Array], ranks: dict[str, int]) -> Affine | None:
    """Return what an elementwise operator with one constant per channel computes; None for every other operator."""
    if node.op_type not in {"Add", "Sub", "Mul", "Div"}:
        return None
    first, second = node.input
    flipped = first in constants
    if flipped and node.op_type in {"Sub", "Div"}:
        return None
    name, constant = (second, constants[first]) if flipped else (first, constants.get(second))
    if constant is None or ranks.get(name) != 4 or constant.dtype != np.float32 or constant.ndim not in {3, 4}:
        return None
    channels = constant.size
    if channels == 1 or constant.shape[-3:] != (channels, 1, 1):
        return None
    value, ones, zeros = constant.ravel(), np.ones(channels, np.float32), np.zeros(channels, np.float32)
    scale, shift = {"Add": (ones, value), "Sub": (ones, -value), "Mul": (value, zeros), "Div": (ones / value, zeros)}[
        node.op_type
    ]
    return Affine(name, scale, shift)
