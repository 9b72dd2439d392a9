"""The program: the model as `torch.export` gives it, which lies in the checkpoint, so that nobody's code is needed.

    program = capture(model, example, axes)                # raises Refused, with the user's line
    program = load(path)                                   # raises BadInput for a file that could do anything else

`torch.export.load` by itself trusts its file: it unpickles, evaluates expressions that stand in it as text, and lets a
graph call whatever function of Python's it names. A file is therefore read only after all that it holds was found to be
tensors, PyTorch's operators and sums of sizes.
"""

import ast
import io
import json
import logging
import re
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.export.pt2_archive._package import PT2ArchiveReader
from torch.jit._trace import TracerWarning

from records.errors import BadInput, shortened

BY_VALUES = ("data-dependent expression", "data dependent expression", "Dynamic control flow", "torch.cond")
"""Words of PyTorch's errors where it will not export a branch that Python takes by a tensor's values."""
BY_SIZES = ("Constraints violated", "specialized it to be a constant", "was inferred to be a constant")
"""Words where the network computes with the size of its example, so that it is for that size alone."""
BATCH = "batch"
"""Name of the axis of samples."""
BRANCH = "cannot hold a branch that Python takes by the values of an image"
CHOOSE = "Choose between tensors there, with torch.where or torch.cond"
FOR_ONE_SIZE = "would hold a network for one size of its inputs alone"
USE_SIZES = "Use the sizes there as they are, without int(), len(), a comparison or a loop"
NOT_THEIRS = (Path(torch.__file__).parent, Path(__file__).parent, Path(warnings.__file__))
"""Folders and files that hold no code of the user's: PyTorch, this room, and the warnings module."""

ENTRIES = re.compile(
    r"models/model\.json|data/(weights|constants)/((weight|tensor)_\d+|model_(weights|constants)_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/[\w.-]+|archive_format|archive_version|byteorder|\.data/\w+"
)
"""Names of files in a program that holds tensors and a graph, and nothing else."""
OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|torchvision)\.\w+(\.\w+)?|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl)"
    r"|torch\.ops\.higher_order\.wrap_with_set_grad_enabled|torch\.sym_(int|float|max|min|not|ite|sum|sqrt)"
    r"|torch\._sym_sqrt|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|math\.(ceil|floor|trunc)"
)
"""What a graph may call: operators that compute, and Python's arithmetic on sizes."""
STRUCTURES = {"builtins.tuple", "builtins.list", "builtins.dict", None}
"""Types that the tensors of a call may lie in."""
FUNCTIONS = {
    "Symbol", "Integer", "Float", "Max", "Min", "FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv",
    "CeilToInt", "FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv",
    "TruncToInt", "TruncToFloat", "RoundToInt", "RoundDecimal", "ToFloat", "IsNonOverlappingAndDenseIndicator",
    "Mul", "Add", "Pow", "Rational", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not",
    "Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "sqrt", "Identity",
}  # fmt: skip
"""Functions that an expression of sizes may call."""
ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop, ast.boolop,
    ast.Load, ast.keyword,
)  # fmt: skip
"""Syntax of such an expression, beside calls of these functions, names of sizes and numbers."""
SIZE = re.compile(r"[a-z]+\d*|[szu]\d+")
"""The name of a size: `s77`."""


@dataclass(frozen=True)
class Refusal:
    """Why PyTorch cannot capture a model as a program, in words that any format's name fits before."""

    reason: str
    """`cannot hold a branch that Python takes by the values of an input`."""
    line: str
    """The user's line, `net.py:12: `code``; empty: not known."""
    remedy: str
    """What to do: a sentence without its stop, to which more may be added."""

    def told(self, format_name: str, more: str = "") -> str:
        """Return the refusal of a format in two lines. more: words behind the remedy, such as why no other way goes."""
        where = f": {self.line}" if self.line else ""
        return f"{format_name} {self.reason}{where}.\n{self.remedy}{more}."

    def record(self) -> dict[str, str]:
        """Return it as JSON can hold it."""
        return asdict(self)


class Refused(Exception):
    """The error of a model that cannot be captured."""

    def __init__(self, refusal: Refusal):
        super().__init__(refusal.told("torch.export"))
        self.refusal = refusal


