"""What a TorchScript or `.pt2` file says beside its graph: the extra files in its archive."""

import zipfile
from pathlib import Path

from export.interfaces import Interface

EXTRA = "extra"
"""Folder of the extra files, below the archive's own."""
LIMIT = 2**20
"""Bytes that an extra file may have: labels are a few thousand."""
WORDS = {"checkpoint_sha256", "labels.txt"}


def read(path: Path) -> Interface:
    """Return the labels and the checkpoint's sha256 in an archive. Raises ValueError and alike."""
    facts: dict[str, object] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            parts = entry.filename.split("/")
            name = parts[-1]
            if EXTRA not in parts[:-1] or name not in WORDS:
                continue
            if entry.file_size > LIMIT:
                raise ValueError(f"{entry.filename} has {entry.file_size:,} bytes")
            text = archive.read(entry).decode()
            facts |= {"labels": text.split("\n") if text else []} if name == "labels.txt" else {name: text}
    return Interface(facts=facts)
