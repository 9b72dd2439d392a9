"""The commands `anywhere validate`, `report`, `targets` and `doctor`: parity, its report, and what this machine has."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from workers.toolchain import Toolchain

ROOM_BYTES = 10 * 10**9
"""Bytes of free disk below which environments and artifacts may not fit."""


def validate(
    run: Annotated[str, typer.Argument(help="Name of the run. Default: the one trained last.")] = "",
    threads: Annotated[int, typer.Option(min=1, help="Threads a runtime may use. Default: up to 4.")] = min(
        4, os.cpu_count() or 1
    ),
    require: Annotated[str, typer.Option(help="installable (default) or all: what is absent fails.")] = "",
    accept: Annotated[
        list[str] | None, typer.Option(help='A row that may be refused: "tflite/int8 in tflite_runtime".')
    ] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help='Rows not to run: "* in chromium webgpu".')] = None,
    only: Annotated[list[str] | None, typer.Option(help="Rows to run, and no others.")] = None,
    calls: Annotated[int, typer.Option(min=0, help="Calls whose latency is taken. Default: 50.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the inputs made anew. Default: another one each time.")] = 0,
    decisions: Annotated[
        int, typer.Option(min=0, help="Held-out samples beyond golden to judge decisions of integers on, too.")
    ] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Rows at a time; latency is taken afterwards, alone.")] = 1,
    localise: Annotated[bool, typer.Option("--localise", help="Find the layer at fault in every artifact.")] = False,
    baseline: Annotated[Path | None, typer.Option(help="An earlier report.json: what got worse is said.")] = None,
    baseline_fails: Annotated[bool, typer.Option("--baseline-fails", help="… and fails.")] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with a section [validate].")] = None,
) -> None:
    """Run every artifact in every runtime and prove parity: runs/RUN/report."""
    from rich.console import Console

    from export.run import Run
    from records.folder import exclusive
    from validate import parity, settings
    from validate.measure import Options
    from validate.report import publish, terminal
    from validate.runtimes import runner
    from workers import registry
    from workers.executor import Local

    console = Console()
    chosen = settings.read(
        config,
        require=require,
        accept=accept or [],
        leave_out=leave_out or [],
        only=only or [],
        baseline_fails=baseline_fails,
        calls=calls,
        seed=seed,
        decisions=decisions,
    )
    opened = Run.open(run)
    with exclusive(opened.folder):
        with console.status("") as status:
            result = parity.check(
                opened,
                runner.find(),
                Options(threads, chosen.calls, lambda text: status.update(f"running {text} …")),
                registry.find(),
                chosen,
                baseline,
                localise,
                Local(jobs),
            )
        console.print(terminal.render(result), soft_wrap=True)
        if chosen.only:
            publish.scripts(result, opened)
            console.print("not written: --only runs some rows, and the report is of all", soft_wrap=True)
        else:
            tell(console, publish.publish(result, opened))
    raise typer.Exit(result.exit_status)


def predict(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="tflite/int8, or the artifact's folder.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Picture files.")],
    run: Annotated[str, typer.Option(help="Name of the run. Default: the one trained last.")] = "",
    runtime: Annotated[str, typer.Option(help='Such as "litert builtin". Default: the target\'s first.')] = "",
    out: Annotated[Path | None, typer.Option(help="Folder of the drawn pictures. Default: in the run.")] = None,
) -> None:
    """Run an artifact on pictures in its own runtime; print what it decides, and write the drawn pictures."""
    from rich.console import Console

    from export.run import Run
    from pipeline.checkpoint import Checkpoint
    from validate.predict import predict as predicted
    from validate.report.pictures import png

    place = Path(artifact)
    if place.is_dir() and place.resolve().parent.parent.name == "artifacts":
        folder, artifact = place.resolve().parents[2], "/".join(place.resolve().parts[-2:])
        opened = Run(folder, Checkpoint.open(folder / "checkpoint"))
    else:
        opened = Run.open(run)
    target = out or opened.folder / "predicted"
    console = Console()
    for result in predicted(opened, opened.artifact(artifact), images, runtime):
        target.mkdir(parents=True, exist_ok=True)
        file = target / f"{result.file.stem}.png"
        file.write_bytes(png(result.drawn, max(result.drawn.shape)))
        decided = ", ".join(result.words) or "nothing"
        console.print(f"{result.file}: {decided} → {file}", highlight=False, markup=False, soft_wrap=True)


def report(run: Annotated[str, typer.Argument(help="Name of the run. Default: the one trained last.")] = "") -> None:
    """Write report.html, report.md and junit.xml anew from report.json; nothing is run."""
    from rich.console import Console

    from export.run import Run
    from validate.report import publish

    opened = Run.open(run)
    tell(Console(), publish.publish(publish.read(opened), opened))


def tell(console: "Console", files: "list[Path]") -> None:
    """Print where a report's files are, on one line."""
    names = ", ".join(f"{path.name}/" if path.is_dir() else path.name for path in files)
    console.print(f"{files[0].parent}: {names}", highlight=False, soft_wrap=True)