def capture(model: nn.Module, example: Sequence[torch.Tensor], axes: Sequence[Mapping[int, str]]) -> ExportedProgram:
    """Return the program of a model in eval mode. Raises Refused.

    example: one tensor for each input, in order. axes: for each input, its axes of any length by name: `{0: "batch"}`.
    A batch may have any length; of other axes PyTorch finds out which lengths go, such as even ones.
    """
    dims = {name: Dim(name) if name == BATCH else Dim.AUTO for each in axes for name in each.values()}
    shapes = tuple({axis: dims[name] for axis, name in each.items()} for each in axes)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model, tuple(example), dynamic_shapes=_fitted(model, shapes))
    except Exception as error:
        refusal = refusal_of(error)
        if refusal.reason == FOR_ONE_SIZE and not refusal.line:
            refusal = replace(refusal, line=next(iter(lines_that_read_sizes(model, example)), ""))
        raise Refused(refusal) from error
    for taken, each in zip(shapes_taken(program), axes, strict=True):
        if any(isinstance(taken[axis], int) for axis in each):
            raise Refused(Refusal(FOR_ONE_SIZE, next(iter(lines_that_read_sizes(model, example)), ""), USE_SIZES))
    return without_source(program)


def shapes_taken(program: ExportedProgram) -> list[tuple[Any, ...]]:
    """Return the shape of each input of a program: a number for each axis, or PyTorch's symbol for any length."""
    names = program.graph_signature.user_inputs
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    return [tuple(values[name].shape) for name in names]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the graphs off the screen that PyTorch prints where it refuses one; its exception says the same."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def lines_that_read_sizes(model: nn.Module, example: Sequence[torch.Tensor]) -> list[str]:
    """Return the user's lines that make a number of Python's of a size, which PyTorch's tracer warns of."""
    lines: list[str] = []

    def note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, TracerWarning):
            lines.append(user_line(traceback.extract_stack()))

    with warnings.catch_warnings(), torch.no_grad(), suppress(Exception):
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("always", category=TracerWarning)
        warnings.showwarning = note  # called on the user's stack: a warning alone names the innermost line
        torch.jit.trace(model, tuple(example), check_trace=False)
    return [line for line in lines if line]


def _fitted(model: nn.Module, shapes: tuple[Any, ...]) -> Any:
    """Return dynamic shapes in the structure of forward's parameters: for `*inputs`, one tuple of all of them."""
    code = getattr(getattr(model.forward, "__func__", None), "__code__", None)
    return (shapes,) if code is not None and code.co_flags & 0x04 and code.co_argcount == 1 else shapes


def without_source(program: ExportedProgram) -> ExportedProgram:
    """Remove the user's source lines, paths and samples, and guards kept as Python code, in place; return it.

    Of its example the shapes are kept: PyTorch would save the whole array that it is the first rows of.
    """
    if program.example_inputs is not None:
        arguments, by_name = program.example_inputs
        program.example_inputs = tuple(map(torch.zeros_like, arguments)), by_name
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    program._guards_code = []
    return program


def refusal_of(error: BaseException) -> Refusal:
    """Return why PyTorch refused to capture a model, with the user's line and what to do."""
    causes = [error]
    while following := causes[-1].__cause__:
        causes.append(following)
    lines = [user_line(traceback.extract_tb(cause.__traceback__)) for cause in causes]
    line = next((line for line in reversed(lines) if line), "") or _quoted_line(str(error))
    text = " ".join(str(cause) for cause in causes)
    if any(words in text for words in BY_VALUES):
        return Refusal(BRANCH, line, CHOOSE)
    if any(words in text for words in BY_SIZES):
        return Refusal(FOR_ONE_SIZE, line, USE_SIZES)
    first = next((part.strip() for part in str(error).splitlines() if part.strip()), type(error).__name__)
    return Refusal(f"cannot hold this network ({type(error).__name__}: {first.rstrip('.')[:200]})", line, "Change that")


def _quoted_line(message: str) -> str:
    """Return the last line of the user's that PyTorch quotes in a message, as `net.py:12: `code``."""
    frames = [
        traceback.FrameSummary(file, int(number), name, line=code.strip())
        for file, number, name, code in re.findall(r'File "([^"]+)", line (\d+), in (\S+)\n\s+(.+)', message)
    ]
    return user_line(frames)


