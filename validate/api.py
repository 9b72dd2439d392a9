"""The verbs of the command line for Python: what a notebook types.

    import anywhere
    run = anywhere.adopt(model, images="val/")
    run.export(to=["tflite", "tfjs"], precision=["float32", "int8"])
    run.validate().raise_for_failure()

Importing it imports no torch. The model is captured in this very process; everything after that runs in others.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

    from export.convert import Outcome
    from pipeline.checkpoint import Checkpoint
    from validate.predict import Predicted
    from validate.report.shown import ShownReport


@dataclass(frozen=True)
class Run:
    """A run by its name: a folder in `runs/` of the current folder."""

    name: str

    @property
    def folder(self) -> Path:
        """Return the run's folder."""
        from records.folder import run_folder

        return run_folder(self.name)

    @property
    def checkpoint(self) -> "Checkpoint":
        """Return its checkpoint, verified. Raises BadInput."""
        from pipeline.checkpoint import Checkpoint

        return Checkpoint.open(self.folder / "checkpoint")

    def export(
        self,
        to: Sequence[str] = (),
        precision: Sequence[str] = (),
        jobs: int = 2,
        force: bool = False,
        tell: Any = print,
    ) -> "list[Outcome]":
        """Convert the checkpoint to these targets and precisions; none: to all there are. Return an outcome of each.

        A failed conversion is an outcome, too, and a blocking row of the report. tell: is given each sentence about a
        conversion: why it failed, or what it noticed. Raises BadInput.
        """
        from export.convert import convert
        from export.run import Run as Opened
        from export.target import find, plan
        from records.folder import exclusive

        opened = Opened.open(self.name)
        with exclusive(opened.folder):
            outcomes = convert(opened, plan(find(), to, precision, opened.checkpoint.task), jobs, force, lambda _: None)
        for sentence in (sentence for outcome in outcomes for sentence in outcome.told):
            tell(sentence)
        return outcomes

    def validate(self, localise: bool = False, jobs: int = 1, decisions: int = 0) -> "ShownReport":
        """Run every artifact in every runtime, write the report, and return it. Raises BadInput.

        decisions: held-out samples beyond golden to judge decisions of integers on, too.
        """
        from export.run import Run as Opened
        from records.folder import exclusive
        from validate import parity
        from validate.measure import Options
        from validate.report import publish
        from validate.report.shown import ShownReport
        from validate.runtimes import runner
        from validate.settings import ValidateConfig
        from workers.executor import Local

        opened = Opened.open(self.name)
        with exclusive(opened.folder):
            report = parity.check(
                opened,
                runner.find(),
                Options(threads=os.cpu_count() or 1, timed=50, progress=lambda _: None),
                settings=ValidateConfig(decisions=decisions),
                layers=localise,
                executor=Local(jobs),
            )
            publish.publish(report, opened)
        return ShownReport.of(report)

    def predict(self, artifact: str, images: Sequence[str | os.PathLike[str]], runtime: str = "") -> "list[Predicted]":
        """Return what an artifact, such as "tflite/int8", makes of picture files in its own runtime. Raises BadInput.

        runtime: such as "litert builtin"; empty: the first of the artifact's.
        """
        from export.run import Run as Opened
        from validate.predict import predict

        opened = Opened.open(self.name)
        return predict(opened, opened.artifact(artifact), [Path(file) for file in images], runtime)


def adopt(
    model: "nn.Module | str",
    *,
    images: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any] | None = None,
    weights: str | os.PathLike[str] | None = None,
    labels: Sequence[str] = (),
    run: str = "",
    force: bool = False,
    tell: Any = print,
    **wanted: Any,
) -> Run:
    """Adopt a model that was trained elsewhere, and return its run. Raises BadInput.

    model: a module, or a spelling as `anywhere adopt` takes it. images: a folder of pictures, or a CSV of paths and
    classes. inputs: arrays (N, …) by name, a file of them, or a list of calls, each a tuple or a dict of tensors.
    tell: is given each sentence about the model. wanted: further fields of `pipeline.adopt.Wanted`, such as `size`,
    `mean`, `deviation`, `task` or `trust`.
    """
    from pipeline import adopt as adopting
    from pipeline.checkpoint import RECORD
    from records.folder import exclusive, run_folder

    spelling = model if isinstance(model, str) else f"{type(model).__module__}:{type(model).__qualname__}"
    place = run_folder(run or adopting.run_name(spelling))
    if (place / "checkpoint" / RECORD).is_file() and not force:
        raise BadInput(f"run {place.name}: has a checkpoint. Give another run, or replace it with force=True.")
    calls = inputs if isinstance(inputs, (list, tuple)) else ()
    given: Any = Path(inputs) if isinstance(inputs, (str, os.PathLike)) else inputs
    asked = adopting.Wanted(
        images=Path(images) if images is not None else None,
        inputs=None if calls else given,
        calls=calls,
        labels=tuple(labels),
        weights=Path(weights) if weights is not None else None,
        **wanted,
    )
    with exclusive(place):
        if isinstance(model, str):
            built, loaded = adopting.build(model, asked)
            adopting.adopt(built.module, asked, place, spelling, tell, built.declared, built.labels, loaded)
        else:
            adopting.adopt(model, asked, place, spelling, tell, loaded=adopting.load(model, asked))
    return Run(place.name)
