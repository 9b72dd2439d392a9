"""Reads the reference: what every module of the checkpoint's program returns, in PyTorch, float32, on the CPU."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import save_file
from torch import fx

from export.graphs.layers import NORMALISATION, ROOT
from export.graphs.operators import user_path
from pipeline.checkpoint import Checkpoint
from records.tensor import Array

TOOLCHAIN = "torch"


@dataclass(frozen=True)
class Ended:
    """One call of a module: the node of the program's graph that computes what it returns."""

    module: str
    kind: str
    leaf: bool
    node: fx.Node


def collect(path: str, samples: int, out: str) -> list[dict[str, Any]]:
    """Return the calls of modules in the order in which they ended: module, call, kind and whether it is a leaf.

    path: the checkpoint's folder. Writes the values of the i-th call, (N, …) float32, to `out` as `i`.
    """
    opened = Checkpoint.open(Path(path))
    golden = opened.golden()
    module = opened.model()
    ended = ended_calls(module.graph)
    step = opened.batch or samples
    parts = [
        _kept(module, ended, [golden.inputs[tensor.name][start : start + step] for tensor in opened.inputs])
        for start in range(0, samples, step)
    ]
    records: list[dict[str, Any]] = []
    values: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for call in ended:
        counts[call.module] = counts.get(call.module, -1) + 1
        each = [kept[call.node] for kept in parts if call.node in kept]
        if each:
            values[str(len(records))] = (torch.cat(each) if len(each) > 1 else each[0]).numpy()
            records.append({"module": call.module, "call": counts[call.module], "kind": call.kind, "leaf": call.leaf})
    save_file(values, out)
    return records


def _kept(module: fx.GraphModule, ended: Sequence["Ended"], inputs: Sequence[Array]) -> dict[fx.Node, torch.Tensor]:
    """Return what the calls of modules returned for some inputs, by the node that ends each."""
    interpreter = Keeping(module, {call.node for call in ended})
    with torch.no_grad():
        interpreter.run(*map(torch.from_numpy, inputs))
    return interpreter.kept


class Keeping(fx.Interpreter):
    """Runs a graph and keeps a copy of some nodes' values, for a later node may write over them."""

    def __init__(self, module: fx.GraphModule, nodes: set[fx.Node]):
        super().__init__(module)
        self._nodes = nodes
        self.kept: dict[fx.Node, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node."""
        value = super().run_node(n)
        if n in self._nodes and isinstance(value, torch.Tensor) and value.is_floating_point():
            self.kept[n] = value.detach().contiguous().clone()
        return value


def ended_calls(graph: fx.Graph) -> list[Ended]:
    """Return the calls of the user's modules in the order in which they end, and first what normalises the input."""
    nodes = [node for node in graph.nodes if node.op == "call_function" and "nn_module_stack" in node.meta]
    stacks = [_stack(node) for node in nodes]
    paths = {path for stack in stacks for _, path, _ in stack}
    parents = {path.rpartition(".")[0] for path in paths}
    began: dict[str, int] = {}
    calls: list[Ended] = []
    entered = False
    for index, (node, stack) in enumerate(zip(nodes, stacks, strict=True)):
        following = {key for key, _, _ in stacks[index + 1]} if index + 1 < len(nodes) else set()
        if stack[1:] and not entered:  # the user's model begins
            entered = True
            before = [node for node, outer in zip(nodes[:index], stacks, strict=False) if not outer[1:]]
            calls += [Ended(NORMALISATION, "", True, before[-1])] if before else []
        for key, _, _ in stack[1:]:
            began.setdefault(key, index)
        for key, path, kind in reversed(stack[1:]):
            if key not in following:
                inside = nodes[began.pop(key) : index + 1]
                leaf = path not in parents
                calls.append(Ended(user_path(path) or ROOT, kind, leaf, _returned(inside, node)))
    return calls


def _stack(node: fx.Node) -> list[tuple[str, str, str]]:
    """Return the modules that a node lies in, the outermost, our own, first: key of the call, path, class."""
    return [
        (key, re.sub(r"@\d+", "", path), str(getattr(kind, "__name__", kind)).rpartition(".")[2])
        for key, (path, kind) in node.meta["nn_module_stack"].items()
    ]


def _returned(inside: Sequence[fx.Node], last: fx.Node) -> fx.Node:
    """Return the last of a call's nodes that is used outside of it."""
    members = set(inside)
    return next((node for node in reversed(inside) if any(user not in members for user in node.users)), last)