def user_line(frames: Iterable[traceback.FrameSummary]) -> str:
    """Return the innermost line of a stack that is the user's, as `net.py:12: `code``; empty: there is none."""
    for frame in reversed(list(frames)):
        file = Path(frame.filename)
        theirs = not any(file.is_relative_to(folder) for folder in NOT_THEIRS) and not frame.filename.startswith("<")
        if frame.line and theirs:
            return f"{file.name}:{frame.lineno}: `{frame.line}`"
    return ""


def save(program: ExportedProgram, path: Path, extra_files: Mapping[str, str] | None = None) -> None:
    """Write a program as a `.pt2` file."""
    content = io.BytesIO()  # PyTorch's own writer has another error for a full disk
    torch.export.save(program, content, extra_files=dict(extra_files or {}))
    path.write_bytes(content.getvalue())


def load(path: Path) -> ExportedProgram:
    """Return the program in a file that can do nothing but compute. Raises BadInput."""
    content = io.BytesIO(path.read_bytes())
    try:
        why = beyond_computing(content)
    except (RuntimeError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise BadInput(f"program {path}: cannot be read ({' '.join(str(error).split())[:200]}). {_REMEDY}") from error
    if why:
        raise BadInput(f"program {path}: {why}, which a program needs not. {_REMEDY}")
    content.seek(0)
    try:
        with quiet():
            return torch.export.load(content)
    except Exception as error:  # PyTorch's reader raises whatever it stumbles over
        raise BadInput(f"program {path}: PyTorch cannot read it ({shortened(error)}). {_REMEDY}") from error


_REMEDY = "Take the checkpoint from one whom you trust, or train or adopt the model again."


def beyond_computing(content: io.BytesIO) -> str:
    """Return what in a `.pt2` file could do more than compute; empty: nothing. Raises ValueError for another file."""
    reader = PT2ArchiveReader(content)
    names = reader.get_file_names()
    for name in names:
        if names.count(name) > 1 or not ENTRIES.fullmatch(name):
            return f"it holds {name!r}"
    for kind in ("weights", "constants"):
        config = json.loads(reader.read_string(f"data/{kind}/model_{kind}_config.json"))["config"]
        for tensor, stored in config.items():
            if stored.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", stored["path_name"]):
                return f"it holds {tensor!r} as a pickle"
    try:
        torch.load(io.BytesIO(reader.read_bytes("data/sample_inputs/model.pt")), weights_only=True)
    except Exception:  # noqa: BLE001  # whatever it is, it is not tensors alone
        return "it holds an example that is no tensor"
    return _beyond(json.loads(reader.read_bytes("models/model.json")))


def _beyond(record: Any) -> str:
    """Return what in a graph's record, at any depth, names more than operators and sizes; empty: nothing."""
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in items:
        if key in {"target", "as_operator"} and isinstance(value, str) and not OPERATORS.fullmatch(value):
            return f"it calls {value!r}"
        if key == "guards_code" and value:
            return "it holds Python code"
        if key in {"as_custom_obj", "custom_obj_values"} and value:
            return "it holds objects"
        is_spec = isinstance(key, str) and key.endswith("_spec") and isinstance(value, str) and value
        if is_spec and not _plain(json.loads(value)):
            return "its inputs or outputs lie in objects"
        if key == "expr_str" and not _arithmetic(str(value)):
            return f"it computes a size by {value!r}"
        if why := _beyond(value):
            return why
    return ""


def _plain(spec: Any) -> bool:
    """True if a description of how tensors are nested names tuples, lists and dicts alone."""
    if isinstance(spec, list):
        return all(_plain(part) for part in spec)
    if isinstance(spec, dict):
        return spec.get("type") in STRUCTURES and all(_plain(part) for part in spec.values())
    return True


def _arithmetic(expression: str) -> bool:
    """True if an expression of sizes is arithmetic and nothing else: sympy evaluates it as Python."""
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError):
        return False
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            allowed = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
        elif isinstance(node, ast.Name):
            allowed = node in called or SIZE.fullmatch(node.id) is not None
        elif isinstance(node, ast.Constant):
            allowed = SIZE.fullmatch(node.value) is not None if isinstance(node.value, str) else True
        else:
            allowed = isinstance(node, ARITHMETIC)
        if not allowed:
            return False
    return True
