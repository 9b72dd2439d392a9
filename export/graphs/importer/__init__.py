"""ONNX's operators in TensorFlow's, with ONNX's meaning: `importer/graph.py` is the door."""
