"""Control flow that is settled when the graph is built, and constants."""

import numpy as np

from export.graphs.importer.node import Node, since
from export.graphs.importer.value import Value


@since(1)
def Constant(node: Node) -> Value:
    """Build the numbers that are part of the node."""
    for name, kind in (
        ("value_float", np.float32),
        ("value_int", np.int64),
        ("value_floats", np.float32),
        ("value_ints", np.int64),
    ):
        if name in node.attributes:
            return Value(np.array(node.attributes[name], kind))
    if "value" not in node.attributes:
        raise node.refused("text, or a sparse tensor")
    return Value(np.asarray(node.attributes["value"]))


@since(1)
def If(node: Node, condition: Value) -> tuple[Value, ...]:
    """Build one of two graphs; which one has to be known beforehand."""
    chosen = "then_branch" if bool(node.known(condition, "branches").item()) else "else_branch"
    return tuple(node.inside(node.attributes[chosen]))
