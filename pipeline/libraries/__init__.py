"""Where a model's code comes from: one library, one file. The folder is the registry.

    library, name = parse("timm:mobilenetv4_conv_small")       # "timm", "mobilenetv4_conv_small"
    built = build("mypkg.nets:build", {"width": 2})
    built.module

A spelling without a library's name before its colon is a function or class of the user's own.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from torch import nn

from pipeline.weights import Loaded
from records.errors import BadInput

Options = Mapping[str, Any]
"""Arguments of a model's constructor by name."""
OWN = "own"
"""The library of the user's own code."""


@dataclass(frozen=True)
class Declared:
    """What a library's own configuration says of the way from a picture to the input; None: nothing is said."""

    size: tuple[int, int] | None = None
    """Height and width of the input in pixels."""
    resize: tuple[int, int] | None = None
    """Height and width that a picture is resized to cover before it is cropped; None: it is resized to the input's."""
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    """Per channel, in [0, 1]."""


@dataclass(frozen=True)
class Built:
    """A model as a library builds it."""

    module: nn.Module
    declared: Declared | None = None
    labels: tuple[str, ...] = ()
    inner: nn.Module | None = None
    """The module that weights are named after; None: the module itself."""
    loaded: Loaded | None = None
    """The proof of weights that the library itself has loaded, which lie beside its configuration."""


class Library(Protocol):
    """The interface of a library's file.

    One that offers trained weights for download also has `pretrained(name, options)`, which returns a module with them.
    """

    NEEDS: str
    """The Python package that it needs, and the extra of this project that installs it; empty: none."""

    def build(self, name: str, options: Options, weights: Path | None) -> Built:
        """Return the model of that name. Raises BadInput.

        weights: the file that will be loaded into it; None: there is none, and a library that keeps weights beside its
        configuration loads those.
        """


def names() -> list[str]:
    """Return the names of all libraries."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def parse(spelling: str) -> tuple[str, str]:
    """Return library and name of a spelling. Raises BadInput for one that is neither."""
    library, colon, name = spelling.partition(":")
    if colon and library in names() and library != OWN:
        return library, name
    if not colon:
        if spelling.endswith(".py") or "/" in spelling:
            raise BadInput(f"model {spelling}: which function or class of it? Write {spelling}:NAME.")
        return "torchvision", spelling
    return OWN, spelling


def build(spelling: str, options: Options, weights: Path | None = None) -> Built:
    """Return the model of a spelling. Raises BadInput."""
    library, name = _library(spelling)
    return cast(Library, library).build(name, options, weights)


def offers_weights(spelling: str) -> bool:
    """True if the library of a spelling has trained weights to be downloaded."""
    return hasattr(_library(spelling)[0], "pretrained")


def pretrained(spelling: str, options: Options) -> nn.Module:
    """Return a library's model with its own weights, downloaded once. Raises whatever the library does without them."""
    library, name = _library(spelling)
    return cast(nn.Module, library.pretrained(name, options))


def _library(spelling: str) -> tuple[Any, str]:
    """Return the `Library` of a spelling, and the name in it. Raises BadInput."""
    library, name = parse(spelling)
    module = cast(Library, importlib.import_module(f"pipeline.libraries.{library}"))
    if module.NEEDS:
        try:
            importlib.import_module(module.NEEDS)
        except ImportError as error:
            raise BadInput(
                f"model {spelling}: {module.NEEDS} cannot be imported ({error}). Install it: pip install "
                f"'anywhere[{module.NEEDS}]', in a checkout make setup EXTRAS={module.NEEDS}."
            ) from error
    return module, name


def call(function: Callable[..., Any], options: Options, spelling: str) -> Any:
    """Return what a function or class gives for these options. Raises BadInput where it needs others, or fails."""
    try:
        parameters: Sequence[inspect.Parameter] = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    kinds = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in kinds and parameter.name not in options
    ]
    if needed:
        raise BadInput(
            f"model {spelling}: needs {', '.join(needed)}. Give what it was built with: --option {needed[0]}=VALUE."
        )
    known = {parameter.name for parameter in parameters}
    takes_any = not parameters or any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    if not takes_any and (strange := [name for name in options if name not in known]):
        raise BadInput(
            f"model {spelling}: takes no {', '.join(strange)}, only {', '.join(sorted(known)) or 'nothing'}."
        )
    try:
        return function(**options)
    except BadInput:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"model {spelling}: cannot be built ({type(error).__name__}: {reason}). Mend it, or change --option."
        ) from error


def checked(value: Any, spelling: str) -> nn.Module:
    """Return a module. Raises BadInput for anything else."""
    if isinstance(value, nn.Module):
        return value
    raise BadInput(
        f"model {spelling}: gives {'nothing' if value is None else f'a {type(value).__name__}'}, no torch.nn.Module. "
        "Name a class, or a function that returns one."
    )
