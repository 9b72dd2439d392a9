"""int8 of an ONNX file by AIMET, with its cross-layer equalisation. Runs in its environment."""

import onnx
from aimet_onnx.cross_layer_equalization import equalize_model
from aimet_onnx.quantsim import QuantizationSimModel
from safetensors.numpy import load_file


def quantize(source: str, calibration: str, out: str) -> None:
    """Write the file with QDQ, its weights in float32. calibration: safetensors of (N, …) by input."""
    samples, model = load_file(calibration), onnx.load(source)
    equalize_model(model)
    simulated = QuantizationSimModel(model)
    count = len(next(iter(samples.values())))
    simulated.compute_encodings(
        [{name: values[row : row + 1] for name, values in samples.items()} for row in range(count)]
    )
    onnx.save(simulated.to_onnx_qdq(), out)
