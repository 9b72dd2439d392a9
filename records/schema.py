"""Checks records read from disk by the types of their dataclass: one door, and one sentence for what is malformed.

check_schema(Artifact, record, "artifact …: manifest.json", "Convert it again.")
"""

import json
from typing import Any

from records.errors import BadInput


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
        key = ".".join(str(part) for part in problem["loc"])
        said = str(problem["msg"])
        place = f"{key}: " if key else ""
        raise BadInput(f"{where} is malformed: {place}{said[0].lower()}{said[1:]}. {remedy}") from error
