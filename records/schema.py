"""Reads records from disk and checks them by the types of their dataclass: one door, one sentence for what is wrong.

record = read_json(path, "artifact …: manifest.json", "Convert it again.")
check_schema(Artifact, record, "artifact …: manifest.json", "Convert it again.")
"""

import json
from pathlib import Path
from typing import Any

from records.errors import BadInput, shortened


def read_json(path: Path, where: str, remedy: str) -> Any:
    """Return what a JSON file holds. Raises BadInput for one that cannot be read or is none.

    where: which record, for the sentence. remedy: what to do about it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror}). {remedy}") from error
    except (ValueError, RecursionError) as error:  # the latter: lists within lists, ten thousands of them
        raise BadInput(f"{where} was truncated or altered ({shortened(error)}). {remedy}") from error


def check_schema(kind: Any, record: Any, where: str, remedy: str) -> None:
    """Check a record against a type, strictly. Raises BadInput with the first field that is not of its type.

    where: which record, for the sentence. remedy: what to do about it. In a toolchain, which has no pydantic, nothing
    is checked: the command that started it has done so.
    """
    try:
        from pydantic import ValidationError

        from records.settings import adapter
    except ModuleNotFoundError:
        return
    try:
        adapter(kind).validate_json(json.dumps(record), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        key = shortened(".".join(str(part) for part in problem["loc"]))
        said = shortened(problem["msg"])
        place = f"{key}: " if key else ""
        raise BadInput(f"{where} is malformed: {place}{said[0].lower()}{said[1:]}. {remedy}") from error
