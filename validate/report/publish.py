"""Writes a report's files, all of one report: beside their places, and renamed when all of them are there.

    publish(report, run)                   # runs/digits/report/: report.json, .html, .md, junit.xml, reproduce/
    publish(read(run), run)                # anew, without measuring anything

A full disk leaves the old ones.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from export.run import Run
from measures import tasks
from records.errors import BadInput, room_for
from records.golden import Golden
from validate.report import drawn, page, page_decisions, pictures, records, reproduce, summary
from validate.report.records import Report
from validate.runtimes import runner

RECORD, SCRIPTS = "report.json", "reproduce"


def publish(report: Report, run: Run) -> list[Path]:
    """Write the report's files and return their paths, the scripts' folder last if there are any. Raises NoRoom."""
    folder = run.folder / "report"
    new = folder / ".new"
    with room_for(folder):
        shutil.rmtree(new, ignore_errors=True)
        try:
            (new / SCRIPTS).mkdir(parents=True)
            records.write(report, new / RECORD)
            golden = run.checkpoint.golden()
            inputs = images(run, page_decisions.chosen(report), golden)
            texts = {
                "report.html": page.render(report, inputs, drawn.draw(report, run, golden)),
                "report.md": summary.markdown(report),
                "junit.xml": summary.junit(report),
                **{f"{SCRIPTS}/{name}": text for name, text in reproduce.scripts(report, run).items()},
            }
            for name, text in texts.items():
                (new / name).write_bytes(text.encode("utf-8", "replace"))
            return _move(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def scripts(made: Report, run: Run) -> list[Path]:
    """Write the scripts of the failed rows of a report that is not published: → their paths. Raises NoRoom."""
    folder = run.folder / "report" / SCRIPTS
    with room_for(folder):
        texts = reproduce.scripts(made, run)
        if texts:
            folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            new = folder / f".{name}.new"
            new.write_bytes(text.encode("utf-8", "replace"))
            new.replace(folder / name)
        return [folder / name for name in texts]


def _move(new: Path, folder: Path) -> list[Path]:
    """Move the files into their places and return their paths; scripts of an earlier report are removed."""
    shutil.rmtree(folder / SCRIPTS, ignore_errors=True)
    if not any((new / SCRIPTS).iterdir()):
        (new / SCRIPTS).rmdir()
    return [path.replace(folder / path.name) for path in sorted(new.iterdir(), key=lambda path: path.is_dir())]


def images(run: Run, indices: Iterable[int], golden: Golden) -> dict[int, bytes]:
    """Return golden inputs as PNG files, golden's decision drawn on each; none, where the model takes no image."""
    image, task = drawn.image_of(run.checkpoint.inputs), tasks.load(run.checkpoint.task)
    if image is None:
        return {}
    labels, inputs = run.checkpoint.labels, golden.inputs[image.name]

    def png(index: int) -> bytes:
        outputs = {name: values[index] for name, values in golden.outputs.items()}
        return pictures.png(task.draw(pictures.pixels(inputs[index]), outputs, labels))

    return {index: png(index) for index in sorted(indices)}


def read(run: Run) -> Report:
    """Return the run's report, if it is whole and of what the run holds. Raises BadInput."""
    path = run.folder / "report" / RECORD
    remedy = f"Validate again: anywhere validate {run.name}."
    if not path.is_file():
        raise BadInput(f"report {path}: there is none. Validate first: anywhere validate {run.name}.")
    report = records.read(path)
    if report.checkpoint_sha256 != run.checkpoint.sha256:
        raise BadInput(
            f"report {path}: of another checkpoint ({report.checkpoint_sha256[:12]}) than {run.checkpoint.folder} "
            f"holds ({run.checkpoint.sha256[:12]}). {remedy}"
        )
    if report.verdict != (follows := records.verdict(report.results)):
        raise BadInput(f"report {path}: says {report.verdict}, but its rows say {follows}. {remedy}")
    report_rows = {result.name for result in report.results}
    missing = [row for row in _rows(run) if row not in report_rows]
    if missing:
        more = f" nor {len(missing) - 1} others" if len(missing) > 1 else ""
        raise BadInput(f'report {path}: has no row "{missing[0]}"{more} of what was exported. {remedy}')
    return report


def _rows(run: Run) -> list[str]:
    """Return the names of all rows: every artifact that was asked for, in every runtime of its target."""
    runners = runner.find()
    return [
        f"{name} in {item.runtime} {backend}".rstrip()
        for name in run.expected()
        for item in runners
        if item.target == name.partition("/")[0]
        for backend in item.backends
    ]
