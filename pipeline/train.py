"""The training loop, top to bottom. `anywhere train` runs it with the defaults of `config.py`.

    checkpoint = train(config, Path("runs/digits"), resume=None, console=Console())

One seed on one machine gives the same weights, interrupted or not: the order of the samples and their augmentation
follow from seed, epoch and number (data.py), the learning rate from the step, and everything else that is
remembered from step to step (weights, average, optimizer, random state) is in the checkpoint.
"""

import math
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

import measures.tasks
from pipeline import checkpoint, data, models, tasks
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config, TrainConfig
from pipeline.detectors import Detector
from pipeline.detectors.raw import RawHead
from pipeline.fake_quantization import FakeQuantization, freeze_statistics
from pipeline.golden import of_training, to_numpy
from pipeline.progress import Display
from pipeline.rehearsal import SAMPLES as REHEARSED
from pipeline.rehearsal import rehearse
from pipeline.tensorboard_log import Board
from records.errors import AGAIN, BadInput, shortened
from records.tensor import Array

HALF, THREE_QUARTERS = 0.5, 0.75
"""Of the height and width, in the first epochs: a network that saw half the size alone has to learn the whole anew."""
EVERY = 10
"""Steps between two scalars in TensorBoard."""
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
"""What AdamW remembers of a parameter."""
NO_LABEL = -1
"""An integer behind the last of a sample's, where others have more."""
EVALUATED = 128
"""Test samples in a batch."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM; the checkpoint of this very step has been written."""

    def __init__(self, epoch: int, step: int):
        super().__init__(f"stopped in epoch {epoch + 1} after step {step}")


def settle(config: Config) -> Config:
    """Return the config with everything filled in that it leaves to the dataset or the model. Raises BadInput."""
    tasks.load(config.task)
    return models.settle(data.settle(config, models.OWN_SIZE.get(config.model.name)))


def train(config: Config, run: Path, resume: Checkpoint | None, console: Console) -> Checkpoint:
    """Train a settled config and return the finished checkpoint in `run/checkpoint`. Raises BadInput, Interrupted."""
    c = config.train
    device = choose_device(c.device)
    make_repeatable(c.seed)
    task, measured = tasks.load(config.task), measures.tasks.load(config.task)
    images = data.load(config)
    for finding in images.findings:  # before hours pass
        console.print(f"- {finding}", highlight=False, markup=False, soft_wrap=True)
    model = task.build(config, images.labels, weights=resume is None).to(device)
    loaded = models.start(model, config) if resume is None else None
    few = images.train.batch(range(min(REHEARSED, len(images.train))))
    if config.detection.head:
        RawHead(model)  # which refuses what has none, before hours pass
    rehearse(model, config, few, images.labels)
    faked = FakeQuantization(model, config.model.name, few.to(device).inputs.values()) if c.quantize_aware else None
    decoding = model.decoding.record() if isinstance(model, Detector) else {}
    golden = of_training(images, config, loaded.record() if loaded else resume.loaded if resume else None, decoding)
    batches = data.EpochBatches(len(images.train), c.batch_size, c.seed)
    batches_per_epoch = len(batches)
    loader = data.loader(images.train, batches, config.data.workers, pin=device.type == "cuda")
    channels_last = c.channels_last and models.allows_channels_last(model, few.inputs)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    average = AveragedModel(model, multi_avg_fn=warmed_up_average(c.ema), use_buffers=True)
    optimizer = torch.optim.AdamW(decay_groups(model, c.weight_decay), lr=c.learning_rate)
    first_epoch, first_step = 0, 0
    if resume:
        first_epoch, first_step = restore(resume, model, average, optimizer, faked)
        if not (0 <= first_epoch < c.epochs and 0 <= first_step < batches_per_epoch):
            raise BadInput(
                f"checkpoint {resume.folder}: its training stopped in epoch {first_epoch + 1} after step {first_step}, "
                f"and this one has {c.epochs} epochs of {batches_per_epoch} steps. {AGAIN}."
            )
    forward = torch.compile(model) if c.compile else model
    starts_trained = config.model.pretrained or bool(config.model.weights)
    total = c.epochs * batches_per_epoch
    done = first_epoch * batches_per_epoch + first_step
    board = Board(run / "tensorboard", step=done)
    started = time.monotonic()

    def save(epoch: int, step: int, metrics: dict[str, float]) -> Checkpoint:
        """Write the checkpoint of a training that goes on at this epoch and step."""
        progress = {"epoch": epoch, "step": step, "epochs": c.epochs, "finished": epoch == c.epochs}
        state = {} if epoch == c.epochs else to_numpy(remember(model, average, optimizer, faked))
        made_by = environment(device, c.seed)
        held_out, module = golden, kept()
        if progress["finished"] and config.detection.head:
            head = RawHead(module)
            held_out, module = golden.without_decoding(head.record(images.labels)), head
        return held_out.write(run / "checkpoint", module, metrics, made_by, progress, state)

    def kept() -> nn.Module:
        """Return the model that a checkpoint holds."""
        return (faked.rounded(average.module) if faked and faked.began else average.module).eval()

    metrics: dict[str, float] = dict(resume.metrics) if resume else {}
    with stop_on_signal() as stop, Display(console, c.epochs, batches_per_epoch, done, measured.METRIC) as display:
        for epoch in range(first_epoch, c.epochs):
            batches.epoch, batches.start = epoch, first_step
            losses = scores = 0.0
            model.train()
            fake = faked if faked and epoch >= quantized_from(c) else nullcontext()
            if fake is faked:
                if epoch or starts_trained:
                    freeze_statistics(model)
                forward = model  # which the context computes function by function
            share = side_in(epoch, c)
            for step, batch in enumerate(loader, start=first_step):
                batch = (batch if share == 1 else task.reduce(batch, share)).to(device, channels_last)
                image = batch.inputs[data.IMAGE]  # (N, 3, H, W)
                now = epoch * batches_per_epoch + step
                for group in optimizer.param_groups:
                    group["lr"] = rate = learning_rate(
                        by_work(now, batches_per_epoch, c), total, c.warmup, c.learning_rate
                    )
                with torch.autocast(device.type, torch.bfloat16, enabled=c.amp and device.type == "cuda"), fake:
                    loss, outputs = task.step(forward, batch, c)
                value = loss.item()
                if not math.isfinite(value):
                    raise diverged(value, epoch, step, run, c.learning_rate)
                optimizer.zero_grad()
                loss.backward()
                norm = nn.utils.clip_grad_norm_(model.parameters(), c.clip)
                optimizer.step()
                average.update_parameters(model)

                score = measured.score(to_numpy(outputs), to_numpy(batch.truth)) if outputs else math.nan
                count = step - first_step + 1
                losses, scores = losses + value, scores + score
                display.step(epoch, step, len(image), value, scores / count)
                if now == 0:
                    board.images(now, image)
                if now % EVERY == 0:
                    board.scalars(
                        now,
                        train_loss=value,
                        train_score=score,
                        train_rate=rate,
                        train_gradient=float(norm),
                        train_images_per_second=display.speed,
                    )
                if stop.requested and step + 1 < batches_per_epoch:
                    save(epoch, step + 1, metrics)
                    raise Interrupted(epoch, step + 1)

            metrics, test, now = {}, math.nan, (epoch + 1) * batches_per_epoch
            if share == 1:  # what has seen smaller pictures alone is no good at the whole size
                tested, truth = evaluate(kept(), images.test, task, device)
                metrics = {f"test_{name}": value for name, value in measured.scores(tested, truth).items()}
                test = metrics[f"test_{measured.METRIC}"]
                board.scalars(now, test_score=test)
                board.tested(now, measured, images, tested, truth)
            metrics |= {"train_loss": losses / count, "seconds": round(time.monotonic() - started, 1)}
            display.epoch(epoch, losses / count, scores / count, test)
            first_step = 0
            saved = save(epoch + 1, 0, metrics)
            if stop.requested and not saved.finished:
                raise Interrupted(epoch, batches_per_epoch)
    board.close()
    return saved


