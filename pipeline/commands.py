"""`anywhere train`: options to a Config, a Config to a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from records.errors import BadInput, Exit

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.checkpoint import Checkpoint
    from pipeline.config import Config

OPTIONS = {
    "dataset": "data.dataset",
    "folder": "data.folder",
    "image_size": "data.image_size",
    "model": "model.name",
    "pretrained": "model.pretrained",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "seed": "train.seed",
    "device": "train.device",
}
"""Options with a name of their own, and the key each sets."""


def train(
    run: Annotated[str, typer.Option(help="Name of the run: a folder in runs/. Default: dataset and model.")] = "",
    config: Annotated[Path | None, typer.Option(help="TOML file; options override it.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="digits, mnist, fashion_mnist, cifar10, imagenette or folder.")
    ] = None,
    folder: Annotated[str | None, typer.Option(help="Your images: one folder per class.")] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Height and width of the input in pixels: 64, or 96x64.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A torchvision classification model, simple_cnn or module:function.")
    ] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained/--from-scratch", help="Start from torchvision's weights.")
    ] = None,
    epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: --set train.ema=0.99")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again, replacing the run's checkpoint.")] = False,
) -> None:
    """Train a model: images to runs/RUN/checkpoint."""
    options = dict(locals())
    from pipeline import config as configs
    from records.folder import latest_run, run_folder

    named = {key: options[name] for name, key in OPTIONS.items() if options[name] is not None}
    if image_size is not None:
        named["data.image_size"] = configs.parse_size(image_size)
    if folder is not None and dataset is None:
        named["data.dataset"] = "folder"
    overrides = named | dict(configs.parse_setting(text) for text in set_ or [])
    if resume:
        if overrides or config or force:
            raise BadInput(
                "--resume goes on with the configuration of the checkpoint: give no other option than --run with it."
            )
        _resume(run_folder(run or latest_run()))
        return
    from pipeline.train import settle

    settled = settle(configs.read(config, overrides))
    place = run_folder(run or default_name(settled))
    _start(settled, place, force)


def default_name(config: "Config") -> str:
    """Return a run's name: `digits-mobilenet_v3_small`; for a folder of images it starts with the folder's name."""
    source = Path(config.data.folder).resolve().name if config.data.dataset == "folder" else config.data.dataset
    return f"{source}-{config.model.name.replace(':', '.')}"


def _start(config: "Config", place: Path, force: bool) -> None:
    from rich.console import Console

    from pipeline import config as configs
    from pipeline.checkpoint import RECORD, Checkpoint

    console = Console()
    if (place / "checkpoint" / RECORD).is_file() and not force:
        existing = Checkpoint.open(place / "checkpoint")
        if configs.read(existing.folder / "config.toml") != config:
            raise BadInput(
                f"run {place.name}: was trained with another configuration. Give another --run NAME, or train "
                "again with --force."
            )
        if not existing.finished:
            raise BadInput(
                f"run {place.name}: was interrupted. Go on with `anywhere train --resume --run {place.name}`, or "
                "train again with --force."
            )
        console.print(
            f"{place}: trained with this configuration already ({_summary(existing)}); nothing to do. --force "
            "trains again.",
            highlight=False,
            soft_wrap=True,
        )
        return
    _run(config, place, None, console)


def _resume(place: Path) -> None:
    from rich.console import Console

    from pipeline import config as configs
    from pipeline.checkpoint import Checkpoint

    console = Console()
    existing = Checkpoint.open(place / "checkpoint")
    if existing.finished:
        console.print(f"{place}: finished ({_summary(existing)}); nothing to resume.", highlight=False, soft_wrap=True)
        return
    _run(configs.read(existing.folder / "config.toml"), place, existing, console)


def _run(config: "Config", place: Path, resume: "Checkpoint | None", console: "Console") -> None:
    from measures import tasks
    from measures.signal import weakness
    from pipeline.train import Interrupted, train
    from records.folder import exclusive

    start = f"epoch {resume.progress['epoch'] + 1}" if resume else "the start"
    console.print(
        f"{config.model.name} on {config.data.dataset}, {'×'.join(map(str, config.data.size))}, from {start} → {place}",
        highlight=False,
        soft_wrap=True,
    )
    try:
        with exclusive(place):
            checkpoint = train(config, place, resume, console)
    except Interrupted as stopped:
        console.print(
            f"{stopped}; saved. Go on with: anywhere train --resume --run {place.name}", highlight=False, soft_wrap=True
        )
        raise typer.Exit(Exit.INTERRUPTED) from stopped
    console.print(f"{checkpoint.folder}: {_summary(checkpoint)}", highlight=False, soft_wrap=True)
    task = tasks.load(checkpoint.task)
    if why := weakness(checkpoint.golden(), task, checkpoint.labels, f"run {place.name}"):
        console.print(f"nothing can be proved of it: {why}", style="yellow", markup=False, soft_wrap=True)


def _summary(checkpoint: "Checkpoint") -> str:
    metrics: dict[str, Any] = dict(checkpoint.metrics)
    seconds = metrics.pop("seconds", None)
    text = ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}" for name, value in metrics.items() if name.startswith("test")
    )
    return f"{text}, {seconds:.0f} s of training" if seconds else text
