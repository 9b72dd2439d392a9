"""int8 of an ONNX file by NNCF as it comes, with its fast bias correction. Runs in its environment."""

import nncf
import onnx
from safetensors.numpy import load_file


def quantize(source: str, calibration: str, out: str) -> None:
    """Write the file in integers. calibration: safetensors of (N, …) by input."""
    samples = load_file(calibration)
    count = len(next(iter(samples.values())))
    rows = [{name: values[row : row + 1] for name, values in samples.items()} for row in range(count)]
    onnx.save(nncf.quantize(onnx.load(source), nncf.Dataset(rows), subset_size=count), out)
