"""Removes pairs of transpositions between which there are only elementwise operators.

    keep_layout(graph, {"image", "logits"})

onnx2tf adds residuals in ONNX's layout: two transpositions of the activations for each.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from export.graphs.graph_def import add_constant, add_transpose, constant_value, node_name

ELEMENTWISE = {
    "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Neg", "Exp", "Erf", "Tanh", "Sigmoid", "Softplus",
    "Relu", "Relu6", "LeakyRelu", "Elu", "Sqrt", "Rsqrt", "Square",
}  # fmt: skip


def keep_layout(graph: Any, fixed: Collection[str]) -> None:
    """Move transpositions behind elementwise operators, in place, until each meets its inverse; both are then unused.

    A transposition moves if all inputs of the operator are transposed alike. Nodes in `fixed` stay as they are.
    """
    changed = True
    while changed:
        nodes = {node.name: node for node in graph.node}
        changed = False
        for node in list(graph.node):
            axes = _axes(node, nodes)
            if axes:
                before = nodes[node_name(node.input[0])]
                axes_before = _axes(before, nodes)
                inverse = axes_before and [axes_before[axis] for axis in axes] == sorted(axes)
                if inverse and node.name not in fixed:
                    changed |= _redirect(graph, node.name, before.input[0])
            elif node.op in ELEMENTWISE and node.name not in fixed:
                changed |= _move_behind(graph, node, nodes)


def _move_behind(graph: Any, node: Any, nodes: dict[str, Any]) -> bool:
    """Move the transpositions of an operator's inputs behind it; return False if they are not alike."""
    inputs = [nodes[node_name(name)] for name in node.input]
    transposed = [(index, axes) for index, before in enumerate(inputs) if (axes := _axes(before, nodes))]
    if not transposed or any(axes != transposed[0][1] for _, axes in transposed):
        return False
    others = [before for before in inputs if not _axes(before, nodes)]
    if any(other.op != "Const" or other.attr["value"].tensor.tensor_shape.dim for other in others):
        return False  # a single number is the same in every layout, and nothing else is
    name = f"{node.name}/transposed"
    _redirect(graph, node.name, name)
    for index, _ in transposed:
        node.input[index] = inputs[index].input[0]
    add_constant(graph, f"{name}/axes", np.array(transposed[0][1], np.int32))
    add_transpose(graph, name, node.name, f"{name}/axes")
    for added in graph.node[-2:]:
        nodes[added.name] = added
    return True


def _axes(node: Any, nodes: Mapping[str, Any]) -> list[int]:
    """Return the axes of a transposition by constant axes; an empty list for every other operator."""
    if node.op != "Transpose" or nodes[node_name(node.input[1])].op != "Const":
        return []
    axes: list[int] = constant_value(nodes[node_name(node.input[1])]).tolist()
    return axes


def _redirect(graph: Any, name: str, other: str) -> bool:
    """Have what reads the first output of a node read another tensor; return whether anything did."""
    redirected = False
    for node in graph.node:
        for index, tensor in enumerate(node.input):
            if tensor in {name, f"{name}:0"}:
                node.input[index], redirected = other, True
    return redirected
