"""Where artifacts are broken on purpose and run: a copy of a run, and one live worker a toolchain and environment.

    with Bench(Path("runs/mutants")) as bench:
        outcome = bench.examine(mutant)        # broken, sealed, run in its real runtime, judged; then put back

A worker that a mutant kills takes nobody along: the next job has a new one. To be used in the folder that holds
`runs/`, for workers import the network from there.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from export import artifact as artifacts
from export.artifact import Artifact
from export.run import Run
from export.target import Workplace
from export.target import constants as constants_of
from measures.distance import sqnr_db
from pipeline.checkpoint import Checkpoint
from records.errors import BadInput
from records.golden import Actual
from records.tensor import Arrays
from validate import parity
from validate.localise import localise
from validate.measure import Options, outputs_file
from validate.plan import Runtime
from validate.report.records import Localisation, Report, Result
from validate.runtimes import runner
from validate.settings import ValidateConfig
from workers import registry
from workers.toolchain import Toolchain
from workers.worker import Worker, WorkerFailed

FORMATS = Path(__file__).with_name("formats")
"""One file a target, run in a toolchain: takes an artifact apart and puts it together again."""
ELSEWHERE = ("* litert_arm64", "* chromium *", "* ort_web *", "* litertjs *")
"""Rows that are not run here: browsers and emulation are slow, and compute what the others do."""
LIMIT_S = 120.0
SEED = 1
"""Of the inputs that are made anew, whose outputs are then asked for once."""


class Workers:
    """One live worker a toolchain and environment, for one job after the other."""

    def __init__(self, log: Path):
        self.log = log
        self.toolchains = registry.find()
        self._alive: dict[Workplace, Worker] = {}

    def take(self, chain: Toolchain, environment: Mapping[str, str]) -> Worker:
        """The toolchain's worker that has these variables; a new one where the last one died."""
        place = Workplace.of(chain.name, environment)
        worker = self._alive.get(place)
        if worker is None or not worker.alive:
            chain.build()
            worker = self._alive[place] = chain.start(self.log, [], {**environment, "OMP_NUM_THREADS": "1"})
        return worker

    @contextmanager
    def start(self, place: Runtime, log: Path, threads: int) -> Iterator[Worker]:
        """As `parity.check` wants it. WebAssembly that failed is not asked again: it leaves its memory as it is."""
        worker = self.take(place.toolchain, place.environment)
        try:
            yield worker
        except WorkerFailed:
            if place.runner.file.suffix == ".mjs":
                worker.close()
            raise

    def call(self, file: Path, function: str, arguments: dict[str, Any]) -> Any:
        """A function of a file, in the toolchain and environment that the file names."""
        named = constants_of(file)
        worker = self.take(self.toolchains[named["TOOLCHAIN"]], named.get("ENVIRONMENT", {}))
        return worker.call(file, function, arguments, self.log, LIMIT_S).value

    def close(self) -> None:
        """End all of them."""
        for worker in self._alive.values():
            worker.close()


@dataclass
class Opened:
    """An artifact that is about to become a mutant."""

    run: Run
    artifact: Artifact
    workers: Workers
    scratch: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    """What the manifest is to say otherwise."""

    def edit(self, function: str, **arguments: Any) -> None:
        """By a function of the target's file in `formats/`."""
        self.call(f"{self.artifact.target}.py", function, path=str(self.artifact.path.absolute()), **arguments)

    def convert(self, alteration: str) -> None:
        """Anew, of an altered model."""
        self.call(
            "altered.py",
            "convert",
            alteration=alteration,
            checkpoint=str(self.run.checkpoint.folder.absolute()),
            target=self.artifact.target,
            precision=self.artifact.precision,
            out=str(self.artifact.folder.absolute()),
        )

    def call(self, file: str, function: str, **arguments: Any) -> None:
        """A function of a file in `formats/`."""
        self.workers.call(FORMATS / file, function, arguments)

    @contextmanager
    def constants(self) -> Iterator[Arrays]:
        """By name; those that are other arrays afterwards are written back."""
        file = self.scratch / "constants.safetensors"
        self.edit("read", out=str(file.absolute()))
        before = load_file(file)
        after = dict(before)
        yield after
        _save({name: after[name] for name in after if after[name] is not before[name]}, file)
        self.edit("write", changed=str(file.absolute()))


def _save(values: Arrays, file: Path) -> None:
    assert values, "nothing was changed"
    save_file({name: np.asarray(value, order="C") for name, value in values.items()}, file)


Change = Callable[[Opened], None]


@dataclass(frozen=True)
class Mutant:
    """One artifact, broken in one way."""

    name: str
    """What is wrong: `one class's row swapped`."""
    artifact: str
    """`tflite/int8`."""
    where: str
    """Runtime and backend that it is run in: `litert xnnpack`."""
    change: Change
    because: str
    """Must be among the reasons: the measure or the phrase that tells what is wrong."""
    layer: str = ""
    """The PyTorch module whose weights were changed, where it is one only."""
    sealed: bool = True
    """Whether the manifest was written afterwards, as a conversion would have."""

    @property
    def localisable(self) -> bool:
        """Whether one layer is at fault, and the inside can be read."""
        return bool(self.layer) and self.artifact.partition("/")[0] in localise.readable()

    @property
    def row(self) -> str:
        """`tflite/int8 in litert xnnpack`."""
        return f"{self.artifact} in {self.where}"

    @property
    def title(self) -> str:
        """Unique."""
        return f"{self.name}: {self.row}"