def choose_device(name: str) -> torch.device:
    """Return the device of that name; auto: a GPU if there is one, else the CPU. Raises BadInput."""
    try:
        device = torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(
            f"train.device {name}: {str(error).splitlines()[0]}. Use auto, cpu, or a GPU of this machine."
        ) from error
    return device


def make_repeatable(seed: int) -> None:
    """Make every run compute the same in the same order.

    cuBLAS reads the variable at its first call, so set it before.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would clear every new tensor, and none of ours is read unset.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.manual_seed(seed)


def decay_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: weight decay for matrices and kernels, none for biases and BatchNorm."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]


def learning_rate(step: float, total: int, warmup: float, peak: float) -> float:
    """Return the rate of a step: linear from a hundredth of the peak up to the peak, then a cosine to zero."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return peak * (0.01 + 0.99 * step / rising)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def by_work(step: int, steps: int, c: TrainConfig) -> float:
    """Return how many of all steps' work is done before a step, by the pixels that are seen. steps: of an epoch."""
    if not c.small:
        return step
    work = [side_in(epoch, c) ** 2 for epoch in range(c.epochs)]
    epoch, inside = divmod(step, steps)
    return c.epochs * (steps * sum(work[:epoch]) + inside * work[epoch]) / sum(work)


def quantized_from(c: TrainConfig) -> int:
    """Return the first of the epochs that are computed on the steps of integers."""
    return c.epochs - max(1, round(c.quantize_aware_share * c.epochs))


def side_in(epoch: int, c: TrainConfig) -> float:
    """Return the share of the pictures' height and width that is seen in an epoch; of the last one, all of it."""
    small = min(c.epochs - 1, round(c.small * c.epochs))
    if epoch >= small:
        return 1.0
    return HALF if epoch < small - small // 5 else THREE_QUARTERS


def warmed_up_average(decay: float) -> Any:
    """Return the update of an exponential moving average that follows closely at first, to forget the random start."""

    def update(averages: Any, values: Any, count: Any) -> None:
        now = min(decay, (1 + float(count)) / (10 + float(count)))
        get_ema_multi_avg_fn(now)(averages, values, count)

    return update


