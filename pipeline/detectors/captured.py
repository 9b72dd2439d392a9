"""A detector as a captured program, in which choosing boxes is no module any more: nothing could be hooked.

program = watchable(checkpoint.model(), checkpoint.decoding, (320, 320))
outputs, rivals = with_rivals(program, lambda: program(image))     # as of the detector that it was captured of
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import fx, nn

from pipeline.detectors import Decode, Decoding, joined, rivals_of
from pipeline.detectors.paste import Paste
from records.tensor import Array

aten = torch.ops.aten
Answer = TypeVar("Answer")


def watchable(program: fx.GraphModule, decoding: Mapping[str, float], size: Iterable[Any]) -> fx.GraphModule:
    """Have a program call `Decode` and `Paste` as modules, beside what it makes of the same, and return it.

    decoding: what it was captured with, as a checkpoint keeps it; empty: there is nothing to watch. size: height and
    width of its inputs. Of a program in which there is none of both, or which was captured before modules were told,
    nothing is changed.
    """
    if not decoding:
        return program
    if decode := _of_module(program, Decode):
        scores = _taken_by(decode, aten.topk.default, 0, through=aten.flatten.using_ints)
        _add(program, decode, scores, last=True, module=Decode(Decoding(**cast(Any, decoding))))
    if paste := _of_module(program, Paste):
        height, width = size
        _add(program, paste, _taken_by(paste, aten.bmm.default, 1), last=False, module=Paste((height, width)))
    program.recompile()
    return program


def with_rivals(program: nn.Module, ask: Callable[[], Answer]) -> tuple[Answer, dict[str, Array]]:
    """Return what a function gives that calls a watchable program, and the rivals (N, …) of all its calls by name."""
    with rivals_of(program) as calls:
        answer = ask()
    return answer, {name: value.numpy() for name, value in joined(calls).items()}


def _of_module(program: fx.GraphModule, kind: type[nn.Module]) -> list[fx.Node]:
    """Return the operators that were a module of this type, in order."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    stacks = ((node, node.meta.get("nn_module_stack") or {}) for node in program.graph.nodes)
    return [node for node, stack in stacks if any(type_of == name for _, type_of in stack.values())]


def _taken_by(nodes: list[fx.Node], operator: Any, place: int, through: Any = None) -> fx.Node | None:
    """Return what the first such operator of a module takes at a place, before another operator; None: nothing."""
    takes = next((node.args[place] for node in nodes if node.target == operator), None)
    if through is not None and isinstance(takes, fx.Node):
        takes = takes.args[0] if takes.target == through else None
    return takes if isinstance(takes, fx.Node) else None


def _add(program: fx.GraphModule, nodes: list[fx.Node], known: fx.Node | None, last: bool, module: nn.Module) -> None:
    """Add a call of a module that takes two tensors to those operators that are it: one is known, and is its first
    or last.
    """
    given = {source for node in nodes for source in node.all_input_nodes} - set(nodes)
    others = [source for source in given if source.op != "get_attr" and source is not known]
    if known is None or len(others) != 1:
        return
    name = f"watched_{type(module).__name__.lower()}"
    program.add_submodule(name, module)
    with program.graph.inserting_before(nodes[0]):
        program.graph.call_module(name, (others[0], known) if last else (known, others[0]))
