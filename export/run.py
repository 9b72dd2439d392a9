"""A run as the later rooms need it: its folder, its checkpoint, its artifacts and the record of what was asked for.

run = Run.open("digits")
run.artifact("onnx/int8").path
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.artifact import Artifact, remedy
from pipeline.checkpoint import Checkpoint
from records.errors import BadInput, room_for, shortened
from records.folder import latest_run, run_folder
from records.schema import check_schema, read_json
from records.tensor import preparations

EXPECTED = "expected.json"
"""File in `artifacts/`: every conversion that was ever asked for, so that a failed one is noticed as missing."""
KEEP_FLOAT, KEEP_16 = "keep_float", "keep_16"
"""Files in `artifacts/`, with .json: the layers that are to stay in float32, or to have 16 bits, by conversion."""
RECORDS = frozenset({EXPECTED, f"{KEEP_FLOAT}.json", f"{KEEP_16}.json"})
"""All files in `artifacts/`; what else lies there is an artifact's."""


@dataclass(frozen=True)
class Run:
    """A run's folder with its checkpoint, as the later rooms need it."""

    folder: Path
    checkpoint: Checkpoint

    @classmethod
    def open(cls, name: str) -> "Run":
        """Return the run of that name (empty: the latest one), its checkpoint verified. Raises BadInput."""
        folder = run_folder(name or latest_run())
        return cls(folder, Checkpoint.open(folder / "checkpoint"))

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.folder.name

    def place(self, conversion: str) -> Path:
        """Return the folder where the artifact of a conversion (`onnx/int8`) belongs."""
        return self.folder / "artifacts" / conversion

    def holds(self, conversion: str) -> bool:
        """True if there is something in the folder of its artifact; a failed conversion leaves nothing."""
        place = self.place(conversion)
        return place.is_dir() and any(place.iterdir())

    def log(self, stage: str, name: str) -> Path:
        """Return the file that keeps what a worker prints."""
        return self.folder / "logs" / stage / f"{name.replace('/', '-')}.log"

    def expected(self) -> list[str]:
        """Return the names of the conversions that were asked for so far."""
        names: list[str] = self._remembered(EXPECTED, list[str], [])
        return names

    def expect(self, names: Iterable[str]) -> None:
        """Remember that these conversions were asked for."""
        self._remember(EXPECTED, list(dict.fromkeys([*self.expected(), *names])))

    def kept(self, conversion: str, how: str = KEEP_FLOAT) -> list[str]:
        """Return the layers of a conversion that stay in float32, or have 16 bits: paths of modules, or auto."""
        return self._kept(how).get(conversion, [])

    def keep(self, conversions: Iterable[str], modules: Iterable[str], how: str = KEEP_FLOAT) -> None:
        """Remember that these modules are to stay in float32, or to have 16 bits; none: that none is any longer."""
        modules = list(modules)
        self._remember(f"{how}.json", {**self._kept(how), **dict.fromkeys(conversions, modules)})

    def _kept(self, how: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = self._remembered(f"{how}.json", dict[str, list[str]], {})
        return found

    def _remembered(self, name: str, kind: Any, empty: Any) -> Any:
        path, remedy = self.folder / "artifacts" / name, f"Remove it and run: anywhere export {self.name}."
        record = read_json(path, str(path), remedy) if path.is_file() else empty
        check_schema(kind, record, str(path), remedy)
        return record

    def _remember(self, name: str, value: Any) -> None:
        path = self.folder / "artifacts" / name
        with room_for(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            new.write_text(json.dumps(value), encoding="utf-8")
            new.rename(path)

    def artifact(self, conversion: str) -> Artifact:
        """Return the verified artifact of a conversion.

        Raises BadInput if it was not made from this very checkpoint.
        """
        artifact = Artifact.open(self.place(conversion))
        if artifact.name != conversion:
            raise BadInput(
                f"artifact {artifact.folder}: its manifest says {shortened(artifact.name)}. {remedy(artifact.folder)}"
            )
        if artifact.checkpoint_sha256 != self.checkpoint.sha256:
            raise BadInput(
                f"artifact {artifact.folder}: made from another checkpoint ({artifact.checkpoint_sha256[:12]}) "
                f"than {self.checkpoint.folder} "
                f"holds ({self.checkpoint.sha256[:12]}). Convert it again: anywhere export {self.name}."
            )
        for field in ("task", "labels", "normalisation", "preparation", "decoding"):
            ours, theirs = (
                preparations(source.inputs) if field == "preparation" else getattr(source, field)
                for source in (artifact, self.checkpoint)
            )
            if ours != theirs:
                raise BadInput(
                    f"artifact {artifact.folder}: its manifest has other {field} than {self.checkpoint.folder}. "
                    f"{remedy(artifact.folder)}"
                )
        return artifact
