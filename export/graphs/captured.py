"""Takes a model as the checkpoint holds it: its program, and TorchScript that is made of that; no code of the user's.

program = program_of(Checkpoint.open(folder), "ONNX")              # raises Inexpressible, with the user's line
module = scripted(program)
"""

import math
import operator
import warnings
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.fx.graph import CodeGen
from torch.fx.node import map_aggregate

from export.graphs.operators import Inexpressible
from pipeline.checkpoint import Checkpoint


def program_of(opened: Checkpoint, format_name: str) -> ExportedProgram:
    """Return the program of a checkpoint. Raises Inexpressible for a model that PyTorch refused to capture."""
    if refusal := opened.refused("program"):
        raise Inexpressible(refusal.told(format_name))
    return opened.program()


def scripted(program: ExportedProgram) -> Any:
    """Return a program as a frozen TorchScript module, for any batch size. Raises Inexpressible.

    Its graph is compiled, not traced: a trace would keep the sizes of its example.
    """
    module = program.module(check_guards=False)
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "call_module" and not node.users:  # the guards, which hold Python code
            graph.erase_node(node)
        elif node.op == "call_function" and isinstance(node.target, torch._ops.HigherOrderOperator):
            raise Inexpressible(f"TorchScript cannot express {node.target.name()}.")
        elif node.target is torch.ops.aten.sym_size.int:
            node.op, node.target = "call_method", "size"
        elif isinstance(node.target, torch._ops.OpOverload):
            node.target = node.target._overloadpacket  # the compiler chooses by the arguments' types
        elif node.op == "output" and len(node.args[0]) == 1:
            node.args = tuple(node.args[0])  # one output is a tensor, as the user's module gives it
    _compute_nan(graph)
    graph.set_codegen(CodeGen())  # plain arguments, for TorchScript has no pytrees
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a deprecated compiler, about a module that nobody wrote
        return torch.jit.freeze(torch.jit.script(GraphModule(module, graph).eval()))


def _compute_nan(graph: Graph) -> None:
    """Put a difference of infinities in the place of every NaN that is written in a graph: TorchScript has a word for
    infinity and none for NaN.
    """

    for node in [node for node in graph.nodes if _has_nan(node)]:
        with graph.inserting_before(node):
            nan = graph.call_function(operator.sub, (math.inf, math.inf))

        def computed(value: Any, nan: Node = nan) -> Any:
            return nan if _is_nan(value) else value

        node.args, node.kwargs = map_aggregate((node.args, node.kwargs), computed)


def _has_nan(node: Node) -> bool:
    """True if one of a node's arguments is a NaN, at any depth."""
    found: list[bool] = []

    def note(value: Any) -> Any:
        found.append(_is_nan(value))
        return value

    map_aggregate((node.args, node.kwargs), note)
    return any(found)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
