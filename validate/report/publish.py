"""A report's files, all of one report: written beside their places, and renamed when all of them are there.

    publish(report, run)                   # runs/digits/report/: report.json, .html, .md, junit.xml, reproduce/
    publish(read(run), run)                # anew, without measuring anything

A full disk leaves the old ones.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from safetensors import safe_open

from export.run import Run
from records.errors import BadInput, room_for
from validate.report import page, page_decisions, pictures, records, reproduce, summary
from validate.report.records import Report
from validate.runtimes import runner

RECORD, SCRIPTS = "report.json", "reproduce"


def publish(made: Report, run: Run) -> list[Path]:
    """What was written, the scripts' folder last if there are any. Raises NoRoom."""
    folder = run.folder / "report"
    new = folder / ".new"
    with room_for(folder):
        shutil.rmtree(new, ignore_errors=True)
        try:
            (new / SCRIPTS).mkdir(parents=True)
            records.write(made, new / RECORD)
            texts = {
                "report.html": page.render(made, images(run, page_decisions.chosen(made))),
                "report.md": summary.markdown(made),
                "junit.xml": summary.junit(made),
                **{f"{SCRIPTS}/{name}": text for name, text in reproduce.scripts(made, run).items()},
            }
            for name, text in texts.items():
                (new / name).write_bytes(text.encode("utf-8", "replace"))
            return _move(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _move(new: Path, folder: Path) -> list[Path]:
    """Into their places; scripts of an earlier report go."""
    shutil.rmtree(folder / SCRIPTS, ignore_errors=True)
    if not any((new / SCRIPTS).iterdir()):
        (new / SCRIPTS).rmdir()
    return [path.replace(folder / path.name) for path in sorted(new.iterdir(), key=lambda path: path.is_dir())]


def images(run: Run, indices: Iterable[int]) -> dict[int, bytes]:
    """Golden inputs as PNG; none, where the model takes no image."""
    image = next((one for one in run.checkpoint.inputs if one.layout == "NCHW" and one.channels == "RGB"), None)
    if image is None:
        return {}
    with safe_open(run.checkpoint.folder / "golden.safetensors", framework="numpy") as golden:
        samples = golden.get_slice(f"input.{image.name}")
        return {index: pictures.png(samples[index : index + 1][0]) for index in indices}


def read(run: Run) -> Report:
    """The run's report, if it is whole and of what the run holds. Raises BadInput."""
    path = run.folder / "report" / RECORD
    again = f"Validate again: anywhere validate {run.name}."
    if not path.is_file():
        raise BadInput(f"report {path}: there is none. Validate first: anywhere validate {run.name}.")
    found = records.read(path)
    if found.checkpoint_sha256 != run.checkpoint.sha256:
        raise BadInput(
            f"report {path}: of another checkpoint ({found.checkpoint_sha256[:12]}) than {run.checkpoint.folder} holds "
            f"({run.checkpoint.sha256[:12]}). {again}"
        )
    known = {one.name for one in found.results}
    missing = [row for row in _rows(run) if row not in known]
    if missing:
        others = f" nor {len(missing) - 1} others" if len(missing) > 1 else ""
        raise BadInput(f'report {path}: has no row "{missing[0]}"{others} of what was exported. {again}')
    return found


def _rows(run: Run) -> list[str]:
    """Every artifact that was asked for, in every runtime of its target."""
    runners = runner.find()
    return [
        f"{name} in {one.runtime} {backend}".rstrip()
        for name in run.expected()
        for one in runners
        if one.target == name.partition("/")[0]
        for backend in one.backends
    ]