def diverged(loss: float, epoch: int, step: int, run: Path, rate: float) -> BadInput:
    """Return the error for a loss that is NaN or infinite; it says which checkpoint is left."""
    remains = (
        f"The checkpoint after epoch {epoch} is kept in {run / 'checkpoint'}."
        if epoch
        else "There is no checkpoint yet."
    )
    return BadInput(
        f"run {run.name}: the loss is {loss} in epoch {epoch + 1} at step {step + 1}; training stopped. {remains} "
        f"Lower train.learning_rate ({rate:g}) and train again with --force."
    )


def evaluate(
    model: nn.Module, split: data.Split, task: tasks.Task, device: torch.device
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return outputs (N, …) and truth (N, …) of a split by name; of as many of its samples as the task says."""
    model.eval()
    outputs, truths = [], []
    samples = range(min(len(split), getattr(task, "TESTED", len(split))))
    size = getattr(task, "BATCH", EVALUATED)
    with torch.no_grad():
        for batch in DataLoader(split, batch_size=size, sampler=samples, collate_fn=split.collate):
            values = model(*batch.to(device).inputs.values())
            outputs.append(to_numpy(models.named(values, task.OUTPUTS)))
            truths.append(to_numpy(batch.truth))
    return joined(outputs), joined(truths)


def joined(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Return all parts (n, …) of each name as one array (N, …); of shorter ones the rest is filled."""
    return {name: np.concatenate(_evened([part[name] for part in parts])) for name in parts[0]}


def _evened(parts: Sequence[Array]) -> list[Array]:
    """Return arrays whose axes but the first are as long as the longest: of things, one sample has more than others."""
    longest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]

    def filled(part: Array) -> Array:
        missing = [(0, most - size) for most, size in zip(longest, part.shape[1:], strict=True)]
        return np.pad(part, [(0, 0), *missing], constant_values=NO_LABEL if part.dtype.kind == "i" else 0)

    return [part if list(part.shape[1:]) == longest else filled(part) for part in parts]


def remember(
    model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer, faked: FakeQuantization | None = None
) -> dict[str, torch.Tensor]:
    """Return all that the next step needs, as named tensors: weights, average, optimizer, ends and random state."""
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    state |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{number}.{key}": value for key, value in values.items()}
    state |= {f"ends.{key}": value for key, value in (faked.ends if faked else {}).items()}
    state["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        state["random.cuda"] = torch.cuda.get_rng_state()
    return state


def restore(
    saved: Checkpoint,
    model: nn.Module,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    faked: FakeQuantization | None = None,
) -> tuple[int, int]:
    """Undo `remember`; return the epoch and the step to go on with. Raises BadInput for another training's state."""
    state = {key: torch.from_numpy(value) for key, value in saved.arrays(checkpoint.TRAINING).items()}
    try:
        models.fill(model, _below("model.", state))
        models.fill(average, _below("average.", state))
        whole = optimizer.state_dict()
        for key, value in _below("optimizer.", state).items():
            number, _, name = key.partition(".")
            whole["state"].setdefault(int(number), {})[name] = value
        optimizer.load_state_dict(whole)
        _check_moments(optimizer)
        if faked:
            faked.load(_below("ends.", state))
        torch.set_rng_state(state["random.cpu"])
        if "random.cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["random.cuda"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:  # names, numbers, types and shapes, in this order
        raise BadInput(
            f"checkpoint {saved.folder}: {checkpoint.TRAINING} is not of this training ({shortened(error)}). {AGAIN}."
        ) from error
    return int(saved.progress["epoch"]), int(saved.progress["step"])


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Check that each of an optimizer's values is a number, or as large as its parameter. Raises ValueError."""
    for parameter, values in optimizer.state.items():
        if not isinstance(parameter, torch.Tensor) or set(values) != MOMENTS:
            raise ValueError(f"an optimizer's {', '.join(map(str, values))} of a parameter that there is not")
        for name, value in values.items():
            fits = value.numel() == 1 if name == "step" else value.shape == parameter.shape
            if not fits or value.dtype != parameter.dtype:
                raise ValueError(
                    f"{name} is {value.dtype} {tuple(value.shape)} of {parameter.dtype} {tuple(parameter.shape)}"
                )


def _below(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


class _Stop:
    requested = False


@contextmanager
def stop_on_signal() -> Iterator[_Stop]:
    """Request a stop after the running step on Ctrl-C or SIGTERM; a second Ctrl-C stops at once.

    In the midst of optimizer.step() an exception would leave weights that no step has made.
    """
    stop = _Stop()

    def request(number: int, _: object) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def environment(device: torch.device, seed: int) -> dict[str, Any]:
    """Return where a checkpoint was made: versions, device, seed, git commit."""
    return {
        "versions": {name: version(name) for name in ("torch", "torchvision", "numpy", "safetensors")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "seed": seed,
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """Return the commit of the current folder, `-dirty` with uncommitted changes; None outside of git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", timeout=10)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, encoding="utf-8", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + ("-dirty" if status.stdout.strip() else "")
