"""Faults in an artifact's constants, in every format alike: of one layer, of one class, of normalisation.

    change = weights("narrow", 1.01)           # one per cent too much, in whatever artifact it is applied to

A layer's weights are found by their shape, for each has one of its own (network.py). Integers are changed as they are
stored, and by their steps.
"""

from collections.abc import Iterator

import numpy as np

from records.tensor import Array, Arrays
from tests.mutants import network
from tests.mutants.bench import Change, Opened

MEAN, DEVIATION = (0.4, 0.35, 0.3), (0.3, 0.25, 0.35)
"""What the network is trained with."""
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = (3, 8)
"""That change places."""


SHAPES = {
    name.removesuffix(".weight"): tuple(sorted(size for size in value.shape if size > 1))
    for name, value in network.network(10).named_parameters()
    if name.endswith(".weight") and value.ndim > 1
}
"""Of a layer's weights, without axes of one and in whatever order."""
OUTPUTS = {
    name.removesuffix(".bias"): len(value)
    for name, value in network.network(10).named_parameters()
    if name.endswith(".bias")
}


def key_of(constants: Arrays, shape: tuple[int, ...]) -> str:
    """The only constant of that shape."""
    found = [
        name
        for name, value in constants.items()
        if tuple(sorted(size for size in value.shape if size > 1)) == shape
        and not name.endswith(("/steps", "_scale", "_zero_point"))
    ]
    assert len(found) == 1, (shape, found)
    return found[0]


def weights_of(constants: Arrays, layer: str) -> str:
    return key_of(constants, SHAPES[layer])


def bias_of(constants: Arrays, layer: str) -> str:
    return key_of(constants, (OUTPUTS[layer],))


def scale(constants: Arrays, key: str, factor: Array | float) -> None:
    """Numbers times a factor: integers by their steps."""
    stepped = f"{key}/steps" if f"{key}/steps" in constants else key
    constants[stepped] = (constants[stepped] * factor).astype(constants[stepped].dtype)


def weights(layer: str, factor: float) -> Change:
    """One layer's weights times a factor."""

    def change(opened: Opened) -> None:
        with opened.constants() as constants:
            scale(constants, weights_of(constants, layer), factor)

    return change


def no_bias(layer: str) -> Change:
    """Zero instead of it."""

    def change(opened: Opened) -> None:
        with opened.constants() as constants:
            key = bias_of(constants, layer)
            constants[key] = np.zeros_like(constants[key])

    return change


def logits(factor: float) -> Change:
    """All of them times a factor, which keeps every decision."""

    def change(opened: Opened) -> None:
        with opened.constants() as constants:
            key, bias = weights_of(constants, "head"), bias_of(constants, "head")
            scale(constants, key, factor)
            if constants[bias].dtype.kind == "f":  # integers are taken in steps of the weights' own
                scale(constants, bias, factor)

    return change


def unlikely(index: int) -> Change:
    """A class whose bias is far below the others'."""

    def change(opened: Opened) -> None:
        with opened.constants() as constants:
            key = bias_of(constants, "head")
            value = constants[key].copy()
            value[index] -= 50
            constants[key] = value

    return change


def swapped_classes(opened: Opened) -> None:
    """Two rows of the last layer, with their biases and steps."""
    with opened.constants() as constants:
        key, bias = weights_of(constants, "head"), bias_of(constants, "head")
        for name in (key, bias, f"{key}/steps", f"{bias}/steps"):
            value = constants.get(name)
            if value is not None and OUTPUTS["head"] in value.shape:
                axis = value.shape.index(OUTPUTS["head"])
                constants[name] = np.take(value, _exchanged(OUTPUTS["head"]), axis)


def _exchanged(count: int) -> list[int]:
    order = list(range(count))
    first, second = CLASSES
    order[first], order[second] = second, first
    return order


def rotated(layer: str) -> Change:
    """The steps of a layer's channels, each taken for its neighbour's."""

    def change(opened: Opened) -> None:
        with opened.constants() as constants:
            key = f"{weights_of(constants, layer)}/steps"
            constants[key] = np.roll(constants[key], 1)

    return change


def nan(layer: str) -> Change:
    """One weight; of integers one step."""

    def change(opened: Opened) -> None:
        with opened.constants() as constants:
            key = weights_of(constants, layer)
            key = key if constants[key].dtype.kind == "f" else f"{key}/steps"
            value = constants[key].copy()
            value.flat[0] = np.nan
            constants[key] = value

    return change


def infinite(layer: str) -> Change:
    """One weight beyond what float16 can say, stored as it."""

    def change(opened: Opened) -> None:
        with opened.constants() as constants:
            key = weights_of(constants, layer)
            assert constants[key].dtype == np.float16
            value = constants[key].copy()
            value.flat[0] = np.inf
            constants[key] = value

    return change


TO_PYTORCH = {
    "tflite": {4: (0, 3, 1, 2), 2: (0, 1)},
    "saved_model": {4: (3, 2, 0, 1), 2: (1, 0)},
    "tfjs": {4: (3, 2, 0, 1), 2: (1, 0)},
}
"""Target → by rank the axes that give PyTorch's order: output, input, height, width. Others have it."""


def turned(layer: str, how: str) -> Change:
    """A layer's weights in another order: see `ORDERS`."""

    def change(opened: Opened) -> None:
        with opened.constants() as constants:
            key = weights_of(constants, layer)
            value = constants[key]
            axes = TO_PYTORCH.get(opened.artifact.target, {}).get(value.ndim, tuple(range(value.ndim)))
            constants[key] = ORDERS[how](value.transpose(axes)).transpose(np.argsort(axes))

    return change


ORDERS = {
    "BGR": lambda value: value[:, ::-1],
    "height and width": lambda value: value.swapaxes(2, 3),
    # features flattened (H, W, C) instead of (C, H, W): 20 channels of 2 × 2
    "flattened": lambda value: value.reshape(-1, 2, 2, 20).transpose(0, 3, 1, 2).reshape(value.shape),
}


def normalised(mean: tuple[float, ...], deviation: tuple[float, ...]) -> Change:
    """Another mean and deviation, as two constants or as the convolution of one pixel that both were made."""

    def change(opened: Opened) -> None:
        old, new = (np.array([MEAN, DEVIATION]), np.array([mean, deviation]))
        known = [
            (old[0], new[0]),
            (old[1], new[1]),
            (1 / old[1], 1 / new[1]),
            (-old[0] / old[1], -new[0] / new[1]),
        ]
        with opened.constants() as constants:
            found = list(_replaced(constants, known, (new[0] / old[0])))
            assert len(found) == 2, found

    return change


def _replaced(constants: Arrays, known: list[tuple[Array, Array]], integers: Array) -> Iterator[str]:
    for name, value in list(constants.items()):
        if value.size != 3 or name.endswith("/steps"):
            continue
        if value.dtype == np.int32:  # a bias in the weights' own steps
            constants[name] = np.round(value * integers).astype(np.int32)
            yield name
            continue
        steps = constants.get(f"{name}/steps", np.ones(3))
        for before, after in known:
            if np.allclose(value.ravel() * steps[-3:], before, rtol=0.02):
                scale(
                    constants,
                    name,
                    (after / before).reshape(steps.shape if f"{name}/steps" in constants else value.shape),
                )
                yield name
