"""`anywhere train` and `anywhere adopt`: options to a run with its checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from records.errors import AGAIN, BadInput, Exit

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.checkpoint import Checkpoint
    from pipeline.config import Config

OPTIONS = {
    "task": "task",
    "head": "detection.head",
    "dataset": "data.dataset",
    "folder": "data.folder",
    "image_size": "data.image_size",
    "model": "model.name",
    "pretrained": "model.pretrained",
    "weights": "model.weights",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "seed": "train.seed",
    "device": "train.device",
    "quantize_aware": "train.quantize_aware",
}
"""Options with a name of their own, and the key each sets."""
LISTS = {".csv": "csv", ".json": "coco"}
"""Ending of what --folder names → the data set that reads it; a folder is the data set folder."""


def train(
    run: Annotated[str, typer.Option(help="Name of the run: a folder in runs/. Default: dataset and model.")] = "",
    config: Annotated[Path | None, typer.Option(help="TOML file; options override it.")] = None,
    task: Annotated[
        str | None, typer.Option(help="classification (the default), detection, instances, multilabel or segmentation.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="raw: of a detector, export neither decoding nor suppression.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, fashion_mnist, cifar10, imagenette, oxford_pet, scenes, folder, csv, coco, voc."
        ),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(help="Your images: a folder per class or images/ and masks/, a CSV, a JSON, VOC's folder."),
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Height and width of the input in pixels: 64, or 96x64.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A torchvision model of the task, simple_cnn, timm:NAME, or package.module:function."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weights to start from: .safetensors, or a state_dict.")] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained/--from-scratch", help="Start from torchvision's or timm's weights.")
    ] = None,
    epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = None,
    quantize_aware: Annotated[
        bool | None,
        typer.Option("--quantize-aware", help="Train the last epochs on the steps of int8, for better int8 files."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the config: --set train.ema=0.99")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again, replacing the run's checkpoint.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the code that a run from elsewhere names as its model.")
    ] = False,
) -> None:
    """Train a model: images to runs/RUN/checkpoint."""
    options = dict(locals())
    from pipeline import config as configs
    from records.folder import latest_run, run_folder

    named = {key: options[name] for name, key in OPTIONS.items() if options[name] is not None}
    if image_size is not None:
        named["data.image_size"] = configs.parse_size(image_size)
    if folder is not None and dataset is None:
        named["data.dataset"] = LISTS.get(Path(folder).suffix.lower(), "folder")
    overrides = named | dict(configs.parse_setting(text) for text in set_ or [])
    if resume:
        if overrides or config or force:
            raise BadInput(
                "--resume goes on with the configuration of the checkpoint: give no other option than --run and "
                "--trust with it."
            )
        _resume(run_folder(run or latest_run()), trust)
        return
    from pipeline import trust as trusting
    from pipeline.checkpoint import RECORD
    from pipeline.train import settle

    asked = configs.read(config, overrides)
    if config is not None and (config.parent / RECORD).is_file() and "model.name" not in overrides:
        trusting.check(asked, config.absolute().parents[1], trust, f"anywhere train --config {config} --trust")
    settled = settle(asked)
    place = run_folder(run or default_name(settled))
    _start(settled, place, force)


def adopt(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="package.module:function, ./file.py:Class, timm:NAME, hf:FOLDER, lightning:package.module:Class, or "
            "a torchvision model.",
        ),
    ],
    weights: Annotated[
        Path | None, typer.Option(help="A .safetensors, or a state_dict that PyTorch reads without running code.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Your pictures: a folder, a folder for each class, a CSV of paths, classes, or COCO's JSON."),
    ] = None,
    inputs: Annotated[Path | None, typer.Option(help="Inputs (N, …) by name: .npz, .npy or .safetensors.")] = None,
    run: Annotated[str, typer.Option(help="Name of the run: a folder in runs/. Default: the model's name.")] = "",
    labels: Annotated[Path | None, typer.Option(help="Names of the classes in the model's order, one a line.")] = None,
    task: Annotated[
        str, typer.Option(help="A task of training, or none (the default without classes): compare only.")
    ] = "",
    head: Annotated[str, typer.Option(help="raw: of a detector, export neither decoding nor suppression.")] = "",
    size: Annotated[str, typer.Option(metavar="SIZE", help="Height and width of the input: 224, or 96x64.")] = "",
    resize: Annotated[str, typer.Option(metavar="SIZE", help="Resize to cover this, then crop to --size.")] = "",
    other_size: Annotated[
        list[str] | None,
        typer.Option(metavar="SIZE", help="Another height and width that it takes: any, then, proved on this one."),
    ] = None,
    interpolation: Annotated[str, typer.Option(help="bilinear or bicubic.")] = "",
    mean: Annotated[str, typer.Option(help="Per channel, in [0, 1], to subtract inside the model; or imagenet.")] = "",
    deviation: Annotated[str, typer.Option(help="Per channel, in [0, 1], to divide by.")] = "",
    outputs: Annotated[str, typer.Option(metavar="NAMES", help="Other names for the outputs, in order.")] = "",
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument of the model's constructor.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Keys of the weights that the model need not have.")
    ] = None,
    entry: Annotated[str, typer.Option(help="Which of several sets of weights in the file: model_ema.")] = "",
    trust: Annotated[
        bool, typer.Option("--trust", help="Read a pickle as weights. It RUNS what stands in it.")
    ] = False,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out pictures that cannot be decoded.")
    ] = False,
    golden: Annotated[int, typer.Option(help="Held-out samples to prove parity on, at most.")] = 256,
    calibration: Annotated[int, typer.Option(help="Samples to set integer ranges with, at most.")] = 128,
    force: Annotated[bool, typer.Option("--force", help="Replace the run's checkpoint.")] = False,
) -> None:
    """Adopt a model that was trained elsewhere: its weights and your samples to runs/RUN/checkpoint."""
    from rich.console import Console

    from pipeline import adopt as adopting
    from pipeline.checkpoint import RECORD
    from records.folder import exclusive, run_folder

    console = Console()
    place = run_folder(run or adopting.run_name(model))
    if (place / "checkpoint" / RECORD).is_file() and not force:
        raise BadInput(f"run {place.name}: has a checkpoint. Give another --run NAME, or replace it with --force.")
    wanted = adopting.Wanted(
        images=images,
        inputs=inputs,
        labels=_lines(labels),
        task=adopting.PLAIN if task == "none" else task,
        head=head,
        size=adopting.parse_size(size, "--size"),
        resize=adopting.parse_size(resize, "--resize"),
        other_sizes=adopting.parse_sizes(other_size or [], "--other-size"),
        interpolation=interpolation,
        mean=adopting.IMAGENET[0] if mean == "imagenet" else _numbers(mean, "--mean"),
        deviation=adopting.IMAGENET[1] if mean == "imagenet" and not deviation else _numbers(deviation, "--deviation"),
        outputs=tuple(name.strip() for name in outputs.split(",") if name.strip()),
        golden=golden,
        calibration=calibration,
        options=dict(adopting.parse_option(text) for text in option or []),
        weights=weights,
        skip_corrupt=skip_corrupt,
        trust=trust,
        ignore=tuple(ignore or ()),
        entry=entry,
    )

    def tell(sentence: str) -> None:
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)

    console.print(f"{model} → {place}", highlight=False, markup=False, soft_wrap=True)
    built, loaded = adopting.build(model, wanted)
    with exclusive(place):
        checkpoint = adopting.adopt(built.module, wanted, place, model, tell, built.declared, built.labels, loaded)
    for sentence in told(checkpoint):
        tell(sentence)
    console.print(f"{checkpoint.folder}: {_interface(checkpoint)}", highlight=False, markup=False, soft_wrap=True)
    _weak(checkpoint, place, console)


def told(checkpoint: "Checkpoint") -> list[str]:
    """Return what was refused of a model, and who goes on without."""
    sentences = []
    if refusal := checkpoint.refused("program"):
        without = "nothing can be exported" if checkpoint.refused("torchscript") else "TorchScript goes on without"
        sentences.append(f"{refusal.told('torch.export').replace(chr(10), ' ')} Until then {without}.")
    if refusal := checkpoint.refused("torchscript"):
        sentences.append(refusal.told("TorchScript").replace("\n", " "))
    return sentences


def _interface(checkpoint: "Checkpoint") -> str:
    """Return inputs and outputs in a line, with the metric where there is one."""

    def side(tensors: Any) -> str:
        return ", ".join(f"{tensor.name} {'×'.join(map(str, tensor.shape))} {tensor.dtype}" for tensor in tensors)

    golden = checkpoint.golden()
    count = len(next(iter(golden.inputs.values())))
    metrics = "".join(f"; {name.replace('_', ' ')} {value:.4f}" for name, value in checkpoint.metrics.items())
    return f"{side(checkpoint.inputs)} → {side(checkpoint.outputs)}; {count} golden samples{metrics}"


def _weak(checkpoint: "Checkpoint", place: Path, console: "Console") -> None:
    """Say why nothing could be proved of a checkpoint, if so."""
    from measures import tasks
    from measures.signal import weakness

    task = tasks.load(checkpoint.task)
    if why := weakness(checkpoint.golden(), task, checkpoint.labels, f"run {place.name}"):
        console.print(f"nothing can be proved of it: {why}", style="yellow", markup=False, soft_wrap=True)


def _lines(path: Path | None) -> tuple[str, ...]:
    """Return the lines of a file of labels. Raises BadInput."""
    if path is None:
        return ()
    if not path.is_file():
        raise BadInput(f"labels {path.absolute()}: no such file. Give a text file, one class a line.")
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _numbers(text: str, option: str) -> tuple[float, ...]:
    """Return the numbers of `0.5,0.5,0.5`. Raises BadInput."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise BadInput(f"{option} {text}: no numbers. Write for example {option} 0.485,0.456,0.406.") from error


