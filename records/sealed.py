"""Hashes: of files, of samples, and of a record that carries its own, so that what was altered is seen.

record = seal({"format": 1, …})            # with "sha256"
is_sealed(json.loads(text))
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from records.tensor import Array


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its own sha256: of its canonical JSON without that field."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return {**body, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}


def is_sealed(record: Any) -> bool:
    """Whether a record read from disk is the one that was sealed."""
    return isinstance(record, dict) and record.get("sha256") == seal(record)["sha256"]


def fingerprints(samples: Iterable[Array]) -> list[str]:
    """A hash of each sample of (N, …), by its values alone: 16 hexadecimal digits."""
    return [hashlib.sha256(sample.tobytes()).hexdigest()[:16] for sample in samples]


def sha256_of_file(path: Path) -> str:
    """In hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
