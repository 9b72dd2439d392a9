"""The importer beside onnx2tf, on the same files in one run."""