def targets() -> None:
    """List targets, precisions and runtimes, and which are ready on this machine."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from export import target
    from validate.runtimes import runner
    from workers import registry

    chains, runners = registry.find(), runner.find()
    rows = Table("target", "precision", "made from", "toolchain", "runtimes", box=None, pad_edge=False)
    for spec in target.find().values():
        target_runners = [item for item in runners if item.target == spec.name]
        for precision, source in spec.sources.items():
            rows.add_row(
                spec.name,
                precision,
                source,
                _ready(chains[spec.toolchain], spec.toolchain),
                Text(", ").join([_ready(chains[item.toolchain], item.runtime) for item in target_runners]),
            )
    Console().print(rows)


def _ready(chain: "Toolchain", name: str) -> "Text":
    from rich.text import Text

    return Text.assemble(name, (" ready", "green") if chain.ready else (" not built", "yellow"))


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor examined."""

    what: str
    state: str
    ok: bool
    fix: str = ""
    """The command that mends it."""
    optional: bool = False
    """A machine without it is complete."""

    @property
    def verdict(self) -> "Text":
        """Return ok, missing or optional, in its colour."""
        from rich.text import Text

        if self.ok:
            return Text("ok", "green")
        return Text("optional", "yellow") if self.optional else Text("missing", "red")


def doctor(fix: Annotated[bool, typer.Option("--fix", help="Build the toolchains that are missing.")] = False) -> None:
    """Say what is missing on this machine, and the command that fixes it."""
    from rich.console import Console
    from rich.table import Table

    from records.errors import Exit

    console = Console()
    if fix:
        _build_all(console)
    findings = list(examine())
    rows = Table("", "", "", "fix", box=None, pad_edge=False, show_header=False)
    for finding in findings:
        rows.add_row(finding.verdict, finding.what, finding.state, finding.fix)
    console.print(rows)
    complete = all(finding.ok or finding.optional for finding in findings)
    raise typer.Exit(Exit.PASSED if complete else Exit.FAILED)


def _build_all(console: "Console") -> None:
    """Build every toolchain; of the optional ones, those for which this machine has what they need. Raises BadInput."""
    from records.errors import BadInput
    from workers import registry

    for chain in registry.find().values():
        if chain.ready or (chain.optional and chain.missing):
            continue
        with console.status(f"building toolchain {chain.name} …"):
            try:
                chain.build()
            except BadInput as error:
                if not chain.optional:
                    raise
                console.print(str(error), style="yellow", markup=False, highlight=False)


def examine() -> Iterator[Finding]:
    """Yield a finding for everything that a run needs."""
    from validate.runtimes import programs, runner
    from workers import registry, toolchain

    yield Finding("Python", platform.python_version(), sys.version_info >= (3, 11), "")
    yield _uv()
    for chain in registry.find().values():
        for need in chain.needs:
            found_at = shutil.which(need)
            fix = "" if found_at else chain.needs[need]
            yield Finding(need, found_at or f"for toolchain {chain.name}", bool(found_at), fix, chain.optional)
        fix = "" if chain.ready else "anywhere doctor --fix"
        yield Finding(f"toolchain {chain.name}", str(chain.home), chain.ready, fix, chain.optional)
    for name, program in programs.PROGRAMS.items():
        found_at = programs.path(name)
        runtimes = ", ".join(dict.fromkeys(item.runtime for item in runner.find() if name in item.needs))
        yield Finding(
            name, found_at or f"for runtimes {runtimes}", bool(found_at), "" if found_at else program.get, optional=True
        )
    for place in dict.fromkeys([Path.cwd(), _existing(toolchain.cache_folder())]):
        free = shutil.disk_usage(place).free
        yield Finding(
            f"room in {place}",
            f"{free / 1e9:.0f} GB free",
            free > ROOM_BYTES,
            "" if free > ROOM_BYTES else f"free {ROOM_BYTES / 1e9:.0f} GB there",
        )
        writable = os.access(place, os.W_OK)
        yield Finding(
            f"writing in {place}",
            "allowed" if writable else "not allowed",
            writable,
            "" if writable else f"chmod u+w {place}",
        )


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _uv() -> Finding:
    from workers import toolchain

    try:
        return Finding("uv", toolchain.uv_path(), True)
    except (ImportError, FileNotFoundError):
        return Finding("uv", "not found", False, "pip install uv")
