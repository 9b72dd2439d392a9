"""Hashes of files, of samples and of records; a record carries its own hash, so that an alteration is seen.

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
    """Return the record with its own sha256, computed over its canonical JSON without that field."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return {**body, "sha256": hashlib.sha256(canonical.encode()).hexdigest()}


def is_sealed(record: Any) -> bool:
    """True if a record read from disk is unchanged since `seal`."""
    try:
        return isinstance(record, dict) and record.get("sha256") == seal(record)["sha256"]
    except RecursionError:  # lists within lists, just as many as could be read
        return False


def fingerprints(samples: Iterable[Array]) -> list[str]:
    """Return a hash of each sample of (N, …), by its values alone: 16 hexadecimal digits each."""
    return [hashlib.sha256(sample.tobytes()).hexdigest()[:16] for sample in samples]


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
