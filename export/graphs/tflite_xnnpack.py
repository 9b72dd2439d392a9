"""Asks XNNPACK, the delegate that every app gets on the CPU, which operators of a .tflite file it takes.

    plan = ask(Path("model.tflite"))                     # Plan(taken=frozenset({0, 1, 3}), parts=2, …)
    python export/graphs/tflite_xnnpack.py model.tflite  # the same as JSON, in the environment of a toolchain

Nothing here knows what XNNPACK can do: LiteRT applies it as it does in an app, and its plan is read. That is done in a
process of its own, because LiteRT ends the whole process where XNNPACK meets what it does not expect, and advice must
not cost anybody a conversion. So the file imports nothing of the project.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

LIMIT_S = 120
"""Seconds for one file: a network of 360 MB takes one."""


@dataclass(frozen=True)
class Plan:
    """The operators that XNNPACK takes of a file."""

    taken: frozenset[int]
    """Indices of operators in the file's main graph."""
    parts: int
    """Number of pieces it takes them in; between two of them the plain kernels compute."""
    runtime: str
    """The runtime that was asked: `LiteRT 2.3.0`."""
    problem: str
    """Why there is no plan, or why LiteRT does not run the file although there is one; else empty."""


def ask(path: Path) -> Plan:
    """Return XNNPACK's plan for a file, asked in a process of its own."""
    command = [sys.executable, "-I", __file__, str(path)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return _no_plan(f"LiteRT was not done with it after {LIMIT_S} s")
    if done.returncode:
        return _no_plan(f"LiteRT ended its process with status {done.returncode}, as it would an app")
    plan = json.loads(done.stdout)
    return Plan(frozenset(plan["taken"]), plan["parts"], _runtime(), plan["problem"])


def _no_plan(problem: str) -> Plan:
    return Plan(frozenset(), 0, _runtime(), problem)


def _runtime() -> str:
    return f"LiteRT {metadata.version('ai-edge-litert')}"


def main() -> None:
    """Print the plan of the file named on the command line."""
    from ai_edge_litert.interpreter import Interpreter

    problem, nodes = "", []
    try:
        interpreter = Interpreter(sys.argv[1], num_threads=1)
        try:
            interpreter.allocate_tensors()
        except RuntimeError as error:  # a kernel is missing; delegates were applied before
            problem = _first_line(error)
        nodes = interpreter._get_ops_details()
    except ValueError as error:
        problem = _first_line(error)
    parts = [node for node in nodes if node["op_name"] == "DELEGATE"]
    indices = set().union(*(inside(part, nodes) for part in parts))
    print(json.dumps({"taken": sorted(indices), "parts": len(parts), "problem": problem}))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0]


def inside(part: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> set[int]:
    """Return the indices of the operators that a part computes: all between its outputs and its inputs.

    LiteRT lists the operators that it replaced as if they were still there, and a part by its tensors alone.
    """
    makers = {int(tensor): node for node in nodes if node["op_name"] != "DELEGATE" for tensor in node["outputs"]}
    visited, waiting, indices = set(map(int, part["inputs"])), list(map(int, part["outputs"])), set()
    while waiting:
        tensor = waiting.pop()
        if tensor in visited or tensor not in makers:
            continue
        visited.add(tensor)
        indices.add(int(makers[tensor]["index"]))
        waiting += map(int, makers[tensor]["inputs"])
    return indices


if __name__ == "__main__":
    main()