@dataclass(frozen=True)
class Effect:
    """How much a mutant changes."""

    own_db: float
    """SQNR against the good artifact's own outputs."""
    golden_db: float
    changed: int
    """Decisions that are not golden's."""
    samples: int


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    said: str
    """Why it was refused or failed; empty: it passed."""
    effect: Effect | None
    """None: it gave no outputs."""
    localisation: Localisation | None = None
    """Where one layer is at fault: what was found to be."""

    @property
    def caught(self) -> bool:
        """For whatever reason."""
        return bool(self.said)

    @property
    def as_expected(self) -> bool:
        """For the reason that the mutant states."""
        return self.caught and self.mutant.because in self.said

    @property
    def localised(self) -> bool:
        """Whether the layer at fault was found."""
        culprit = self.localisation.culprit if self.localisation else None
        return culprit is not None and self.mutant.layer in culprit.modules


class Bench:
    """A run whose artifacts are broken one at a time."""

    def __init__(self, folder: Path):
        self.run = Run(folder, Checkpoint.open(folder / "checkpoint"))
        self.workers = Workers(folder / "logs" / "bench.log")
        self.runners = runner.find()
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self._examined: dict[str, Outcome] = {}
        shutil.copytree(folder / "artifacts", self.scratch / "good")
        self.good = {result.name: result for result in self.check().results}
        self.outputs = {name: self.given(result) for name, result in self.good.items() if result.samples}

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close()

    def check(self, *only: str) -> Report:
        """As `anywhere validate` does it, but for whose processes. Raises BadInput."""
        settings = ValidateConfig(only=only, leave_out=ELSEWHERE, seed=SEED)
        chains = self.workers.toolchains
        return parity.check(self.run, self.runners, Options(1, timed=3, start=self.workers.start), chains, settings)

    def given(self, result: Result) -> Arrays:
        """What a row's runtime gave."""
        assert result.log
        return Actual.of(load_file(outputs_file(self.run, result.log))).golden

    def examine(self, mutant: Mutant) -> Outcome:
        """Break the artifact, have it judged, look for the layer at fault, put it back. Once."""
        if mutant.title not in self._examined:
            known = self.reference if mutant.localisable else None
            with self.broken(mutant):
                outcome = self._judged(mutant)
                found = self._localised(mutant, known) if known else None
            self._examined[mutant.title] = dataclasses.replace(outcome, localisation=found)
        return self._examined[mutant.title]

    @cached_property
    def reference(self) -> localise.Reference:
        """The network as it should be, of what is good."""
        return localise.reference(self.run, self.workers.toolchains, self._start)

    def _localised(self, mutant: Mutant, known: localise.Reference) -> Localisation:
        """As `anywhere validate --localise` does it. Between modules the reference is ONNX, broken where that is."""
        chains = self.workers.toolchains
        if mutant.artifact == localise.ONNX:
            known = localise.reference(self.run, chains, self._start)
        return localise.localise(self.run, self.run.artifact(mutant.artifact), known, chains, self._start)

    def _start(self, chain: Toolchain, file: Path, log: Path) -> AbstractContextManager[Worker]:
        return nullcontext(self.workers.take(chain, constants_of(file).get("ENVIRONMENT", {})))

    @contextmanager
    def broken(self, mutant: Mutant) -> Iterator[None]:
        """With the artifact broken."""
        place = self.run.place(mutant.artifact)
        try:
            opened = Opened(self.run, self.run.artifact(mutant.artifact), self.workers, self.scratch)
            mutant.change(opened)
            if mutant.sealed:
                seal(place, **opened.manifest)
            yield
        finally:
            shutil.rmtree(place)
            shutil.copytree(self.scratch / "good" / mutant.artifact, place)

    def _judged(self, mutant: Mutant) -> Outcome:
        try:
            report = self.check(mutant.row)
        except BadInput as error:
            return Outcome(mutant, str(error), None)
        (result,) = (one for one in report.results if one.name == mutant.row)
        assert (report.exit_status == 0) == (result.status == "pass"), result
        return Outcome(mutant, result.reason, self._effect(result))

    def _effect(self, result: Result) -> Effect | None:
        if not result.outputs or any(one.sqnr_db is None for one in result.outputs):
            return None
        ours, own = self.given(result), self.outputs[result.name]
        assert result.agreement
        return Effect(
            min(sqnr_db(ours[name].astype(np.float64), own[name].astype(np.float64)) for name in own),
            min(one.sqnr_db for one in result.outputs if one.sqnr_db is not None),
            sum(one.count for one in result.decisions if one.golden != one.actual),
            result.samples,
        )


def seal(place: Path, **changes: Any) -> None:
    """Write the manifest anew, as if the conversion had made what is there."""
    record = json.loads((place / artifacts.MANIFEST).read_text())
    names = [str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()]
    files = {name: artifacts.sha256_of_file(place / name) for name in names if name != artifacts.MANIFEST}
    (place / artifacts.MANIFEST).write_text(json.dumps(artifacts.seal(record | {"files": files} | changes)))
