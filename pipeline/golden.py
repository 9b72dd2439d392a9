"""The checkpoint's proof: held-out inputs, labels, PyTorch's outputs and the oracle; probes; calibration samples."""

import copy

import numpy as np
import torch
from torch import nn

from pipeline import checkpoint, models
from pipeline.config import Config
from pipeline.data import Data, Split
from pipeline.probes import ImageFiles, patterns, roundings
from pipeline.tasks import Task, Tensors
from records.errors import BadInput
from records.golden import INPUT, Golden, Patterns, Probes, flat
from records.sealed import fingerprints
from records.tensor import Array, Arrays, Tensor

BATCH = 32


def named(outputs: torch.Tensor | tuple[torch.Tensor, ...], names: tuple[str, ...]) -> Tensors:
    """What a model returned, by the names its task gives to the outputs."""
    values = (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)
    if len(values) != len(names):
        raise BadInput(
            f"the model returns {len(values)} tensors, its task names {len(names)} ({', '.join(names)}). Return those."
        )
    return dict(zip(names, values, strict=True))


def predict(model: nn.Module, image: torch.Tensor, names: tuple[str, ...], batch: int = BATCH) -> Tensors:
    """Outputs of a model in eval mode on (N, 3, H, W), in batches."""
    with torch.no_grad():
        parts = [named(model(part), names) for part in image.split(batch)]
    return {name: torch.cat([part[name] for part in parts]) for name in names}


def choose(split: Split, count: int) -> list[int]:
    """`count` samples of a split (all, where it has fewer): always the same ones."""
    return torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:count].tolist()


def calibration(data: Data, count: int, golden: torch.Tensor) -> torch.Tensor:
    """Choose training samples (N, 3, H, W), prepared without augmentation, none of which is golden, too.

    Data sets hold duplicates, and integers judged on what set their ranges would look better than they are. Samples are
    prepared one by one until there are enough, so that a large data set is not gone through. Raises BadInput.
    """
    plain = Split(data.train.raw, data.train.numbers, data.train.prepare)
    held_out = set(fingerprints(golden.numpy()))
    found: list[torch.Tensor] = []
    for number in choose(plain, len(plain)):
        image, _ = plain[number]
        if len(found) < count and fingerprints([image.numpy()])[0] not in held_out:
            found.append(image)
        if len(found) == count:
            break
    if not found:
        raise BadInput("every training image is golden, too. Give other images for testing.")
    return torch.stack(found)


class HeldOut:
    """The samples, prepared once; the outputs, computed for every checkpoint.

    `calibration` are prepared as a user's images are, without augmentation.
    """

    def __init__(self, data: Data, config: Config, task: Task):
        self.task, self.config = task, config
        chosen = choose(data.test, config.data.golden)
        self.image, self.labels = data.test.stack(chosen)
        self.probes = ImageFiles(data, chosen)
        self.patterns = patterns(self.image[0])
        self.calibration = calibration(data, config.data.calibration, self.image)

    def record(self, model: nn.Module) -> dict[str, dict[str, Array]]:
        """The arrays of golden.safetensors, probes.safetensors and calibration.safetensors (see Checkpoint).

        model: any device, eval mode; it is copied to the CPU. Raises BadInput for outputs without signal.
        """
        # In the layout `Checkpoint.model` loads it in: another one sums in another order.
        local = copy.deepcopy(model).cpu().float().to(memory_format=torch.contiguous_format).eval()
        double = copy.deepcopy(local).double()
        (name,) = self.task.INPUTS

        def run(image: torch.Tensor) -> tuple[Arrays, Arrays, Arrays]:
            """Return inputs, PyTorch's outputs and the oracle's."""
            outputs = predict(local, image, self.task.OUTPUTS)
            oracle = predict(double, image.double(), self.task.OUTPUTS)
            return to_numpy({name: image}), to_numpy(outputs), to_numpy(oracle)

        golden = Golden(*run(self.image), truth=to_numpy({"labels": self.labels}))
        _check_signal(golden.outputs)
        probes = Probes(tuple(self.probes.files), *run(self.probes.image))
        return {
            checkpoint.GOLDEN: golden.arrays(),
            checkpoint.PROBES: probes.arrays() | self._of_patterns(local).arrays(),
            checkpoint.CALIBRATION: flat({INPUT: to_numpy({name: self.calibration})}),
        }

    def _of_patterns(self, model: nn.Module) -> Patterns:
        """Run the patterns one by one, for a network may look at its whole batch; with the noise floor of each."""
        (name,), image = self.task.INPUTS, self.patterns

        def run(one: nn.Module, given: torch.Tensor) -> Tensors:
            return predict(one, given, self.task.OUTPUTS, batch=1)

        outputs, oracle = run(model, image), run(copy.deepcopy(model).double(), image.double())
        ways = [outputs, *(run(one, given) for one, given in roundings(model, image))]
        if models.allows_channels_last(model, self.config):  # other kernels, which add in another order
            turned = copy.deepcopy(model).to(memory_format=torch.channels_last)
            ways.append(run(turned, image.contiguous(memory_format=torch.channels_last)))
        floors = {
            key: torch.stack([(way[key] - exact).abs().flatten(1).amax(1) for way in ways]).amax(0)  # (ways, 5) → (5,)
            for key, exact in oracle.items()
        }
        return Patterns(to_numpy({name: image}), to_numpy(outputs), to_numpy(oracle), to_numpy(floors))

    def tensors(self, model: nn.Module) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Inputs and outputs of the model as the checkpoint describes them."""
        (name,) = self.task.INPUTS
        inputs = (Tensor(name, "float32", ("batch", *self.image.shape[1:]), "NCHW", (0.0, 1.0), "RGB"),)
        outputs = predict(model, self.image[:1].to(next(model.parameters()).device), self.task.OUTPUTS)
        described = tuple(Tensor(key, "float32", ("batch", *value.shape[1:]), "NK") for key, value in outputs.items())
        return inputs, described


def _check_signal(outputs: Arrays) -> None:
    """A comparison with outputs that do not depend on the input proves nothing (torchvision's vit_b_16 starts so)."""
    for name, value in outputs.items():
        if len(value) > 1 and bool((value == value[0]).all()):
            raise BadInput(
                f"golden {name}: the same for all {len(value)} inputs, so no parity could be proved on it. Train "
                "longer, or another model."
            )


def to_numpy(tensors: Tensors) -> dict[str, Array]:
    """Contiguous arrays on the CPU, as safetensors takes them."""
    return {name: np.ascontiguousarray(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}
