"""TFLite in the newest LiteRT on the CPU: with XNNPACK, which apps get by default, and with LiteRT's own kernels.

An operator that XNNPACK does not take runs in LiteRT's kernels in both.
"""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from records.tensor import Arrays

TOOLCHAIN = "litert"
BACKENDS = ["xnnpack", "builtin"]

RESOLVERS = {"xnnpack": OpResolverType.AUTO, "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def version() -> str:
    """Return the version of the runtime."""
    return metadata.version("ai-edge-litert")


def activate(path: Path, manifest: dict[str, Any], threads: int, backend: str) -> Callable[[Arrays], Arrays]:
    """Load once; infer takes and gives arrays by the signature's names, in the model's own types."""
    interpreter = Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=RESOLVERS[backend])
    signature = interpreter.get_signature_runner()

    def infer(inputs: Arrays) -> Arrays:
        return dict(signature(**inputs))

    return infer
