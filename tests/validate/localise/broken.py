"""Runs in the `tensorflow` toolchain: breaks one operator of an artifact, so that its runtime stops there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from tensorflow.core.protobuf import saved_model_pb2


def divides_by_zero(path: str) -> None:
    """Make all that a division of integers divides by the integer that stands for zero."""

    def change(model: Any, operator: Any) -> None:
        model.subgraphs[0].tensors[operator.inputs[1]].quantization.zeroPoint = [127]

    _rewrite(path, schema.BuiltinOperator.DIV, change)


def is_newer(path: str) -> None:
    """Ask for a fully connected layer of a version that no runtime has."""

    def change(model: Any, operator: Any) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
        code.version = 99
        model.operatorCodes.append(code)
        operator.opcodeIndex = len(model.operatorCodes) - 1

    _rewrite(path, schema.BuiltinOperator.FULLY_CONNECTED, change)


def is_of_integers(path: str) -> None:
    """Make the first product of a SavedModel one that floats have not."""
    file = Path(path) / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    functions = model.meta_graphs[0].graph_def.library.function
    function, product = next(
        (function, node) for function in functions for node in function.node_def if node.op == "MatMul"
    )
    product.op = "BitwiseAnd"
    before, after = f"{product.name}:product:0", f"{product.name}:z:0"  # each calls its output otherwise
    for node in function.node_def:
        node.input[:] = [after if name == before else name for name in node.input]
    for name, value in function.ret.items():
        function.ret[name] = after if value == before else value
    file.write_bytes(model.SerializeToString())


def _rewrite(path: str, kind: int, change: Callable[[Any, Any], None]) -> None:
    """Change the first operator of a kind in a .tflite file."""
    model = flatbuffer_utils.read_model(path)
    codes = model.operatorCodes
    change(model, next(one for one in model.subgraphs[0].operators if codes[one.opcodeIndex].builtinCode == kind))
    flatbuffer_utils.write_model(model, path)
