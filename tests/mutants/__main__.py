"""The examination, for people: which mutants are caught by what, which are not and what they change, false alarms.

make mutants                               # all of it: tens of minutes, most of them for the ten good models
python -m tests.mutants --models 0         # the mutants alone: minutes
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutants import attacks, false_alarms, importing
from tests.mutants.bench import Bench, Outcome
from tests.mutants.catalogue import MUTANTS, UNCAUGHT
from tests.mutants.workplace import prepare

WIDTH = 190
"""Columns of the tables, whatever the terminal has."""


def main() -> int:
    """0 where every mutant that is not on the list of the uncaught is caught for its reason."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--models", type=int, default=len(false_alarms.MODELS), help="good models; 0: mutants alone")
    asked.add_argument("--in", dest="place", type=Path, help="where runs are kept: what is trained is not again")
    given, console = asked.parse_args(), Console(width=WIDTH)
    started = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, chdir(folder):
        outcomes = examined(Path(folder), tell)
    show(console, outcomes)
    if given.models:
        with tempfile.TemporaryDirectory(prefix="models-") as folder:
            place = (given.place or Path(folder)).absolute()
            place.mkdir(parents=True, exist_ok=True)
            with chdir(place):
                show_alarms(console, false_alarms.measure(given.models, place, tell))
    return 0 if all(one.as_expected or one.mutant.title in UNCAUGHT for one in outcomes) else 1


def examined(place: Path, tell: false_alarms.Tell) -> list[Outcome]:
    """Every mutant's outcome."""
    tell("the small network: training and exporting …")
    with Bench(prepare(place)) as bench:
        every = (*MUTANTS, *attacks.MUTANTS)
        tell(f"{len(every)} mutants …")
        outcomes = [bench.examine(mutant) for mutant in every]
    tell("the importer's network: training and exporting …")
    with Bench(prepare(place, importing.MODEL, importing.TARGETS)) as bench:
        tell(f"{len(importing.MUTANTS)} mutants …")
        return outcomes + [bench.examine(mutant) for mutant in importing.MUTANTS]


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Both tables and the score."""
    caught = [one for one in outcomes if one.caught]
    rows = Table("mutant", "artifact", "caught by", "layer", box=None, pad_edge=False)
    for one in caught:
        reason = one.mutant.because if one.as_expected else f"NOT {one.mutant.because}, BUT {one.said[:60]}"
        rows.add_row(one.mutant.name, one.mutant.row, reason, one.mutant.layer)
    console.print(rows)
    missed = Table(
        "not caught", "artifact", "dB own", "dB golden", "decisions", "for", "layer", box=None, pad_edge=False
    )
    for one in outcomes:
        if not one.caught and one.effect:
            changed = f"{one.effect.changed} of {one.effect.samples}"
            why = UNCAUGHT.get(one.mutant.title, "NOT RECORDED")
            numbers = f"{one.effect.own_db:.1f}", f"{one.effect.golden_db:.1f}", changed
            missed.add_row(one.mutant.name, one.mutant.row, *numbers, why, one.mutant.layer)
    console.print(missed)
    console.print(f"caught {len(caught)} of {len(outcomes)}", highlight=False)
    read = [one for one in caught if one.localisation and not one.localisation.problem]
    found = sum(one.localised for one in read)
    console.print(
        f"the layer at fault found in {found} of {len(read)} that are caught and can be read", highlight=False
    )


def show_alarms(console: Console, rows: Sequence[false_alarms.Row]) -> None:
    """Where the validator and the criterion differ, and how often."""
    table = Table("model, artifact, runtime", "is", "said", "changed", "fall", "unsure", "dB", "why")
    table.box, table.pad_edge = None, False
    for one in rows:
        if one.good != (one.result.status == "pass"):
            ratio = one.result.outputs[0].sqnr_db if one.result.outputs else None
            shares = (f"{share:.2%}" for share in (one.changed, one.fall, one.unsure))
            decibel = "" if ratio is None else f"{ratio:.1f}"
            status, said = one.result.status, one.result.reason[:90]
            table.add_row(one.title, "good" if one.good else "bad", status, *shares, decibel, said)
    if table.rows:
        console.print(table)
    good, bad = [one for one in rows if one.good], [one for one in rows if not one.good]
    missed = sum(one.result.status == "pass" for one in bad)
    console.print(
        f"false alarms {sum(one.false_alarm for one in good)} of {len(good)}; "
        f"of {len(bad)} that are not good, {missed} passed",
        highlight=False,
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    warnings.filterwarnings("ignore", category=UserWarning)
    sys.exit(main())
