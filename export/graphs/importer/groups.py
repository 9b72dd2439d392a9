"""Group normalisation as exporters write it, Reshape → InstanceNormalization → Reshape, as the one operator it is.

Flattened groups want (N, groups, rest) in memory, which costs an image with its channels last a transposition before
and one behind.
"""

from collections import Counter

import numpy as np
import onnx
from onnx import helper, numpy_helper

from records.tensor import Array


def restore(graph: onnx.GraphProto) -> None:
    """Rewrite every such triple of which nothing else reads the inner tensors."""
    producers = {output: node for node in graph.node for output in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    whole: dict[str, onnx.NodeProto] = {}
    gone: set[str] = set()
    for last in graph.node:
        inner = producers.get(last.input[0]) if last.op_type == "Reshape" else None
        first = (
            producers.get(inner.input[0]) if inner is not None and inner.op_type == "InstanceNormalization" else None
        )
        if inner is None or first is None or not _is_group(first, inner, last, producers, constants):
            continue
        if uses[first.output[0]] == uses[inner.output[0]] == 1:
            whole[last.output[0]] = _group(first, inner, last, constants)
            gone |= {first.output[0], inner.output[0]}
    nodes = [whole.get(node.output[0], node) for node in graph.node if node.output[0] not in gone]
    del graph.node[:]
    graph.node.extend(nodes)


def _is_group(
    first: onnx.NodeProto,
    inner: onnx.NodeProto,
    last: onnx.NodeProto,
    producers: dict[str, onnx.NodeProto],
    constants: dict[str, Array],
) -> bool:
    """True if the three are one group normalisation without scale and shift, and back to the first's own shape."""
    target = constants.get(first.input[1]) if first.op_type == "Reshape" else None
    scale, shift = (constants.get(name) for name in inner.input[1:3])
    back = producers.get(last.input[1])
    return bool(
        target is not None and target.shape == (3,) and (target[0], target[2]) == (0, -1) and target[1] > 0
        and scale is not None and (scale == 1).all() and shift is not None and not np.any(shift)
        and back is not None and back.op_type == "Shape" and back.input[0] == first.input[0]
        and all(attribute.i == 0 for attribute in back.attribute)
    )  # fmt: skip


def _group(
    first: onnx.NodeProto, inner: onnx.NodeProto, last: onnx.NodeProto, constants: dict[str, Array]
) -> onnx.NodeProto:
    epsilon = next((attribute.f for attribute in inner.attribute if attribute.name == "epsilon"), 1e-5)
    groups = int(constants[first.input[1]][1])
    node = helper.make_node(
        "GroupNormalization", [first.input[0]], [last.output[0]], inner.name, num_groups=groups, epsilon=epsilon
    )
    node.metadata_props.extend(inner.metadata_props)
    return node
