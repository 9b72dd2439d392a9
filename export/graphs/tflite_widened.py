"""Makes integers of 16 bits in a TFLite file readable by older interpreters.

    model = widened(model)

tflite-runtime 2.14 has no QUANTIZE from 8 bits to 16, and refuses the whole file; from float32 to 16 bits it has.
"""

from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

QUANTIZE, DEQUANTIZE = schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE
EIGHT_BITS = {schema.TensorType.INT8, schema.TensorType.UINT8}
DEQUANTIZE_VERSION = 2
"""The first that takes int8."""


def widened(model: bytes) -> bytes:
    """Return a file in which values of 8 bits become float32 before they become 16 bits. It computes the same."""
    content = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    for graph in content.subgraphs:
        operators = []
        for operator in graph.operators:
            if _widens(content, graph, operator):
                operators.append(_dequantize(content, graph, operator))
            operators.append(operator)
        graph.operators = operators
    return bytes(flatbuffer_utils.convert_object_to_bytearray(content))


def _widens(content: Any, graph: Any, operator: Any) -> bool:
    if content.operatorCodes[operator.opcodeIndex].builtinCode != QUANTIZE:
        return False
    types = graph.tensors[operator.inputs[0]].type, graph.tensors[operator.outputs[0]].type
    return types[0] in EIGHT_BITS and types[1] == schema.TensorType.INT16


def _dequantize(content: Any, graph: Any, operator: Any) -> Any:
    """Return the operator that makes float32 of what another reads, which then reads that."""
    place, given = int(operator.inputs[0]), graph.tensors[operator.inputs[0]]
    tensor = schema.TensorT()
    tensor.name, tensor.type = given.name + b"_float", schema.TensorType.FLOAT32
    tensor.shape, tensor.shapeSignature = given.shape, given.shapeSignature
    graph.tensors.append(tensor)
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = _code(content), [place], [len(graph.tensors) - 1]
    operator.inputs = [len(graph.tensors) - 1]
    return made


def _code(content: Any) -> int:
    """Return the index of the operator code of DEQUANTIZE, which is added if there is none."""
    for index, code in enumerate(content.operatorCodes):
        if code.builtinCode == DEQUANTIZE and code.version >= DEQUANTIZE_VERSION:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = DEQUANTIZE
    code.version = DEQUANTIZE_VERSION
    content.operatorCodes.append(code)
    return len(content.operatorCodes) - 1
