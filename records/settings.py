"""Settings from TOML: strictly typed, and one sentence for the first thing that is wrong.

load_settings(Config, tomllib.loads(text), "my.toml", keys)
"""

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from records.errors import BadInput, shortened, unknown

T = TypeVar("T")


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return pydantic's validator of a dataclass, made once for each."""
    return TypeAdapter(kind)


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds. Raises BadInput if it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BadInput(f"{path}: cannot be read ({reason}). Give --config a TOML file.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:  # the latter: lists within lists
        raise BadInput(f"{path}: not TOML: {shortened(error)}. Mend that line.") from error


def load_settings(kind: Callable[..., T], values: Mapping[str, Any], where: str, keys: Iterable[str]) -> T:
    """Return values from TOML as a dataclass, strictly typed. Raises BadInput.

    where: what the values came from, and keys: those that are allowed; both for the sentence.
    """
    try:
        # Through JSON: pydantic's strict mode then still takes a list for a tuple, but no "3" for a 3.
        settings: T = adapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise _sentence(error.errors()[0], where, keys) from error
    return settings


def _sentence(problem: Any, where: str, keys: Iterable[str]) -> BadInput:
    key = shortened(".".join(str(part) for part in problem["loc"]))
    if problem["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return unknown("key", key, keys, where)
    text = str(problem["msg"])
    value = shortened(repr(problem["input"])) if not isinstance(problem["input"], dict) else "a section"
    return BadInput(f"{where}: {key} = {value}: {text[0].lower()}{text[1:]}. Change it; the fields are in README.md.")
