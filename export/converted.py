"""The answer of a target's `convert`, checked before anything else uses it.

converted = Converted.read(done.value, folder)         # raises ValueError for a malformed answer
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from records.tensor import Tensor, tensors_from

KEYS = {"entry", "findings", "details", "inputs", "outputs"}


@dataclass(frozen=True)
class Converted:
    """The files of a finished conversion and what there is to say about them."""

    entry: str
    """The file or folder a runtime loads, relative to the artifact's folder."""
    findings: tuple[str, ...] = ()
    """Sentences for the user."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Facts for the manifest."""
    inputs: tuple[Tensor, ...] | None = None
    """None: as the checkpoint has them."""
    outputs: tuple[Tensor, ...] | None = None
    """None: likewise."""

    @classmethod
    def read(cls, answer: Any, folder: Path) -> "Converted":
        """Return the checked answer of `convert`, which has written into the folder.

        Raises ValueError if it is malformed.
        """
        record = answer if isinstance(answer, Mapping) else {}
        entry = record.get("entry")
        if not isinstance(entry, str) or not (folder / entry).exists():
            raise ValueError(f"the conversion ended without an error but wrote no {entry or 'entry'}")
        if unknown_keys := sorted(map(str, set(record) - KEYS)):
            raise ValueError(f"the conversion answers {', '.join(unknown_keys)}, and nobody asks for that")
        findings, details = record.get("findings", []), record.get("details", {})
        if not isinstance(findings, list) or not all(isinstance(finding, str) for finding in findings):
            raise ValueError(f"the conversion's findings are no sentences: {findings!r}")
        if not isinstance(details, Mapping):
            raise ValueError(f"the conversion's details are no facts by name: {details!r}")
        return cls(entry, tuple(findings), details, _tensors(record, "inputs"), _tensors(record, "outputs"))


def _tensors(record: Mapping[str, Any], side: str) -> tuple[Tensor, ...] | None:
    if side not in record:
        return None
    try:
        return tensors_from(record[side])
    except (TypeError, ValueError) as error:
        raise ValueError(f"the conversion's {side} are no tensors: {error}") from error
