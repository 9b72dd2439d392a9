"""Names the PyTorch module of the operator at which a runtime stopped, from what the runtime said.

    stop = find_stop("… Node number 8 (DIV) failed to invoke.", operators, known)
    stop.modules, stop.sentence       # ("head.norm",), "That operator computes head.norm (between features.1 and …)."

Runs inside toolchains, too: the standard library and numpy only.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from export.graphs.layers import ROOT, Twin, canonical, spread

NAMED = (
    # LiteRT, TFLite: "div.cc:262 data[i] != zero_point was not true.Node number 8 (DIV) failed to invoke."
    r"Node number (?P<name>\d+) \((?P<kind>\w+)\) failed to",
    # "Didn't find op for builtin opcode 'DIV' version '99'", and our own "has no DIV version 99" of tflite-runtime
    r"(?:opcode '|has no )(?P<kind>\w+)'? version '?(?P<version>\d+)",
    # ONNX Runtime: "returned while running Mod node. Name:'node_div' Status Message: …"
    r"node\. Name:'(?P<name>[^']+)'",
    # "Could not find an implementation for BitShift(11) node with name 'node_div'"
    r"node with name '(?P<name>[^']+)'",
    # "Node (node_linear) Op (Gemm) …", "in node (node_div) is invalid", 'In Node, ("node_div", Foo, "", -1) …'
    r"[Nn]ode,? \(\"?(?P<name>[^\")]+)",
    # ONNX Runtime Web says the kind alone: "No Op registered for Foo with domain_version of 20"
    r"No Op registered for (?P<kind>\w+) with",
    # "Fatal error: my.own:Foo(-1) is not a registered function/op"
    r"Fatal error: [\w.]*:(?P<kind>\w+)\(-?\d+\) is not a registered",
    # TensorFlow: "[[{{node node_div/truediv}}]]", "NodeDef: {{node node_div/truediv}}"
    r"\{\{node (?P<name>[^}]+)\}\}",
    # "Op type not registered 'Foo' in binary"
    r"Op type not registered '(?P<kind>\w+)'",
    # TensorFlow.js: "Unknown op 'Foo'", "Kernel 'Einsum' not registered for backend 'wasm'"
    r"Unknown op '(?P<kind>\w+)'",
    r"Kernel '(?P<kind>\w+)' not registered",
)
"""How runtimes name an operator: each of a message that one has printed. What a match means is looked up in the
artifact, so that another's words mean nothing."""
LISTED = 3
"""Modules that a sentence names."""


@dataclass(frozen=True)
class Operator:
    """One operator of an artifact."""

    name: str
    """What the runtime calls it: of TFLite its number among the operators of the main graph."""
    kind: str
    """DIV."""
    version: int | None
    """Of its kind; None: the format counts none."""
    tensor: str
    """What it gives, by the name under which its module is known."""


@dataclass(frozen=True)
class Stop:
    """Where a runtime stopped."""

    modules: tuple[str, ...]
    """Paths in the user's model; more than one where the runtime named a kind of operators."""
    sentence: str
    """What the operator computes."""


def names_operator(text: str) -> bool:
    """True if a message may name an operator: only then is it worth reading the artifact."""
    return any(re.search(pattern, text) for pattern in NAMED)


def find_stop(text: str, operators: Sequence[Operator], known: Mapping[str, Twin]) -> Stop | None:
    """Return where a runtime stopped, as its message has it; None: at no operator whose module is known.

    operators: in the order of the artifact. known: by tensor.
    """
    modules = spread([operator.tensor for operator in operators], known)
    path = [modules.get(operator.tensor, "") for operator in operators]
    places = [place for place in _named(text, operators) if path[place]]
    if not places:
        return None
    names = tuple(dict.fromkeys(path[place] for place in places))
    return Stop(names, _of_kind(names) if len(places) > 1 else _of_one(path, places[0]))


def _named(text: str, operators: Sequence[Operator]) -> list[int]:
    """Return the operators that a message names, by their place: those that the last of its words name."""
    for pattern in NAMED:
        for match in reversed(list(re.finditer(pattern, text))):  # a loop's body comes before the loop
            words = {key: canonical(value) for key, value in match.groupdict().items() if value is not None}
            places = [place for place, operator in enumerate(operators) if _fits(operator, words)]
            if places:
                return places
    return []


def _fits(operator: Operator, words: Mapping[str, str]) -> bool:
    told = {"name": canonical(operator.name), "kind": operator.kind, "version": str(operator.version)}
    return all(told[key] == value for key, value in words.items())


def _of_one(path: Sequence[str], place: int) -> str:
    """Return what an operator computes, and between which modules: one of many operators is found by its neighbours."""
    module = path[place]
    before = next((other for other in reversed(path[:place]) if _beside(other, module)), "")
    after = next((other for other in path[place:] if _beside(other, module)), "")
    where = f"between {before} and {after}" if before and after else f"after {before}" if before else f"before {after}"
    neighbours = f" ({where})" if before or after else ""
    return f"That operator computes {module if module != ROOT else 'a line of the model itself'}{neighbours}."


def _beside(other: str, module: str) -> bool:
    """True for a module that is neither the same nor around it."""
    return other not in ("", ROOT, module) and not module.startswith(f"{other}.")


def _of_kind(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    others = f" and {more} more module{'s' if more > 1 else ''}" if more > 0 else ""
    return f"Such operators compute {', '.join(names[:LISTED])}{others}."
