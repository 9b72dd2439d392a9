"""Every operator of our graphs in TensorFlow.js, beside TensorFlow: right, wrong or refused, on each backend.

    make kernels                    all cases on all backends; docs/kernels.md
    made = make(folder, table())    the models and TensorFlow's outputs
    measured(made, "mended", "wasm")

What is known to be wrong stands in export/graphs/tfjs_kernels.json, and a case has to be exactly as that says.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.target import find
from tests.kernels.cases import Array, Case
from validate.runtimes import programs
from workers import registry

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "export" / "graphs" / "tfjs_kernels.json"
IN_NODE, IN_CHROMIUM = ("cpu", "wasm"), ("webgl", "webgpu")
LIMIT_S = 580.0
TOLERANCE = 1e-4
"""Of the greatest value: sums of a thousand float32 in any order are within 1e-5, a wrong value is beyond 1e-2."""
ROUGH = {"Sin": 5e-4, "Cos": 5e-4}
"""On a GPU: GLSL and WGSL promise an absolute 2⁻¹¹ = 4.9e-4 (WGSL, 15.7.4 accuracy of built-ins), and get 1.9e-4."""


@dataclass(frozen=True)
class Verdict:
    """How a case ended on a backend."""

    outcome: str
    """right, wrong or refused."""
    why: str = ""


@dataclass(frozen=True)
class Made:
    """The models of some cases, in a folder."""

    folder: Path
    cases: tuple[dict[str, Any], ...]
    """Of each the name, its feeds, and what TensorFlow gives."""
    findings: tuple[str, ...]
    """What the target says of those that it cannot write otherwise."""

    def named(self, names: set[str]) -> "Made":
        """Some of the cases only."""
        return replace(self, cases=tuple(case for case in self.cases if case["name"] in names))


@dataclass(frozen=True)
class Kernel:
    """Something that is wrong, as the list has it."""

    operators: tuple[str, ...]
    condition: str
    cases: str
    """What is found in the name of each case that meets it."""
    backends: dict[str, str]
    """Backend → wrong or refused."""
    written: str
    """How the target writes it instead; empty: not at all."""

    def meets(self, name: str) -> bool:
        """Whether it is about a case of that name."""
        return name.partition(" ")[0] in self.operators and re.search(self.cases, name) is not None


def known() -> list[Kernel]:
    """The list."""
    fields = ("condition", "cases", "backends", "written")
    return [
        Kernel(tuple(entry["operators"]), *(entry[field] for field in fields))
        for entry in json.loads(KERNELS.read_text())
    ]


def make(folder: Path, cases: Sequence[Case]) -> Made:
    """Have TensorFlow write the models and compute every case."""
    target = find()["tfjs"]
    chain = registry.find()[target.toolchain]
    chain.build()
    log = folder / "tensorflow.log"
    arguments = {"cases": [case.record() for case in cases], "out": str(folder)}
    with chain.start(log, environment=target.environment) as worker:
        told = worker.call(HERE / "generate.py", "generate", arguments, log, LIMIT_S).value
    return Made(folder, tuple(told["cases"]), tuple(told["findings"]))


def measured(made: Made, model: str, backend: str, place: str = "") -> dict[str, Verdict]:
    """Every case of a model, `plain` or `mended`, on a backend, by name; in Node or in Chromium, or where it is usual.

    wasm is one with threads in Chromium, and one without SIMD, for old browsers, in `old`.
    """
    place = place or ("node" if backend in IN_NODE else "chromium")
    chain = registry.find()["web"]
    chain.build()
    log, out, cases = (made.folder / f"{model}-{backend}-{place}.{end}" for end in ("log", "json", "cases"))
    cases.write_text(json.dumps(made.cases))
    file = HERE / ("browser.mjs" if place == "chromium" else "node.mjs")
    arguments = {"model": str(made.folder / model / "model.json"), "cases": str(cases), "backend": backend}
    arguments["simd"] = place != "old"
    environment = {} if place != "chromium" else programs.environment(["chromium"])
    with chain.start(log, environment=environment) as worker:
        worker.call(file, "measure", {**arguments, "out": str(out)}, log, LIMIT_S)
    results = json.loads(out.read_text())
    return {case["name"]: judge(case, result, backend) for case, result in zip(made.cases, results, strict=True)}


def judge(case: dict[str, Any], result: dict[str, Any], backend: str) -> Verdict:
    """A case's outputs beside TensorFlow's."""
    if "refused" in result:
        return Verdict("refused", result["refused"])
    for fault in ("crashed", "invalid"):
        if fault in result:
            return Verdict("wrong", result[fault])
    if len(result["outputs"]) != len(case["expected"]):
        return Verdict("wrong", f"{len(result['outputs'])} outputs instead of {len(case['expected'])}")
    allowed = ROUGH.get(case["name"].partition(" ")[0], TOLERANCE) if backend in IN_CHROMIUM else TOLERANCE
    pairs = zip(case["expected"], result["outputs"], strict=True)
    faults = [fault for expected, output in pairs if (fault := difference(expected, output, allowed))]
    return Verdict("wrong", faults[0]) if faults else Verdict("right")


def difference(expected: dict[str, Any], output: dict[str, Any], allowed: float) -> str:
    """In what an output is another than expected; empty: in nothing."""
    for what in ("dtype", "shape"):
        if output[what] != expected[what]:
            return f"{what} {output[what]} instead of {expected[what]}"
    values, right = decoded(output), decoded(expected)
    if values.size != right.size:
        return f"{values.size} values instead of {right.size}"
    if right.dtype != np.float32:
        count = int((values != right).sum())
        return f"{count} of {right.size} values" if count else ""
    finite = np.isfinite(right)
    if not np.array_equal(values[~finite], right[~finite], equal_nan=True) or not np.isfinite(values[finite]).all():
        return "NaN or infinite where it should not be, or not where it should"
    if not finite.any():
        return ""
    greatest = max(float(np.abs(right[finite]).max()), float(np.finfo(np.float32).tiny))
    distance = float(np.abs(values[finite].astype(np.float64) - right[finite]).max()) / greatest
    return f"{distance:.1g} of the greatest value" if distance > allowed else ""


def decoded(array: dict[str, Any]) -> Array:
    """The values, flat."""
    return np.frombuffer(base64.b64decode(array["data"]), array["dtype"])


def promised(name: str, backend: str, model: str, kernels: Sequence[Kernel]) -> str:
    """How a case has to end, by the list."""
    met = [one for one in kernels if one.meets(name) and backend in one.backends]
    return met[0].backends[backend] if met and not (model == "mended" and met[0].written) else "right"


def surprises(verdicts: dict[str, Verdict], backend: str, model: str) -> list[str]:
    """Every case that ended otherwise than the list says."""
    kernels = known()
    return [
        f"{backend}, {model}: {name}: {verdict.outcome} ({verdict.why}), not {expected}"
        for name, verdict in verdicts.items()
        if (expected := promised(name, backend, model, kernels)) != verdict.outcome
    ]
