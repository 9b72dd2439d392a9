"""ONNX's operators by kind: a function each, under the operator's own name."""
