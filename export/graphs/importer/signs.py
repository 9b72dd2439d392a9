"""Which tensors of an ONNX graph never have a value below zero: what may stand around them is then known."""

import onnx

NEVER_NEGATIVE = {"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Exp", "Abs", "Sqrt", "Softplus", "Not", "ReduceL2"}
KEEP_SIGN = {
    *("Add", "AveragePool", "Concat", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool", "Max", "Mul"),
    *("ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Transpose", "Sum"),
}
"""Never negative where none of their inputs is."""


def never_negative(graph: onnx.GraphProto) -> set[str]:
    """Return the names of tensors that have no value below zero, whatever the input."""
    limits = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    names: set[str] = set()
    for node in graph.node:
        clipped = node.op_type == "Clip" and len(node.input) > 1 and node.input[1] in limits
        if (
            node.op_type in NEVER_NEGATIVE
            or (node.op_type in KEEP_SIGN and names.issuperset(node.input))
            or (clipped and bool((limits[node.input[1]] >= 0).all()))
        ):
            names |= set(node.output)
    return names
