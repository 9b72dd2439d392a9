"""TFLite in tflite-runtime 2.14 of 2023: the oldest runtime we promise, as devices in the field have it."""

import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from tflite_runtime.interpreter import Interpreter

from records.tensor import Arrays
from validate.runtimes.runner import Refused

TOOLCHAIN = "tflite_runtime"

MISSING = re.compile(r"builtin opcode '(?P<operator>\w+)' version '(?P<version>\d+)'")


def version() -> str:
    """Return the version of the runtime."""
    return metadata.version("tflite-runtime")


def activate(path: Path, manifest: dict[str, Any], threads: int, backend: str) -> Callable[[Arrays], Arrays]:
    """Load once; infer takes and gives arrays by the signature's names, in the model's own types. Raises Refused."""
    try:
        signature = Interpreter(str(path), num_threads=threads).get_signature_runner()
    except (ValueError, RuntimeError) as error:
        missing = MISSING.search(str(error))
        if missing is None:
            raise
        least = manifest.get("min_runtime_version")
        remedy = f"TFLite {least} has it" if least else "a newer runtime may have it"
        raise Refused(
            f"tflite-runtime {version()} has no {missing['operator']} version {missing['version']}; {remedy}"
        ) from error

    def infer(inputs: Arrays) -> Arrays:
        try:
            return {name: value.copy() for name, value in signature(**inputs).items()}
        except RuntimeError as error:  # a kernel that has not this type: sums of int16
            raise Refused(f"tflite-runtime {version()}: {error}; a newer runtime may compute it") from error

    return infer
