"""Rounds weights to integer steps so that what a layer gives changes least, not the weights themselves.

    round_weights(network, samples, top=lambda layer: 127)

Rounding each weight to the nearest step errs by up to half a step each, and inputs are alike: a depthwise filter whose
weights cancel each other reads the mean of a patch, which is many times the difference that it is to measure. Here one
weight after the other is rounded, and the error it makes is made up for by those that are not rounded yet, in the
proportion in which their inputs go together on calibration samples. After Frantar et al. 2022, "GPTQ"
(https://arxiv.org/abs/2210.17323) and Hassibi and Stork 1993. mobilenet_v2 with trained weights, float activations:
16.0 → 30.7 dB.

The weights stay float32, on the very steps that a quantizer of symmetric scales for each output finds again.
"""

from collections.abc import Callable, Iterator

import numpy as np

from export.quantize.network import Layer, Network, attributes_of, observed
from records.tensor import Array, Arrays

PLACES = 64
"""Places of one sample's image, drawn at random, that a convolution's inputs are taken from."""
DAMPING = 0.01
"""Share of the mean square of the inputs that is added to each: less trusts few samples too much."""
MOST = 1152
"""Inputs of an output that are rounded together: more are split, as time grows with the square."""
BLOCK = 64
"""Weights after which the rest is updated, many at once."""


def round_weights(network: Network, samples: Arrays, top: Callable[[Layer], int]) -> int:
    """Round the weights of every layer on vectors or images, in place; return how many there are.

    top: a layer's greatest integer, which stands for the greatest weight of an output. samples: of calibration, (N, …).
    """
    rng = np.random.default_rng(0)
    moments: dict[str, list[Array]] = {}
    layers = [layer for layer in network.layers if len(layer.kernel) in {0, 2}]
    for _, arrays in observed(network.model, [layer.source for layer in layers], samples):
        layers = [layer for layer in layers if layer.source in arrays]
        for layer in layers:
            parts = moments.setdefault(layer.result, [])
            for index, inputs in enumerate(_inputs(layer, arrays[layer.source], rng)):  # (groups, n, k)
                product = np.matmul(inputs.transpose(0, 2, 1), inputs)
                if index == len(parts):
                    parts.append(product)
                else:
                    parts[index] += product
    for layer in layers:
        weight = network.constant(layer.weight)
        assert weight is not None
        rows = layer.rows(weight)
        steps = np.abs(rows).max(axis=-1, keepdims=True) / top(layer)
        steps[steps == 0] = 1
        rounded, start = [], 0
        for moment in moments[layer.result]:
            stop = start + moment.shape[-1]
            rounded.append(nearest(rows[..., start:stop] / steps, moment, top(layer)))
            start = stop
        network.change(layer.weight, layer.stored(np.concatenate(rounded, axis=-1) * steps, weight))
    return len(layers)


def nearest(rows: Array, moment: Array, top: int) -> Array:
    """Return integers (groups, outputs, k) near rows of the same shape, whose products with the inputs are near theirs.

    moment: (groups, k, k), the sum of the inputs' products with each other. A row's greatest weight of ±`top` stays.
    """
    moment = moment.astype(np.float64)
    size = moment.shape[-1]
    power = np.diagonal(moment, axis1=-2, axis2=-1)  # (groups, k)
    order = np.argsort(-power, axis=-1)
    damping = DAMPING * power.mean(axis=-1) + np.finfo(np.float64).tiny ** 0.5
    ordered = np.take_along_axis(np.take_along_axis(moment, order[:, :, None], 1), order[:, None, :], 2)
    inverse = np.linalg.inv(ordered + damping[:, None, None] * np.eye(size))
    upper = np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2).transpose(0, 2, 1)  # inverse = upperᵀ upper
    spread = np.broadcast_to(order[:, None, :], rows.shape)
    left = np.take_along_axis(rows.astype(np.float64), spread, -1)
    fixed = np.abs(left) >= top * (1 - 1e-6)
    kept = np.sign(left) * top
    integers = np.zeros_like(left)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        errors = np.zeros((*left.shape[:2], stop - start))
        for place in range(start, stop):
            values = np.clip(np.round(left[..., place]), -top, top)
            integers[..., place] = np.where(fixed[..., place], kept[..., place], values)
            error = (left[..., place] - integers[..., place]) / upper[:, None, place, place]
            left[..., place + 1 : stop] -= error[..., None] * upper[:, None, place, place + 1 : stop]
            errors[..., place - start] = error
        left[..., stop:] -= errors @ upper[:, start:stop, stop:]
    result = np.zeros_like(left)
    np.put_along_axis(result, spread, integers, -1)
    return result


def _inputs(layer: Layer, values: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Yield what single outputs of a layer read, (groups, n, k) each, in the order of its weight's columns."""
    if not layer.kernel:
        vectors = values.reshape(-1, values.shape[-1])
        if len(vectors) > PLACES * len(values):
            vectors = vectors[rng.choice(len(vectors), PLACES * len(values), replace=False)]
        inputs = vectors[None]
    else:
        inputs = patches(layer, values, rng)
    for start in range(0, inputs.shape[-1], MOST):
        yield inputs[..., start : start + MOST].astype(np.float64)


def patches(layer: Layer, images: Array, rng: np.random.Generator) -> Array:
    """Return patches (groups, n, channels of a group · height · width) of images (N, C, H, W), at random places."""
    attributes = attributes_of(layer.node)
    kernel, strides = layer.kernel, attributes.get("strides", [1, 1])
    dilations, pads = attributes.get("dilations", [1, 1]), attributes.get("pads", [0, 0, 0, 0])
    extent = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    if (mode := attributes.get("auto_pad", b"NOTSET")) in {b"SAME_UPPER", b"SAME_LOWER"}:
        lacking = [
            max((-(-size // stride) - 1) * stride + reach - size, 0)
            for size, stride, reach in zip(images.shape[2:], strides, extent, strict=True)
        ]
        halves, rests = [one // 2 for one in lacking], [one - one // 2 for one in lacking]
        pads = [*halves, *rests] if mode == b"SAME_UPPER" else [*rests, *halves]
    padded = np.pad(images, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    counts = [
        (size - reach) // stride + 1 for size, reach, stride in zip(padded.shape[2:], extent, strides, strict=True)
    ]
    total = counts[0] * counts[1]
    places = np.arange(total) if total <= PLACES else rng.choice(total, PLACES, replace=False)
    down = (places // counts[1] * strides[0])[:, None] + np.arange(kernel[0]) * dilations[0]
    across = (places % counts[1] * strides[1])[:, None] + np.arange(kernel[1]) * dilations[1]
    taken = padded[:, :, down[:, :, None], across[:, None, :]]  # (N, C, places, height, width)
    size, channels = taken.shape[:2]
    grouped = taken.reshape(size, layer.groups, channels // layer.groups, len(places), *kernel)
    return grouped.transpose(1, 0, 3, 2, 4, 5).reshape(layer.groups, size * len(places), -1)
