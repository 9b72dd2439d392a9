"""TFLite in LiteRT for ARM64, emulated by qemu: the wheel that a Raspberry Pi or an ARM server installs.

It proves that the ARM kernels (XNNPACK's NEON code, which phones run too) know every operator of the model and compute
it right. It does not prove Android's C library, the GPU and NPU delegates, or speed: its latency is the emulator's.
"""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from records.tensor import Arrays

TOOLCHAIN = "litert_arm64"
SAMPLES = 16
"""mobilenet_v3_small takes 0.06 s a sample of 64 × 64 pixels and about a second of 224 × 224; larger networks ten."""
LIMIT_S = 900


def version() -> str:
    """Return the version of the runtime."""
    return metadata.version("ai-edge-litert")


def activate(path: Path, manifest: dict[str, Any], threads: int, backend: str) -> Callable[[Arrays], Arrays]:
    """Load once; infer takes and gives arrays by the manifest's names, in the model's own type and layout."""
    interpreter = Interpreter(str(path), num_threads=threads)
    if interpreter.get_signature_list():
        signature = interpreter.get_signature_runner()
        return lambda inputs: dict(signature(**inputs))
    interpreter.allocate_tensors()
    places = {one["name"]: one["index"] for one in interpreter.get_input_details()}
    outputs = [one["index"] for one in interpreter.get_output_details()]

    def infer(inputs: Arrays) -> Arrays:
        for name, value in inputs.items():
            interpreter.set_tensor(places[name], value)
        interpreter.invoke()
        values = [interpreter.get_tensor(place) for place in outputs]
        return {tensor["name"]: value for tensor, value in zip(manifest["outputs"], values, strict=True)}

    return infer
