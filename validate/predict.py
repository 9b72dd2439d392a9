"""Runs an artifact in its own runtime on pictures of the user's, prepared as an app has to.

    results = predict(run, artifact, [Path("photo.jpg")], "litert xnnpack")
    results[0].words                           # ["espresso 0.99", "coffee mug 0.01"]
    results[0].drawn                           # (H, W, 3) uint8

The same runner that is judged by golden runs the pictures: what is shown here is what was proved.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from export.artifact import Artifact
from export.run import Run
from measures import tasks
from records.errors import BadInput
from records.golden import INPUT, Actual, flat
from records.tensor import Array
from validate.measure import described, in_its_own_process
from validate.plan import Runtime
from validate.preparation.prepare import prepare
from validate.report.pictures import pixels
from validate.runtimes import runner
from validate.runtimes.job import Budget, Job, Measured
from workers import registry
from workers.worker import WorkerFailed


@dataclass(frozen=True)
class Predicted:
    """What an artifact makes of a picture."""

    file: Path
    words: list[str]
    """The decision in words, the surest first; none: the task decides nothing."""
    drawn: Array
    """(H, W, 3) uint8: the input with the decision drawn on it."""
    outputs: dict[str, Array]
    """(…) by name, as the checkpoint has them."""


def places(artifact: Artifact) -> list[Runtime]:
    """Return the runtimes that this machine has for an artifact."""
    chains = registry.find()
    every = [
        Runtime(one, backend, chains[one.toolchain])
        for one in runner.find()
        if one.target == artifact.target
        for backend in one.backends
    ]
    return [place for place in every if not place.absent(build=True)]


def choose(artifact: Artifact, name: str) -> Runtime:
    """Return the runtime of that name, `litert xnnpack`; empty: the first of the artifact's. Raises BadInput."""
    there = places(artifact)
    for place in there:
        if not name or name in {place.name, place.runner.runtime}:
            return place
    known = ", ".join(place.name for place in there) or "none"
    raise BadInput(f"{artifact.name}: no runtime {name!r} here. There is {known}. Give another --runtime.")


def predict(run: Run, artifact: Artifact, files: Sequence[Path], runtime: str = "") -> list[Predicted]:
    """Return what an artifact makes of picture files. Raises BadInput."""
    place, task = choose(artifact, runtime), tasks.load(artifact.task)
    image = next((tensor for tensor in artifact.inputs if tensor.preparation), None)
    if image is None or len(artifact.inputs) > 1:
        raise BadInput(f"{artifact.name}: takes no picture alone, so none can be given to it.")
    assert image.preparation
    prepared = {}
    for file in files:
        try:
            prepared[file] = prepare(file.read_bytes(), image.preparation)[0]
        except (OSError, ValueError) as error:
            raise BadInput(f"image {file}: {error}. Give another one.") from error
    actual = _run(run, artifact, place, image.name, list(prepared.values()))
    return [
        Predicted(
            file,
            task.told({name: values[index] for name, values in actual.items()}, artifact.labels),
            task.draw(pixels(pictured), {name: values[index] for name, values in actual.items()}, artifact.labels),
            {name: values[index] for name, values in actual.items()},
        )
        for index, (file, pictured) in enumerate(prepared.items())
    ]


def _run(run: Run, artifact: Artifact, place: Runtime, name: str, inputs: Sequence[Array]) -> dict[str, Array]:
    """Return the outputs (N, …) of a runtime for prepared inputs (3, H, W). Raises BadInput."""
    log = run.log("predict", f"{artifact.target}_{artifact.precision}_{place.runner.runtime}")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "inputs.safetensors", Path(folder) / "outputs.safetensors"
        save_file(flat({INPUT: {name: np.stack(inputs)}}), given)
        job = Job(
            runner=place.runner.file,
            path=artifact.path,
            manifest=described(artifact),
            golden=given,
            out=out,
            samples=len(inputs),
            threads=1,
            backend=place.backend,
            budget=Budget(timed=0, warm_up=0, collect_s=place.runner.limit_s),
        )
        try:
            with in_its_own_process(place, log, 1) as worker:
                done = worker.call(place.runner.harness, "measure", job.record(), log, place.runner.limit_s)
            Measured.read(done.value)
        except (WorkerFailed, ValueError) as error:
            first = str(error).partition("\n")[0]
            raise BadInput(f"{artifact.name} in {place.name}: {first}. See {log}.") from error
        return dict(Actual.of(load_file(out)).golden)
