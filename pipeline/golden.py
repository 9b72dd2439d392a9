"""The checkpoint's proof: held-out inputs, labels, PyTorch's outputs and the oracle; probes; calibration samples."""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline import checkpoint, models
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config, to_toml
from pipeline.data import IMAGE, Data, Split
from pipeline.datasets import Sample
from pipeline.models import named
from pipeline.probes import ImageFiles, patterns, roundings
from pipeline.tasks import Task, Tensors
from records.errors import BadInput
from records.golden import INPUT, Golden, Patterns, Probes, flat
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


class HeldOut:
    """The samples, prepared once; the outputs, computed for every checkpoint.

    `calibration` are prepared as a user's images are, without augmentation.
    """

    def __init__(self, data: Data, config: Config, task: Task):
        self.task, self.config, self.labels, self.preparation = task, config, data.labels, data.preparation
        chosen = choose(data.test, config.data.golden)
        self.batch = data.test.batch(chosen)
        image = self.batch.inputs[IMAGE]
        self.probes = ImageFiles(data, chosen)
        self.patterns = patterns(image[0])
        self.calibration = calibration(data, config.data.calibration, image)

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

        environment, progress: as `Checkpoint` has them. training: what an unfinished training goes on with.
        """
        inputs, outputs = self.tensors(model)
        config = self.config.model
        record = {
            "task": self.config.task,
            "labels": self.labels,
            "inputs": tensors_to(inputs),
            "outputs": tensors_to(outputs),
            "normalisation": {"mean": config.mean, "deviation": config.deviation, "inside_model": True},
            "metrics": metrics,
            "environment": environment,
            "progress": progress,
        }
        arrays: dict[str, Arrays] = {checkpoint.WEIGHTS: to_numpy(model.state_dict()), **self.record(model)}
        if training:
            arrays[checkpoint.TRAINING] = training
        return Checkpoint.write(folder, record, to_toml(self.config), arrays)

    def record(self, model: nn.Module) -> dict[str, dict[str, Array]]:
        """Return the arrays of golden.safetensors, probes.safetensors and calibration.safetensors (see Checkpoint).

        model: any device, eval mode; it is copied to the CPU. Raises BadInput for outputs without signal.
        """
        # In the layout `Checkpoint.model` loads it in: another one sums in another order.
        local = copy.deepcopy(model).cpu().float().to(memory_format=torch.contiguous_format).eval()
        double = copy.deepcopy(local).double()

        def run(inputs: Tensors) -> tuple[Arrays, Arrays, Arrays]:
            """Return inputs, PyTorch's outputs and the oracle's."""
            exact = {name: tensor.double() for name, tensor in inputs.items()}
            outputs, oracle = predict(local, inputs, self.task.OUTPUTS), predict(double, exact, self.task.OUTPUTS)
            return to_numpy(inputs), to_numpy(outputs), to_numpy(oracle)

        golden = Golden(*run(self.batch.inputs), truth=to_numpy(self.batch.truth))
        _check_signal(golden.outputs)
        probes = Probes({IMAGE: tuple(self.probes.files)}, *run({IMAGE: self.probes.image}))
        return {
            checkpoint.GOLDEN: golden.arrays(),
            checkpoint.PROBES: probes.arrays() | self._of_patterns(local).arrays(),
            checkpoint.CALIBRATION: flat({INPUT: to_numpy(self.calibration)}),
        }

    def _of_patterns(self, model: nn.Module) -> Patterns:
        """Run the patterns one by one, for a network may look at its whole batch; with the noise floor of each."""
        image = self.patterns

        def run(model: nn.Module, image: torch.Tensor) -> Tensors:
            return predict(model, {IMAGE: image}, self.task.OUTPUTS, batch=1)

        outputs, oracle = run(model, image), run(copy.deepcopy(model).double(), image.double())
        rounded = [outputs, *(run(other, inputs) for other, inputs in roundings(model, image))]
        if models.allows_channels_last(model, self.config):  # other kernels, which add in another order
            turned = copy.deepcopy(model).to(memory_format=torch.channels_last)
            rounded.append(run(turned, image.contiguous(memory_format=torch.channels_last)))
        floors = {
            key: torch.stack([(other[key] - exact).abs().flatten(1).amax(1) for other in rounded]).amax(0)  # → (5,)
            for key, exact in oracle.items()
        }
        return Patterns(to_numpy({IMAGE: image}), to_numpy(outputs), to_numpy(oracle), to_numpy(floors))

    def tensors(self, model: nn.Module) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return inputs and outputs of the model as the checkpoint describes them."""
        images = self.batch.inputs[IMAGE]
        shape = ("batch", *images.shape[1:])
        prepared = self.preparation.record()
        inputs = (Tensor(IMAGE, "float32", shape, "NCHW", (0.0, 1.0), "RGB", preparation=prepared),)
        first = {IMAGE: images[:1].to(next(model.parameters()).device)}
        outputs = predict(model, first, self.task.OUTPUTS)
        return inputs, tuple(
            Tensor(name, _dtype(value), ("batch", *value.shape[1:]), self.task.OUTPUTS[name])
            for name, value in outputs.items()
        )


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


def to_numpy(tensors: Tensors) -> dict[str, Array]:
    """Return contiguous arrays, as safetensors takes them; bfloat16, which numpy has not, as float32."""
    local = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    without_bfloat16 = {
        name: tensor.float() if tensor.dtype == torch.bfloat16 else tensor for name, tensor in local.items()
    }
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in without_bfloat16.items()}
