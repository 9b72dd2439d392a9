"""An ONNX file in float16, for ONNX Runtime."""

from pathlib import Path

import onnx
import onnx_ir

KEPT_FLOAT32 = ("LayerNormalization", "Transpose")
"""Operators of a float16 model that stay float32. Layer normalisation, as PyTorch's autocast has it. Transposing only
moves values; in float16, ONNX Runtime 1.31 fuses it into the next MatMul and crashes (SIGSEGV in NchwcTransformer)
while it loads a vision transformer."""


def to_float16(source: Path, path: Path) -> None:
    """Write the model with weights and arithmetic in float16; inputs, outputs and `KEPT_FLOAT32` stay float32."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    blocked = [*DEFAULT_OP_BLOCK_LIST, *KEPT_FLOAT32]
    model = convert_float_to_float16(onnx.load(source), keep_io_types=True, op_block_list=blocked)
    # The converter casts a tensor once for every kept operator that reads it, all under one name, and appends its
    # casts at the end: neither is ONNX.
    node_of_tensor = {node.output[0]: node for node in reversed(model.graph.node)}
    nodes = [node for node in model.graph.node if node_of_tensor[node.output[0]] is node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    ordered = onnx_ir.from_proto(model)
    ordered.graph.sort()
    onnx.save(onnx_ir.to_proto(ordered), path)
