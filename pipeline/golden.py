"""The checkpoint's proof: held-out inputs, labels, PyTorch's outputs and the oracle; probes; calibration samples."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

import measures.tasks
from measures.boxes import OTHER
from measures.tasks import NOTHING_KNOWN
from pipeline import checkpoint, models, tasks
from pipeline.captured import Kept, keep
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config, to_toml
from pipeline.data import IMAGE, Data, Split
from pipeline.datasets import Sample
from pipeline.detectors import joined, rivals_of
from pipeline.detectors.suppression import ROUNDS, unsettled
from pipeline.models import BATCH, predict
from pipeline.oracle import in_double
from pipeline.otherwise import answers, decides_inside, otherwise
from pipeline.probes import PICTURES, ImageFiles, doubled, patterns, roundings
from pipeline.tasks import Batch, Tensors
from records.errors import BadInput
from records.golden import INPUT, Golden, Patterns, Probes, Sized, flat
from records.head import FILE as HEAD
from records.head import OUTPUTS, Head
from records.sealed import fingerprints
from records.tensor import Array, Arrays, Tensor, tensors_to

FEW = 4
"""Golden samples of an unfinished training."""
WATCHED = 64
"""Golden samples on which suppression is watched, at most."""
MOST_BYTES = 8 * 2**30
"""Golden's outputs, at most: the oracle's take twice as much again."""


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
    decoding: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the fields of the checkpoint's record."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "config"}


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
    head: Head | None = None
    """Of a detector's raw head: what makes boxes of it."""

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
        local = out_of_place(copy.deepcopy(model).cpu().float().to(memory_format=torch.contiguous_format).eval())
        finished = bool(progress["finished"])
        proof = (self if finished else self._few()).record(local, finished)
        arrays: dict[str, Arrays] = {checkpoint.WEIGHTS: to_numpy(separate(local.state_dict())), **proof}
        if training:
            arrays[checkpoint.TRAINING] = training
        patterns = Patterns.of(arrays[checkpoint.PROBES])
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
            "findings": [*self.told.findings, *kept.findings, *(self._cut_short(local) if finished else ())],
        }

        def add(new: Path) -> None:
            kept.write(new)
            if self.head:
                (new / HEAD).write_text(self.head.text(), encoding="utf-8")

        return Checkpoint.write(folder, record, self.told.config, arrays, add)

    def without_decoding(self, head: Head) -> "HeldOut":
        """Return the same samples for the raw head of a detector, whose numbers are compared as such."""
        told = replace(self.told, task="regression", decoding={})
        return replace(self, told=told, outputs=OUTPUTS, golden=Batch(self.golden.inputs, {}), head=head)

    def _cut_short(self, model: nn.Module) -> list[str]:
        """Return a finding if the repetitions of a detector's suppression are too few for some of golden; else none."""
        if not self.told.decoding:
            return []
        count, inputs = 0, [tensor[:WATCHED].split(self.batch) for tensor in self.golden.inputs.values()]
        with torch.no_grad():
            for part in zip(*inputs, strict=True):
                with unsettled() as calls:
                    model(*part)
                count += int(torch.stack(calls).any(0).sum())
        if not count:
            return []
        return [
            f"suppression: on {count} of {sum(map(len, inputs[0]))} golden samples more than {ROUNDS} boxes suppress "
            "each other in a chain; there other boxes are given than by greedy suppression, in every format alike. "
            "Give a higher detection.score or detection.iou, or fewer detection.candidates"
        ]

    def _few(self) -> "HeldOut":
        """Return the first samples alone: an unfinished training has nothing to prove, and computes them each epoch."""
        inputs, truth, samples = (
            {name: values[:FEW] for name, values in part.items()}
            for part in (self.golden.inputs, self.golden.truth, self.calibration)
        )
        return replace(self, golden=Batch(inputs, truth), calibration=samples, patterns={}, probes={}, sizes=())

    def record(self, local: nn.Module, finished: bool = True) -> dict[str, dict[str, Array]]:
        """Return the arrays of golden.safetensors, probes.safetensors and calibration.safetensors (see Checkpoint).

        local: on the CPU, float32, eval mode. Raises BadInput for outputs without signal, where there should be some.
        """
        golden, beside, patterns = self._beside_double(local, finished)
        if patterns:
            beside |= replace(patterns, floors=to_numpy(self._floors(local, patterns))).arrays()
        return {
            checkpoint.GOLDEN: golden.arrays(),
            checkpoint.PROBES: beside,
            checkpoint.CALIBRATION: flat({INPUT: to_numpy(self.calibration)}),
        }

    def _beside_double(self, local: nn.Module, finished: bool) -> tuple[Golden, dict[str, Array], Patterns | None]:
        """Return all that needs the float64 model, which is as large as all others together and is gone afterwards.

        Golden; probes and sizes by flat names; patterns without their noise floors. Raises BadInput.
        """
        double = copy.deepcopy(local).double()
        in_place = measures.tasks.load(self.told.task).IN_PLACE
        inside = finished and not in_place and decides_inside(local, self.golden.inputs)

        def run(inputs: Tensors, batch: int, strict: bool = False) -> tuple[Arrays, Arrays, Arrays, Arrays]:
            """Return inputs, PyTorch's outputs and the oracle's, in the outputs' order, and the outputs' rivals.

            strict: where both found other things by rounding, the oracle lies as far away as those do.
            """
            with rivals_of(local) as calls:
                outputs = to_numpy(predict(local, inputs, self.outputs, batch))
            rivals = joined(calls)
            with in_double():
                oracle = predict(double, doubled(inputs), self.outputs, batch)
            if inside:
                rivals |= otherwise(local, inputs, self.outputs, batch, oracle)
            known = to_numpy(rivals)
            ordered = self._in_order(to_numpy(oracle), outputs, _of_boxes(known) if strict else known)
            return to_numpy(inputs), outputs, ordered, known

        inputs, outputs, oracle, rivals = run(self.golden.inputs, self.batch)
        golden = Golden(inputs, outputs, oracle, to_numpy(self.golden.truth), rivals)
        if finished or in_place:  # a new detector finds nothing anywhere
            _check_signal(golden.outputs)
        beside: dict[str, Array] = {}
        if self.probes:
            files = {name: tuple(probe.files) for name, probe in self.probes.items()}
            beside |= Probes(files, *run(self._beside_probes(), self.batch)).arrays()
        beside |= Sized.arrays_of(Sized(*run(inputs, self.batch)) for inputs in self.sizes)
        if not self.patterns:
            return golden, beside, None
        # One by one, for a network may look at its whole batch.
        inputs, outputs, oracle, rivals = run(self.patterns, batch=1, strict=True)
        return golden, beside, Patterns(inputs, outputs, oracle, {}, rivals)

    def _beside_probes(self) -> Tensors:
        """Return the probes' images, and of inputs that are no images as many of golden's."""
        count = min(len(probe.image) for probe in self.probes.values())
        return {
            name: self.probes[name].image[:count] if name in self.probes else values[:count]
            for name, values in self.golden.inputs.items()
        }

    def _floors(self, model: nn.Module, computed: Patterns) -> Tensors:
        """Return the noise floor of each pattern by output, (5,) float64: how far roundings lead from the oracle.

        Of a detector that chooses inside they may lead to other boxes, and do on noise: then the pattern says little.
        """
        inputs, oracle, rounded = self.patterns, computed.oracle, list[Arrays]([computed.outputs])
        rivals = _of_boxes(computed.rivals)

        def add(outputs: Tensors) -> None:
            rounded.append(self._in_order(to_numpy(outputs), oracle, rivals))

        for other, values in roundings(model, inputs):
            with in_double():
                outputs = predict(other, values, self.outputs, batch=1)
            add(outputs)
            del other  # before the next one is made
        if models.allows_channels_last(model, inputs):  # other kernels, which add in another order
            turned = copy.deepcopy(model).to(memory_format=torch.channels_last)
            add(predict(turned, models.channels_last(inputs), self.outputs, batch=1))
        if len(rivals) < len(computed.rivals):
            for outputs in answers(model, inputs, self.outputs, batch=1):
                add(outputs)
        return {
            name: torch.stack([torch.from_numpy(_distances(values[name], exact)) for values in rounded]).amax(0)
            for name, exact in oracle.items()
        }

    def _in_order(self, values: Arrays, reference: Arrays, rivals: Arrays = NOTHING_KNOWN) -> Arrays:
        """Return outputs (N, …), what is found in each sample in a reference's order."""
        task = measures.tasks.load(self.told.task)
        return measures.tasks.in_order(task, values, reference, self.told.decoding, rivals)

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
        if self.inputs[0].shape[0] == 1:
            return 1
        name = self.told.task
        return getattr(tasks.load(name), "BATCH", BATCH) if name in tasks.names() else BATCH


