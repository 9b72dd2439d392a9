"""Your own: `package.module:function`, found as your Python finds it, or `./file.py:Class`; a finished module, too."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from pipeline.libraries import Built, Options, call, checked
from records.errors import BadInput

NEEDS = ""


def build(name: str, options: Options, weights: Path | None) -> Built:
    """Return the model that a function or class gives, or that the name holds. Raises BadInput."""
    place, _, attribute = name.rpartition(":")
    found = lookup(place, attribute, name)
    value = found if isinstance(found, nn.Module) or not callable(found) else call(found, options, name)
    return Built(checked(value, name))


def lookup(place: str, attribute: str, spelling: str) -> Any:
    """Return what a module or file holds under a name, `Net` or `nets.Net`. Raises BadInput."""
    if not attribute:
        raise BadInput(f"model {spelling}: which function or class of it? Write {place}:NAME.")
    value: Any = _file(Path(place), spelling) if place.endswith(".py") else _module(place, spelling)
    for part in attribute.split("."):
        if not hasattr(value, part):
            names = [name for name, item in vars(value).items() if callable(item) and not name.startswith("_")]
            raise BadInput(
                f"model {spelling}: {place} has no {part}, only {', '.join(sorted(names)[:8]) or 'nothing to call'}."
            )
        value = getattr(value, part)
    return value


def _module(place: str, spelling: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script does not have it there
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise BadInput(
                f"model {spelling}: no module {error.name} in {Path.cwd()}, in PYTHONPATH or installed. Run where it "
                "lies, or install it."
            ) from error
        raise BadInput(f"model {spelling}: {place} needs {error.name}, which is not installed. Install it.") from error
    except Exception as error:
        raise _broken(error, place, spelling) from error


def _file(path: Path, spelling: str) -> ModuleType:
    if not path.is_file():
        raise BadInput(f"model {spelling}: no file {path.absolute()}. Give its path.")
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as Python does for a script: it imports its neighbours
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look a class's module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _broken(error, str(path), spelling) from error
    return module


def _broken(error: Exception, place: str, spelling: str) -> BadInput:
    reason = " ".join(str(error).split())[:300]
    return BadInput(f"model {spelling}: {place} cannot be imported ({type(error).__name__}: {reason}). Mend it.")