def default_name(config: "Config") -> str:
    """Return a run's name: `digits-mobilenet_v3_small`; for your own images it starts with the folder's or list's."""
    place = Path(config.data.folder).resolve()
    own = {"folder": place.name} | dict.fromkeys(LISTS.values(), place.stem)
    source = own.get(config.data.dataset, config.data.dataset)
    return f"{source}-{config.model.name.replace(':', '.')}"


def _start(config: "Config", place: Path, force: bool) -> None:
    from rich.console import Console

    from pipeline import config as configs
    from pipeline.checkpoint import RECORD, Checkpoint

    console = Console()
    if (place / "checkpoint" / RECORD).is_file() and not force:
        existing = Checkpoint.open(place / "checkpoint")
        if not existing.progress["epochs"]:
            raise BadInput(
                f"run {place.name}: holds a model that was adopted, {existing.model_name}. Give another --run NAME, or "
                "replace it with --force."
            )
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


def _resume(place: Path, trust: bool) -> None:
    from rich.console import Console

    from pipeline import config as configs
    from pipeline import trust as trusting
    from pipeline.checkpoint import Checkpoint
    from pipeline.train import settle

    console = Console()
    existing = Checkpoint.open(place / "checkpoint")
    if existing.finished:
        console.print(f"{place}: finished ({_summary(existing)}); nothing to resume.", highlight=False, soft_wrap=True)
        return
    config = configs.read(existing.folder / "config.toml")
    trusting.check(config, place, trust, f"anywhere train --resume --trust --run {place.name}")
    if settle(config) != config:
        raise BadInput(
            f"checkpoint {existing.folder}: config.toml leaves open what a training's own does not. {AGAIN}."
        )
    _run(config, place, existing, console)


def _run(config: "Config", place: Path, resume: "Checkpoint | None", console: "Console") -> None:
    from pipeline import trust
    from pipeline.train import Interrupted, train
    from records.folder import exclusive

    if resume is None:
        trust.remember(config, place)
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
    for sentence in (*checkpoint.findings, *told(checkpoint)):
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    _weak(checkpoint, place, console)


def _summary(checkpoint: "Checkpoint") -> str:
    metrics: dict[str, Any] = dict(checkpoint.metrics)
    seconds = metrics.pop("seconds", None)
    text = ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}" for name, value in metrics.items() if name.startswith("test")
    )
    return f"{text}, {seconds:.0f} s of training" if seconds else text