def out_of_place(model: nn.Module) -> nn.Module:
    """Have every activation return a new tensor, and return the model.

    The values are the same, and PyTorch's exporters need not find out what becomes of the old one: in a profile of
    SSDLite320's way to ONNX its 55 activations took most of the time.
    """
    for module in model.modules():
        if getattr(module, "inplace", False) is True:
            cast(Any, module).inplace = False
    return model


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


def of_training(
    data: Data,
    config: Config,
    loaded: Mapping[str, Any] | None = None,
    decoding: Mapping[str, float] | None = None,
) -> HeldOut:
    """Return the held-out samples of a training: images of the test split, and for calibration of the training one.

    loaded: the proof of the weights that it starts from. decoding: what a detector's boxes are chosen by.
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
        told=Told(
            config.task, data.labels, model.name, normalisation, to_toml(config), loaded, data.findings, decoding or {}
        ),
        inputs=(interface,),
        outputs=tasks.load(config.task).OUTPUTS,
        golden=batch,
        calibration=calibration(data, config.data.calibration, image),
        patterns={IMAGE: patterns(image, (0.0, 1.0))},
        probes={IMAGE: ImageFiles(pictures, data.preparation)},
    )


def _of_boxes(rivals: Arrays) -> Arrays:
    """Return the rivals of each box alone, without whole answers."""
    return {name: values for name, values in rivals.items() if not name.startswith(OTHER)}


def _distances(values: Array, exact: Array) -> Array:
    """Return the greatest distance of each sample, (N,) float64; NaN where one is."""
    apart = np.abs(values.astype(np.float64) - exact.astype(np.float64))
    return np.asarray(apart.reshape(len(exact), -1).max(axis=1))


def _dtype(tensor: torch.Tensor) -> str:
    """Return `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def check_room(outputs: Tensors, samples: int) -> None:
    """Raise BadInput if the outputs of that many golden samples fill memory. outputs: of a few (n, …) by name."""
    needed = {name: samples * value[0].numel() * value.element_size() for name, value in outputs.items()}
    greatest = max(needed, key=lambda name: needed[name])
    if sum(needed.values()) > MOST_BYTES:
        raise BadInput(
            f"golden: {greatest} {tuple(outputs[greatest].shape[1:])} of {samples} samples take "
            f"{needed[greatest] / 1e9:.0f} GB, and {MOST_BYTES / 1e9:.0f} GB are the most. Give fewer golden samples, "
            "or smaller pictures."
        )


def _check_signal(outputs: Arrays) -> None:
    """Raise BadInput if outputs do not depend on the input: comparing them would prove nothing.
    An untrained vit_b_16 of torchvision is such a model.
    """
    for name, value in outputs.items():
        if value.dtype.kind == "f" and len(value) > 1 and bool((value == value[0]).all()):
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
    # numpy.ascontiguousarray would give a number an axis.
    return {name: np.asarray(tensor.numpy(), order="C") for name, tensor in without_bfloat16.items()}
