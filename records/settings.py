"""Settings from TOML: strictly typed, and one sentence for the first thing wrong.

load(Config, tomllib.loads(text), "my.toml", keys)
"""

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from records.errors import BadInput, unknown

T = TypeVar("T")


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """pydantic's view of a dataclass, made once."""
    return TypeAdapter(kind)


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file holds. Raises BadInput."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BadInput(f"{path}: cannot be read ({reason}). Give --config a TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: not TOML: {error}. Mend that line.") from error


def load_settings(kind: Callable[..., T], values: Mapping[str, Any], where: str, keys: Iterable[str]) -> T:
    """Values as TOML gives them → a dataclass, strictly typed. Raises BadInput; `keys` are those there are."""
    try:
        # Through JSON: pydantic's strict mode then still takes a list for a tuple, but no "3" for a 3.
        found: T = adapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise _sentence(error.errors()[0], where, keys) from error
    return found


def _sentence(problem: Any, where: str, keys: Iterable[str]) -> BadInput:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return unknown("key", key, keys, where)
    text = str(problem["msg"])
    given = repr(problem["input"]) if not isinstance(problem["input"], dict) else "a section"
    return BadInput(f"{where}: {key} = {given}: {text[0].lower()}{text[1:]}. Change it; the fields are in README.md.")
