"""The checkpoint's proof: held-out inputs, labels, PyTorch's outputs and the oracle; probes; calibration samples."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline import checkpoint, models, tasks
from pipeline.captured import Kept, keep
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config, to_toml
from pipeline.data import IMAGE, Data, Split
from pipeline.datasets import Sample
from pipeline.models import named
from pipeline.oracle import in_double
from pipeline.probes import PICTURES, ImageFiles, doubled, patterns, roundings
from pipeline.tasks import Batch, Tensors
from records.errors import BadInput
from records.golden import INPUT, Golden, Patterns, Probes, Sized, flat
from records.sealed import fingerprints
from records.tensor import Array, Arrays, Tensor, tensors_to

BATCH = 32


def predict(model: nn.Module, inputs: Tensors, names: Iterable[str], batch: int = BATCH) -> Tensors:
    """Return the outputs of a model in eval mode for inputs (N, …) in its order, computed in batches."""
    names = tuple(names)
    with torch.no_grad():
        parts = [
            named(model(*part), names)
            for part in zip(*(tensor.split(batch) for tensor in inputs.values()), strict=True)
        ]
    return {name: torch.cat([part[name] for part in parts]) for name in names}


def choose(split: Split, count: int) -> list[int]:
    """Return the numbers of `count` samples of a split, always the same ones; of all, if it has fewer."""
    return torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:count].tolist()


def calibration(data: Data, count: int, golden: torch.Tensor) -> Tensors:
    """Choose training samples (N, …) by input, prepared without augmentation, none of which is golden, too.

    golden: images (N, 3, H, W). Data sets hold duplicates, and integers judged on what set their ranges would look
    better than they are. Samples are prepared one by one until there are enough, so that a large data set is not gone
    through. Raises BadInput.
    """
    plain = data.train.plain()
    held_out = set(fingerprints(golden.numpy()))
    samples: list[Sample] = []
    for number in choose(plain, len(plain)):
        image, truth = plain[number]
        if fingerprints([image.numpy()])[0] not in held_out:
            samples.append((image, truth))
        if len(samples) == count:
            break
    if not samples:
        raise BadInput("every training image is golden, too. Give other images for testing.")
    return plain.collate(samples).inputs


@dataclass(frozen=True)
class Told:
    """What a checkpoint says of its model beside weights and proof: fields of `Checkpoint`."""

    task: str
    labels: tuple[str, ...]
    model_name: str
    normalisation: Mapping[str, Any]
    config: str
    """The text of config.toml."""
    loaded: Mapping[str, Any] | None = None
    findings: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the fields of the checkpoint's record."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "config"}


@dataclass(frozen=True)
class HeldOut:
    """The samples, prepared once; PyTorch's outputs are computed for every checkpoint."""

    told: Told
    inputs: tuple[Tensor, ...]
    outputs: Mapping[str, str]
    """Name of each output → a letter for each of its axes; empty: whatever they are."""
    golden: Batch
    calibration: Tensors
    """(N, …) by input, prepared as a user's are, without augmentation."""
    patterns: Tensors
    """(5, …) by input, in the order of `PATTERNS`."""
    probes: Mapping[str, ImageFiles]
    """By each input that is made of image files."""
    sizes: Sequence[Tensors] = ()
    """A few samples at other heights and widths, which the model takes, too."""

    def write(
        self,
        folder: Path,
        model: nn.Module,
        metrics: Mapping[str, float],
        environment: Mapping[str, Any],
        progress: Mapping[str, Any],
        training: Arrays,
    ) -> Checkpoint:
        """Write the checkpoint of a model in eval mode, with its proof. Raises BadInput, NoRoom.

        environment, progress: as `Checkpoint` has them. training: what an unfinished training goes on with; only of a
        finished one the program is captured.
        """
        # In the layout that weights are loaded in: another one sums in another order.
        local = copy.deepcopy(model).cpu().float().to(memory_format=torch.contiguous_format).eval()
        arrays: dict[str, Arrays] = {checkpoint.WEIGHTS: to_numpy(separate(local.state_dict())), **self.record(local)}
        if training:
            arrays[checkpoint.TRAINING] = training
        patterns = Patterns.of(arrays[checkpoint.PROBES])
        finished = progress["finished"]
        kept = keep(local, self.inputs, self.golden.inputs, patterns, self.sizes) if finished else Kept()
        tensors = (self.inputs, self.described(local))
        inputs, outputs = (of_one_sample(side) if kept.single else side for side in tensors)
        record = {
            **self.told.record(),
            "inputs": tensors_to(inputs),
            "outputs": tensors_to(outputs),
            "metrics": metrics,
            "environment": environment,
            "progress": progress,
            "refusals": {name: refusal.record() for name, refusal in kept.refusals.items()},
            "findings": [*self.told.findings, *kept.findings],
        }
        return Checkpoint.write(folder, record, self.told.config, arrays, kept.write)

    def record(self, local: nn.Module) -> dict[str, dict[str, Array]]:
        """Return the arrays of golden.safetensors, probes.safetensors and calibration.safetensors (see Checkpoint).

        local: on the CPU, float32, eval mode. Raises BadInput for outputs without signal.
        """
        golden, beside, outputs, oracle = self._beside_double(local)
        floors = self._floors(local, outputs, oracle)
        beside |= Patterns(to_numpy(self.patterns), outputs, oracle, to_numpy(floors)).arrays()
        return {
            checkpoint.GOLDEN: golden.arrays(),
            checkpoint.PROBES: beside,
            checkpoint.CALIBRATION: flat({INPUT: to_numpy(self.calibration)}),
        }

    def _beside_double(self, local: nn.Module) -> tuple[Golden, dict[str, Array], Arrays, Arrays]:
        """Return all that needs the float64 model, which is as large as all others together and is gone afterwards.

        Golden; probes and sizes by flat names; the patterns' outputs and oracle. Raises BadInput.
        """
        double = copy.deepcopy(local).double()

        def run(inputs: Tensors, batch: int) -> tuple[Arrays, Arrays, Arrays]:
            """Return inputs, PyTorch's outputs and the oracle's."""
            outputs = predict(local, inputs, self.outputs, batch)
            with in_double():
                oracle = predict(double, doubled(inputs), self.outputs, batch)
            return to_numpy(inputs), to_numpy(outputs), to_numpy(oracle)

        golden = Golden(*run(self.golden.inputs, self.batch), truth=to_numpy(self.golden.truth))
        _check_signal(golden.outputs)
        beside: dict[str, Array] = {}
        if self.probes:
            files = {name: tuple(probe.files) for name, probe in self.probes.items()}
            beside |= Probes(files, *run(self._beside_probes(), self.batch)).arrays()
        beside |= Sized.arrays_of(Sized(*run(inputs, self.batch)) for inputs in self.sizes)
        _, outputs, oracle = run(self.patterns, batch=1)  # one by one, for a network may look at its whole batch
        return golden, beside, outputs, oracle

    def _beside_probes(self) -> Tensors:
        """Return the probes' images, and of inputs that are no images as many of golden's."""
        count = min(len(probe.image) for probe in self.probes.values())
        return {
            name: self.probes[name].image[:count] if name in self.probes else values[:count]
            for name, values in self.golden.inputs.items()
        }

    def _floors(self, model: nn.Module, outputs: Arrays, oracle: Arrays) -> Tensors:
        """Return the noise floor of each pattern by output, (5,) float64: how far roundings lead from the oracle."""
        inputs, rounded = self.patterns, list[Arrays]([outputs])
        for other, values in roundings(model, inputs):
            with in_double():
                rounded.append(to_numpy(predict(other, values, self.outputs, batch=1)))
            del other  # before the next one is made
        if models.allows_channels_last(model, inputs):  # other kernels, which add in another order
            turned = copy.deepcopy(model).to(memory_format=torch.channels_last)
            rounded.append(to_numpy(predict(turned, models.channels_last(inputs), self.outputs, batch=1)))
        return {
            name: torch.stack([torch.from_numpy(_distances(values[name], exact)) for values in rounded]).amax(0)
            for name, exact in oracle.items()
        }

    def described(self, model: nn.Module) -> tuple[Tensor, ...]:
        """Return the outputs of a model on the CPU as the checkpoint describes them."""
        lengths = {place: size for tensor in self.inputs for place, size in self._lengths(tensor)}
        first, *others = (
            predict(model, {name: values[:1] for name, values in inputs.items()}, self.outputs)
            for inputs in (self.golden.inputs, *self.sizes)
        )
        batch = self.inputs[0].shape[0]
        tensors = []
        for name, value in first.items():
            axes = _axes(name, value, [other[name] for other in others], lengths)
            tensors.append(Tensor(name, _dtype(value), (batch, *axes), self.outputs[name]))
        return tuple(tensors)

    def _lengths(self, tensor: Tensor) -> Iterator[tuple[tuple[int, str], tuple[int, ...]]]:
        """Yield each axis of any length of an input but the batch, with its name; its lengths in golden and `sizes`."""
        for axis, name in enumerate(tensor.shape[1:], 1):
            if isinstance(name, str):
                lengths = tuple(inputs[tensor.name].shape[axis] for inputs in (self.golden.inputs, *self.sizes))
                yield (axis, name), lengths

    @property
    def batch(self) -> int:
        """Return how many samples the model is given in one call."""
        return 1 if self.inputs[0].shape[0] == 1 else BATCH


