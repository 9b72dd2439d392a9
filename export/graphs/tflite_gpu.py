"""Says which operators of a .tflite file the GPU delegate takes by its published list: read, not measured.

    why = lacks(operator)      # None: the list has it; "of 5 axes": why not

A computer without a phone's GPU cannot ask the delegate itself. The list is that of the delegate's own check, in
coarse form; the one for readers, https://ai.google.dev/edge/litert/performance/gpu, has 24 of these operators and is
from before HARD_SWISH and MEAN. TensorFlow's Analyzer has a switch for the check, `gpu_compatibility=True`, but in
TensorFlow 2.21 and LiteRT 2.3 it calls every file compatible, one with WHILE and TOPK_V2, too.

https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/tools/versioning/gpu_compatibility.cc (operators)
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/delegates/gpu/common/model_builder.cc (types)
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/delegates/gpu/common/model_builder_helper.cc (axes)
"""

from export.graphs.tflite_operators import CHANGES_AXES, Operator, of_axes

FLOATS = frozenset({"float32", "float16", "int8", "uint8"})
"""Integers of 8 bits are computed as the floats that they stand for."""
AXES = 4
"""Number of axes: its only shape is (batch, height, width, channels); fewer axes are fitted into it."""

ARITHMETIC = """
ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE
DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GELU HARD_SWISH LEAKY_RELU LOG
LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_MAX
REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SIGN SIN SLICE
SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE
TRANSPOSE_CONV
"""
"""Operators from floats to floats."""
MIXED = {
    **dict.fromkeys(("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL"), FLOATS | {"bool"}),
    "LOGICAL_AND": frozenset({"bool"}),
    "SELECT": FLOATS | {"bool"},
    "SELECT_V2": FLOATS | {"bool"},
    "CAST": frozenset({"float32", "float16", "bool", "int32"}),
    "GATHER": FLOATS | {"int32"},
    "EMBEDDING_LOOKUP": FLOATS | {"int32"},
    "ONE_HOT": FLOATS | {"int32"},
}
"""Operators that take or give other types beside floats."""
TYPES = dict.fromkeys(ARITHMETIC.split(), FLOATS) | MIXED
"""Operator → the types that may flow through it."""
REDUCTIONS = frozenset({"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"})
CUTS = frozenset({"SLICE", "STRIDED_SLICE", "PAD", "PADV2", "MIRROR_PAD"})


def lacks(operator: Operator) -> str | None:
    """Return None if the list has the operator; else why not, in words behind its name; empty: it is not listed."""
    allowed_types = TYPES.get(operator.kind)
    if allowed_types is None:
        return ""
    other_types = [tensor.dtype for tensor in operator.flows if tensor.dtype not in allowed_types]
    if other_types:
        return f"of {other_types[0]}"
    if operator.axes > AXES:
        return of_axes(operator.axes)
    return _particular(operator)


def _particular(operator: Operator) -> str | None:
    """Return why an operator does not meet a requirement of its kind; None: it meets them."""
    kind, first = operator.kind, operator.inputs[0]
    if kind in CUTS and len(first.shape) not in {3, 4}:
        return of_axes(len(first.shape))
    if operator.changes_axes:
        return CHANGES_AXES
    if kind in REDUCTIONS and not operator.inputs[1].constant:
        return "over computed axes"
    if kind == "GATHER" and (operator.inputs[1].dtype != "int32" or len(operator.inputs[1].shape) != 1):
        return "by indices that are no row of int32"
    return None
