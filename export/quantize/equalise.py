"""Equalises the channels of a float32 network, whose function stays the same: one range for all channels then fits all.

    equalise(network, samples)

Activations have one integer scale for all channels, so a channel whose values are a hundredth of another's keeps a
hundredth of the steps. What a layer gives in channel c is divided by s_c and multiplied again where the next layers
read it, which is exact as long as nothing but sums, ReLUs, pooling and the like lies between: so along whole residual
streams. After Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(https://arxiv.org/abs/1906.04721), which does it for two layers in a row.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from export.quantize.network import Layer, Network, attributes_of, observed
from records.tensor import Array, Arrays

ELEMENTWISE = {"Relu", "LeakyRelu", "Identity", "Dropout"}
"""Operators of one tensor that keep a positive factor of each channel, whatever the axis."""
POOLING = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
"""The same, of channels at axis 1."""
FARTHEST = 32.0
"""What a factor may be at most, and one over it at least: beyond, one outlier would set the weights' ranges."""


UNEVEN = 16.0
"""Times the median channel's reach that the greatest has, at least, where a stream is worth equalising: of a factor for
each channel, tensors inside are no longer PyTorch's, by which a faulty layer is found."""


@dataclass
class Stream:
    """The tensors that have to have one factor for each channel, and the layers at their ends."""

    tensors: dict[str, int] = field(default_factory=dict)
    """Tensor → the axis of its channels."""
    writers: list[Layer] = field(default_factory=list)
    readers: list[Layer] = field(default_factory=list)
    constants: dict[str, int] = field(default_factory=dict)
    """Constants that are added, and the axis of their channels."""


def equalise(network: Network, samples: Arrays) -> int:
    """Equalise every uneven stream of channels, in place; return how many. samples: of calibration, (N, …)."""
    names = [name for node in network.graph.node for name in node.output if name]
    shapes: dict[str, tuple[int, ...]] = {}
    for _, arrays in observed(network.model, names, {name: values[:1] for name, values in samples.items()}):
        shapes = {name: values.shape for name, values in arrays.items()}
    found = streams(network, shapes)
    greatest: dict[str, Array] = {}
    wanted = {name: axis for stream in found for name, axis in stream.tensors.items()}
    for _, arrays in observed(network.model, list(wanted), samples):
        for name, axis in wanted.items():
            values = np.abs(np.moveaxis(arrays[name], axis, -1)).reshape(-1, shapes[name][axis]).max(axis=0)
            greatest[name] = np.maximum(greatest.get(name, 0), values)
    count = 0
    for stream in found:
        reach = np.max([greatest[name] for name in stream.tensors], axis=0)  # (C,)
        if reach.max() > UNEVEN * np.median(reach):
            _apply(network, stream, factors(network, stream, reach))
            count += 1
    return count


def factors(network: Network, stream: Stream, reach: Array) -> Array:
    """Return s (C,): √(reach of the channel ÷ greatest weight that reads it), whose geometric mean is 1."""
    weights = np.zeros(len(reach))
    for layer in stream.readers:
        weight = network.constant(layer.weight)
        assert weight is not None
        rows = np.abs(layer.rows(weight))  # (groups, outputs, inputs of one)
        columns = rows.max(axis=1).reshape(len(reach), -1).max(axis=1)
        weights = np.maximum(weights, columns)
    alive = (reach > reach.max(initial=0) * 1e-6) & (weights > weights.max(initial=0) * 1e-6)
    scale = np.ones(len(reach))
    if alive.any():
        scale[alive] = np.sqrt(reach[alive] / weights[alive])
        scale[alive] /= np.exp(np.log(scale[alive]).mean())
    return np.clip(scale, 1 / FARTHEST, FARTHEST)


def _apply(network: Network, stream: Stream, scale: Array) -> None:
    for layer in stream.writers:
        weight, bias = network.constant(layer.weight), network.constant(layer.bias)
        assert weight is not None
        network.change(layer.weight, layer.scaled(weight, 1 / scale, incoming=False))
        if bias is not None:
            network.change(layer.bias, bias / scale)
    for layer in stream.readers:
        weight = network.constant(layer.weight)
        assert weight is not None
        network.change(layer.weight, layer.scaled(weight, scale, incoming=True))
    for name, axis in stream.constants.items():
        values = network.constant(name)
        assert values is not None
        shape = [1] * values.ndim
        shape[axis] = len(scale)
        network.change(name, values / scale.reshape(shape))


