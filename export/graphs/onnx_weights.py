"""Reads which nodes of an ONNX graph have weights, and whether they compute in integers.

Counter(node.op_type for node, in_float in weighted(model.graph) if in_float)
"""

from collections.abc import Iterator

import onnx

KINDS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Operators that multiply by weights, which are their second input."""
EITHER = {"Gemm", "MatMul"}
"""Kinds of which the first input may be the weight as well."""


def weighted(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, bool]]:
    """Yield the nodes that multiply what flows through them by constants, and True for each that does so in floats.

    In QDQ a node computes in integers where both of its factors come from `DequantizeLinear`.
    """
    constants = {tensor.name for tensor in graph.initializer}
    dequantized: set[str] = set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            dequantized.update(node.output)
        if constants.issuperset(name for name in node.input if name):
            constants.update(node.output)
        elif node.op_type in KINDS and not constants.isdisjoint(
            node.input[:2] if node.op_type in EITHER else node.input[1:2]
        ):
            yield node, not dequantized.issuperset(node.input[:2])