def of_one_sample(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Return tensors of a model that takes one sample at a time."""
    return tuple(replace(tensor, shape=(1, *tensor.shape[1:])) for tensor in tensors)


def _axes(
    output: str,
    value: torch.Tensor,
    others: Sequence[torch.Tensor],
    lengths: Mapping[tuple[int, str], tuple[int, ...]],
) -> list[int | str]:
    """Return the axes of an output beside the batch: a length, or the name of an axis whose length is another one in
    `others`: the input's that is as long, at best in the same place, else one of its own, `mask_axis_2`.
    """
    axes: list[int | str] = []
    for axis in range(1, value.ndim):
        each = (value.shape[axis], *(other.shape[axis] for other in others))
        same = {place: name for (place, name), of_input in lengths.items() if of_input == each}
        name = same.get(axis) or next(iter(same.values()), f"{output}_axis_{axis}")
        axes.append(each[0] if len(set(each)) == 1 else name)
    return axes


def of_training(data: Data, config: Config, loaded: Mapping[str, Any] | None = None) -> HeldOut:
    """Return the held-out samples of a training: images of the test split, and for calibration of the training one.

    loaded: the proof of the weights that it starts from.
    """
    chosen = choose(data.test, config.data.golden)
    batch = data.test.batch(chosen)
    image = batch.inputs[IMAGE]
    model = config.model
    prepared = data.preparation.record()
    interface = Tensor(IMAGE, "float32", ("batch", *image.shape[1:]), "NCHW", (0.0, 1.0), "RGB", preparation=prepared)
    normalisation = {"mean": model.mean, "deviation": model.deviation, "inside_model": True}
    pictures = [data.test.picture(number) for number in chosen[:PICTURES]]
    return HeldOut(
        told=Told(config.task, data.labels, model.name, normalisation, to_toml(config), loaded, data.findings),
        inputs=(interface,),
        outputs=tasks.load(config.task).OUTPUTS,
        golden=batch,
        calibration=calibration(data, config.data.calibration, image),
        patterns={IMAGE: patterns(image, (0.0, 1.0))},
        probes={IMAGE: ImageFiles(pictures, data.preparation)},
    )


def _distances(values: Array, exact: Array) -> Array:
    """Return the greatest distance of each sample, (N,) float64; NaN where one is."""
    apart = np.abs(values.astype(np.float64) - exact.astype(np.float64))
    return np.asarray(apart.reshape(len(exact), -1).max(axis=1))


def _dtype(tensor: torch.Tensor) -> str:
    """Return `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def _check_signal(outputs: Arrays) -> None:
    """Raise BadInput if outputs do not depend on the input: comparing them would prove nothing.
    An untrained vit_b_16 of torchvision is such a model.
    """
    for name, value in outputs.items():
        if len(value) > 1 and bool((value == value[0]).all()):
            raise BadInput(
                f"golden {name}: the same for all {len(value)} inputs, so no parity could be proved on it. Train "
                "longer, or another model."
            )


def separate(tensors: Tensors) -> Tensors:
    """Return tensors that share no memory: of tied weights, a copy each, for safetensors refuses shared ones."""
    seen: set[int] = set()
    copies: Tensors = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        copies[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return copies


def to_numpy(tensors: Tensors) -> dict[str, Array]:
    """Return contiguous arrays, as safetensors takes them; bfloat16, which numpy has not, as float32."""
    local = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    without_bfloat16 = {
        name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor for name, tensor in local.items()
    }
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in without_bfloat16.items()}
