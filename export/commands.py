"""The commands `anywhere export`, which makes artifacts of a checkpoint, and `anywhere check`, which only tries."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from export.convert import Outcome
    from export.run import Run
    from export.target import Conversion

STYLES = {"built": "green", "unchanged": "dim", "failed": "red", "not_run": "red"}


def export(
    run: Annotated[str, typer.Argument(help="Name of the run. Default: the one trained last.")] = "",
    to: Annotated[
        list[str] | None, typer.Option(help="Targets, with commas or several times: onnx,torchscript. Default: all.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="Precisions, with commas or several times: float32,int8. Default: all.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Conversions at a time.")] = 2,
    keep_float: Annotated[
        list[str] | None,
        typer.Option(help="Layers that stay in float32 in int8 and int8_int16, with commas; none: no longer."),
    ] = None,
    keep_16: Annotated[
        list[str] | None,
        typer.Option(help="Layers with activations of 16 bits in tflite int8, with commas; none: no longer."),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option("--auto", help="Repair integers: other ranges, 16 bits, float32 for as few layers as will do."),
    ] = False,
    second_opinion: Annotated[
        bool, typer.Option("--second-opinion", help="Also convert by onnx2tf, and say whether it agrees; takes long.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Build again what is unchanged.")] = False,
) -> None:
    """Convert a run's checkpoint: runs/RUN/artifacts/TARGET/PRECISION."""
    from rich.console import Console

    from export.convert import convert
    from export.run import Run
    from export.target import find, plan
    from records.errors import Exit
    from records.folder import exclusive

    console = Console()
    opened = Run.open(run)
    conversions = plan(find(), _list(to), _list(precision), opened.checkpoint.task)
    for name in set(_list(to)) - {conversion.target.name for conversion in conversions}:
        has = ", ".join(find()[name].sources)
        console.print(
            f"{name}: has no {', '.join(_list(precision))}, only {has}; left out", highlight=False, soft_wrap=True
        )
    state = "" if opened.checkpoint.finished else " (its training is not finished)"
    console.print(
        f"{opened.folder}: checkpoint {opened.checkpoint.sha256[:12]}{state}", highlight=False, soft_wrap=True
    )
    with exclusive(opened.folder), console.status("converting …") as status:
        if keep_float or keep_16 or auto:
            for line in keep(opened, conversions, _list(keep_float), _list(keep_16), auto):
                console.print(line, highlight=False, soft_wrap=True)

        def report(outcome: "Outcome") -> None:
            if console.is_terminal:
                status.update(f"converting … {outcome.conversion.name} {outcome.status}")

        options = ("second_opinion",) if second_opinion else ()
        outcomes = convert(opened, conversions, jobs, force, report, options=options)
    console.print(table(outcomes))
    for outcome in outcomes:
        tell(console, outcome)
        if outcome.status == "built" and (curve := repaired(outcome)):
            console.print(curve)
    if any(outcome.artifact is None for outcome in outcomes):
        raise typer.Exit(Exit.FAILED)


def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As `anywhere adopt` takes it.")],
    input_: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME:SIZES", help="image:3x224x224, or age:int64.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights. Default: random ones.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument of the model's constructor.")
    ] = None,
    to: Annotated[list[str] | None, typer.Option(help="Targets, with commas or several times. Default: all.")] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="Precisions, with commas or several times. Default: float32.")
    ] = None,
    other_size: Annotated[
        list[str] | None, typer.Option(metavar="SIZE", help="Another height and width that it shall take: 96x160.")
    ] = None,
) -> None:
    """Try a model in every target, without data: which take it, and what blocks the others. Nothing is kept."""
    from rich.console import Console

    from export import check as checking
    from export.target import find, plan
    from pipeline.adopt import Wanted, parse_option, parse_sizes
    from records.errors import Exit

    console = Console()
    conversions = plan(find(), _list(to), _list(precision) or ["float32"])
    wanted = Wanted(
        weights=weights,
        options=dict(parse_option(text) for text in option or []),
        other_sizes=parse_sizes(other_size or [], "--other-size"),
    )
    inputs = [checking.parse(text) for text in input_ or []]

    def say(sentence: str) -> None:
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)

    def report(outcome: "Outcome") -> None:
        word = "takes it" if outcome.artifact else "does not"
        seconds = f" ({outcome.artifact.seconds:.1f} s)" if outcome.artifact else ""
        console.print(f"{outcome.conversion.name} {word}{seconds}", highlight=False, soft_wrap=True)

    outcomes = checking.check(model, inputs, wanted, conversions, say, report)
    for outcome in outcomes:
        if outcome.artifact is None:
            console.print(f"{outcome.conversion.name}: {outcome.reason}", markup=False, highlight=False, soft_wrap=True)
        else:
            tell(console, outcome)
    if any(outcome.artifact is None for outcome in outcomes):
        raise typer.Exit(Exit.FAILED)


