"""`make kernels`: every operator on every backend of TensorFlow.js; what is not as listed; docs/kernels.md.

python -m tests.kernels [BACKEND …]     with backends: prints only
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.kernels import conformance
from tests.kernels.cases import table
from tests.kernels.conformance import IN_CHROMIUM, IN_NODE, Kernel, Verdict
from tests.locks import locked

DOCS = Path(__file__).parents[2] / "docs" / "kernels.md"
BACKENDS = (*IN_NODE, *IN_CHROMIUM)
Verdicts = dict[tuple[str, str], dict[str, Verdict]]
"""By model and backend."""


def main(backends: list[str]) -> int:
    """Measure, tell, write; → exit status: 1 where anything is otherwise than listed."""
    unexpected = []
    found: Verdicts = {}
    with tempfile.TemporaryDirectory() as folder:
        made = conformance.make(Path(folder), table())
        for model in ("plain", "mended"):
            for backend in backends or BACKENDS:
                verdicts = found[model, backend] = conformance.measured(made, model, backend)
                unexpected += conformance.surprises(verdicts, backend, model)
                print(f"{backend:8}{model:8}{dict(Counter(one.outcome for one in verdicts.values()))}", flush=True)
    print(*unexpected, sep="\n")
    if not backends and not unexpected:
        DOCS.parent.mkdir(exist_ok=True)
        DOCS.write_text(page(found))
        print(f"written: {DOCS}")
    return bool(unexpected)


def page(found: Verdicts) -> str:
    """The table for readers."""
    kernels = conformance.known()
    count = len(found["plain", "cpu"])
    rows = [row(kernel) for kernel in kernels]
    totals = [
        f"| {backend} | {right(found['plain', backend])} | {right(found['mended', backend])} |" for backend in BACKENDS
    ]
    version = locked("web", "@tensorflow/tfjs-core").rpartition(".")[0]
    operators = Counter(name.partition(" ")[0] for name in found["plain", "cpu"])
    return "\n".join(
        [
            "# Kernels of TensorFlow.js",
            "",
            f"{count} cases of {len(operators)} operators, each with several shapes, ranks and batches, on every",
            f"backend of TensorFlow.js {version} beside TensorFlow. SwiftShader draws for WebGL and WebGPU. Made by",
            "`make kernels`; a test fails where a kernel is no longer as this says. wasm is its binary with SIMD;",
            "those without and with threads are right in the same cases, as this project writes them. What goes",
            "through float32 is exact up to 2²⁴, as is every whole number on WebGL and most on WebGPU. A shader of",
            "WebGPU's that does not compile throws nothing: what it gives is what was in the memory before.",
            "",
            "| backend | right | right as this project writes it |",
            "| --- | --- | --- |",
            *totals,
            "",
            "| operator | where | cpu | wasm | WebGL | WebGPU | written instead |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "Operators examined, each with its number of cases: "
            + ", ".join(f"{name} {number}" for name, number in sorted(operators.items()))
            + ".",
            "",
        ]
    )


def right(verdicts: dict[str, Verdict]) -> int:
    """Cases that are right."""
    return sum(verdict.outcome == "right" for verdict in verdicts.values())


def row(kernel: Kernel) -> str:
    """A line of the table."""
    outcomes = [kernel.backends.get(backend, "right") for backend in BACKENDS]
    cells = [", ".join(kernel.operators), kernel.condition, *outcomes, kernel.written or "nothing"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
