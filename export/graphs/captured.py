"""Takes a model as the checkpoint holds it: its program, and TorchScript that is made of that; no code of the user's.

program = program_of(Checkpoint.open(folder), "ONNX")              # raises Inexpressible, with the user's line
module = scripted(program)
"""

import warnings
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.graph import CodeGen

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
    graph.set_codegen(CodeGen())  # plain arguments, for TorchScript has no pytrees
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a deprecated compiler, about a module that nobody wrote
        return torch.jit.freeze(torch.jit.script(GraphModule(module, graph).eval()))