def streams(network: Network, shapes: dict[str, tuple[int, ...]]) -> list[Stream]:
    """Return the streams that can be equalised. shapes: of every tensor, for one sample."""
    by_node = {id(layer.node): layer for layer in network.layers}
    seen: set[str] = set()
    found = []
    for layer in network.layers:
        if layer.result in seen:
            continue
        stream, whole = _grown(network, shapes, by_node, layer)
        seen.update(stream.tensors)
        if whole and stream.readers:
            found.append(stream)
    return found


def _grown(
    network: Network, shapes: dict[str, tuple[int, ...]], by_node: dict[int, Layer], start: Layer
) -> tuple[Stream, bool]:
    """Return the stream that a layer writes into, and whether layers alone are at its ends."""
    stream, whole = Stream(), True
    waiting = [(start.result, channels_of(start, len(shapes[start.result])))]
    while waiting:
        name, axis = waiting.pop()
        if name in stream.tensors:
            whole &= stream.tensors[name] == axis
            continue
        stream.tensors[name] = axis
        if name in network.ends or name not in shapes or name not in network.makers:
            return stream, False
        for node in {id(node): node for node in (network.makers[name], *network.users.get(name, []))}.values():
            layer = by_node.get(id(node))
            if layer and (layer.source == name or layer.result == name):
                writes = layer.result == name
                whole &= axis == channels_of(layer, len(shapes[name]))
                (stream.writers if writes else stream.readers).append(layer)
                continue
            linked = _linked(network, shapes, node, axis, name)
            if linked is None:
                whole = False
                continue
            for other, other_axis in linked:
                if network.constant(other) is not None:
                    whole &= stream.constants.get(other, other_axis) == other_axis and network.own(other)
                    stream.constants[other] = other_axis
                else:
                    waiting.append((other, other_axis))
    return stream, whole


def channels_of(layer: Layer, rank: int) -> int:
    """Return the axis of a layer's channels, in what it reads and gives."""
    return 1 if layer.node.op_type == "Conv" else rank - 1


def _linked(
    network: Network, shapes: dict[str, tuple[int, ...]], node: Any, axis: int, name: str
) -> list[tuple[str, int]] | None:
    """Return the tensors that have the same factors as one of an operator's, and their axes; None: nothing is known."""
    result = node.output[0]
    if result not in shapes or len(node.output) != 1:
        return None
    rank, channels = len(shapes[name]), shapes[name][axis]
    if node.op_type in ELEMENTWISE and len(node.input) == 1:
        return [(node.input[0], axis), (result, axis)]
    if node.op_type in POOLING and axis == 1:
        return [(node.input[0], axis), (result, axis)]
    if node.op_type == "Pad" and _pads_zeros(network, node):
        return [(node.input[0], axis), (result, axis)]
    if node.op_type in {"Add", "Sub"}:
        return _summed(network, shapes, node, axis, rank, channels)
    if node.op_type == "ReduceMean" and node.input[0] in shapes and axis == 1 and len(shapes[node.input[0]]) == 4:
        axes = network.constant(node.input[1]) if len(node.input) > 1 else None
        over = {int(one) % 4 for one in (axes if axes is not None else attributes_of(node).get("axes", []))}
        return [(node.input[0], 1), (result, 1)] if over == {2, 3} else None
    if node.op_type in {"Reshape", "Flatten", "Squeeze"} and node.input[0] in shapes:
        before, after = shapes[node.input[0]], shapes[result]
        vector = axis == 1 and before[:2] == after[:2] and len(after) >= 2
        return [(node.input[0], 1), (result, 1)] if vector and np.prod(before[2:]) == np.prod(after[2:]) else None
    return None


def _pads_zeros(network: Network, node: Any) -> bool:
    mode = attributes_of(node).get("mode", b"constant")
    value = network.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    return mode == b"constant" and (len(node.input) < 3 or not node.input[2] or (value is not None and not value.any()))


def _summed(
    network: Network, shapes: dict[str, tuple[int, ...]], node: Any, axis: int, rank: int, channels: int
) -> list[tuple[str, int]] | None:
    """Return the terms of a sum, each with all channels: one that has a single value for all cannot be divided."""
    terms = []
    for name in (*node.input, node.output[0]):
        constant = network.constant(name)
        shape = shapes.get(name) if constant is None else constant.shape
        if shape is None:
            return None
        place = len(shape) - rank + axis
        if place < 0 or shape[place] != channels:
            return None
        terms.append((name, place))
    return terms
