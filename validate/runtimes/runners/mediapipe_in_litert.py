"""A detector for MediaPipe in the newest LiteRT, its outputs brought back to the checkpoint's as an app has to do.

Boxes are multiplied by the input's sides; labels and count are integers again.
"""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from records.tensor import Arrays

TOOLCHAIN = "litert"
BACKENDS = ["xnnpack", "builtin"]

RESOLVERS = {"xnnpack": OpResolverType.AUTO, "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def version() -> str:
    """Return the version of the runtime."""
    return metadata.version("ai-edge-litert")


def activate(path: Path, manifest: dict[str, Any], threads: int, backend: str) -> Callable[[Arrays], Arrays]:
    """Load once; infer takes arrays in the model's own types, and gives boxes in pixels of the input."""
    interpreter = Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=RESOLVERS[backend])
    signature = interpreter.get_signature_runner()
    _, height, width, _ = manifest["inputs"][0]["shape"]
    sides = np.array([width, height, width, height], np.float32)

    def infer(inputs: Arrays) -> Arrays:
        outputs = dict(signature(**inputs))
        integers = {name: np.rint(outputs[name]).astype(np.int32) for name in ("labels", "count")}
        return {"boxes": outputs["boxes"] * sides, "scores": outputs["scores"], **integers}

    return infer