def keep(
    run: "Run", conversions: "list[Conversion]", floats: list[str], sixteens: list[str], auto: bool = False
) -> list[str]:
    """Remember which layers are to stay in float32 or to have 16 bits, or that a repair chooses them; return notes.

    floats, sixteens: empty: as they are; `none`: no longer any. Raises BadInput for a name that is no layer of this
    model, for one that is in both, and where nothing asked for can do it.
    """
    from export.run import KEEP_16, KEEP_FLOAT
    from records.errors import BadInput

    if auto and (floats or sixteens):
        raise BadInput("--auto chooses the layers itself. Leave out --keep-float and --keep-16, or --auto.")
    keepers = [item for item in conversions if item.precision in item.target.keeps_float]
    narrow = [item for item in conversions if item.precision in item.target.keeps_16]
    if not keepers:
        raise BadInput("nothing asked for can keep layers in float32. Ask for --precision int8 or int8_int16.")
    if sixteens and not narrow:
        asked = ", ".join(item.name for item in keepers)
        raise BadInput(
            f"{asked}: has no activations of 16 bits for single layers. Ask for --to tflite --precision int8, or for "
            "--keep-float."
        )
    wanted = {KEEP_FLOAT: (keepers, floats), KEEP_16: (narrow, sixteens)}
    for how, (items, names) in wanted.items():
        _known(run, items, [name for name in names if name != "none"], f"--{how.replace('_', '-')}")
    for item in narrow:
        both = set(floats or run.kept(item.name, KEEP_FLOAT)) & set(sixteens or run.kept(item.name, KEEP_16)) - {"none"}
        if both:
            raise BadInput(f"{item.name}: {', '.join(sorted(both))} cannot have 16 bits and stay in float32, too.")
    for how, (items, names) in wanted.items():
        if auto:
            run.keep([item.name for item in items], ["auto"] if how == KEEP_FLOAT else [], how)
        elif names:
            run.keep([item.name for item in items], [] if names == ["none"] else names, how)
        else:  # a repair is replaced by what is named
            run.keep([item.name for item in items if run.kept(item.name, how) == ["auto"]], [], how)
    left = [item.name for item in keepers if sixteens and item not in narrow]
    return [f"{', '.join(left)}: has no activations of 16 bits for single layers; left as it is"] if left else []


def _known(run: "Run", items: "list[Conversion]", names: list[str], option: str) -> None:
    """Raise BadInput for a name that is no layer of what these are made from, as far as that is there."""
    from export.graphs.layers import chosen, modules
    from records.errors import BadInput

    sources = [run.artifact(item.source).details for item in items if run.holds(item.source)]
    model_layers = set().union(*(modules(details) for details in sources))
    if model_layers:
        try:
            chosen(sorted(model_layers), names)
        except ValueError as error:
            raise BadInput(f"{option}: {error}") from error


def _list(texts: "Sequence[str] | None") -> list[str]:
    """Return what an option names, with commas or several times."""
    return [part.strip() for text in texts or () for part in text.split(",") if part.strip()]


def table(outcomes: "list[Outcome]") -> "Table":
    """Return a table for the terminal, one row per conversion."""
    from rich.table import Table

    rows = Table("target", "precision", "status", "size", "time", "artifact", box=None, pad_edge=False)
    for outcome in outcomes:
        artifact = outcome.artifact
        rows.add_row(
            outcome.conversion.target.name,
            outcome.conversion.precision,
            f"[{STYLES[outcome.status]}]{outcome.status.replace('_', ' ')}[/]",
            f"{artifact.size_bytes / 1e6:.2f} MB" if artifact else "",
            f"{artifact.seconds:.1f} s" if artifact and outcome.status == "built" else "",
            f"artifacts/{artifact.name}/{artifact.entry}" if artifact else "",
        )
    return rows


def repaired(outcome: "Outcome") -> "Table | None":
    """Return what a repair tried, one attempt a row; None where there was none, or nothing to repair."""
    from rich.table import Table

    integers = outcome.artifact.integers if outcome.artifact else None
    if integers is None or integers.repair is None or len(integers.repair.curve) < 2:
        return None
    rows = Table(
        outcome.conversion.name, "16 bits", "float32", "SQNR", "agreement", "size", "latency", box=None, pad_edge=False
    )
    for number, step in enumerate(integers.repair.curve):
        ships = number == integers.repair.ships
        rows.add_row(
            f"ranges by {step.ranges}",
            f"{step.keep_16}",
            f"{step.keep_float}",
            "none" if step.sqnr_db is None else f"{step.sqnr_db:.1f} dB",
            f"{step.agreement:.4f}",
            f"{step.size_bytes / 1e6:.2f} MB",
            "" if step.latency_ms is None else f"{step.latency_ms:.2f} ms",
            style="bold" if ships else "dim",
        )
    return rows


def tell(console: "Console", outcome: "Outcome") -> None:
    """Print what the table has no room for: a failed conversion's name is red."""
    for sentence in outcome.told:
        name, _, rest = sentence.partition(": ")
        console.print(name, end=": ", style="red" if outcome.artifact is None else None, highlight=False)
        console.print(rest, markup=False, highlight=False, soft_wrap=True)
