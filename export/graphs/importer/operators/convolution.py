"""Convolutions: channels last, padding as ONNX says it, groups one by one where they are not depthwise.

TensorFlow's CPU kernels have no groups without oneDNN, no depthwise strides that differ by axis, and no depthwise
dilation with a stride: each is written in what they have.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.value import Dim, Extent, Value, channels_last, number, reshaped

Pads = list[tuple[int, int]]


def windows(node: Node, value: Value, kernel: Sequence[int]) -> tuple[list[int], list[int], Pads]:
    """Return strides, dilations and padding of each spatial axis."""
    count = len(kernel)
    strides = node.numbers("strides") or [1] * count
    dilations = node.numbers("dilations") or [1] * count
    auto = node.text("auto_pad", "NOTSET")
    if auto in {"SAME_UPPER", "SAME_LOWER"}:
        pads = []
        for axis, (size, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
            where = f"axis {2 + axis} of {node.inputs[0]}, which is padded to keep its size,"
            extent = node.static(value, 2 + axis, where)
            pads.append(same_padding(extent, size, stride, dilation, upper=auto == "SAME_UPPER"))
        return strides, dilations, pads
    flat = node.numbers("pads") or [0] * 2 * count
    pads = [(0, 0)] * count if auto == "VALID" else list(zip(flat[:count], flat[count:], strict=True))
    return strides, dilations, pads


def same_padding(extent: int, size: int, stride: int, dilation: int, upper: bool = True) -> tuple[int, int]:
    """Return the padding for ⌈extent / stride⌉ windows; an odd total pads the upper or the lower end by one more."""
    total = max((-(-extent // stride) - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


def padding(value: Any, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Pads) -> str:
    """Return TensorFlow's word for the padding, SAME or VALID; empty: it has none. value: channels last."""
    if not any(low or high for low, high in pads):
        return "VALID"
    for axis, pad in enumerate(pads):
        extent = value.shape[1 + axis]
        if extent is None and (strides[axis] > 1 or pad[0] != pad[1]):
            return ""
        size = extent if extent is not None else 10**6
        if pad != same_padding(size, kernel[axis], strides[axis], dilations[axis]):
            return ""
    return "SAME"


def prepared(
    tensor: Any, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Pads
) -> tuple[Any, str]:
    """Return an input, padded explicitly if TensorFlow has no word for the padding, and the word.

    tensor: channels last.
    """
    word = padding(tensor, kernel, strides, dilations, pads)
    return (tensor, word) if word else (tf.pad(tensor, [(0, 0), *pads, (0, 0)]), "VALID")


@since(1)
def Conv(node: Node, image: Value, weight: Value, bias: Value | None = None) -> Value:
    """Build a convolution over one, two or three spatial axes."""
    count = image.rank - 2
    kernel = _kernel(node, weight, count)
    sizes = list(kernel.shape[:count])
    strides, dilations, pads = windows(node, image, sizes)
    tensor, groups = image.last, node.integer("group", 1)
    if count == 1:  # a row of an image
        tensor, kernel = tf.expand_dims(tensor, 1), kernel[None]
        sizes, strides, dilations, pads = [1, *sizes], [1, *strides], [1, *dilations], [(0, 0), *pads]
    tensor, word = prepared(tensor, sizes, strides, dilations, pads)
    if groups == 1:
        result = plain(tensor, kernel, strides, dilations, word)
    elif groups == node.static(image, 1) and count < 3:
        result = depthwise(tensor, kernel, strides, dilations, word)
    else:
        result = grouped(tensor, kernel, groups, strides, dilations, word)
    if bias is not None:
        result = tf.nn.bias_add(result, bias.logical) if len(result.shape) == 4 else result + bias.logical
    return Value(tf.squeeze(result, 1) if count == 1 else result, channels_last(image.rank))


def _kernel(node: Node, weight: Value, count: int) -> Any:
    """Return weights (out, in / groups, …) as (…, in / groups, out)."""
    order = [*range(2, 2 + count), 1, 0]
    return (
        np.ascontiguousarray(np.transpose(weight.array, order))
        if weight.constant
        else tf.transpose(weight.logical, order)
    )


def plain(tensor: Any, kernel: Any, strides: Sequence[int], dilations: Sequence[int], word: str) -> Any:
    """Return a convolution of every input channel to every output channel."""
    if len(strides) == 3:
        if max(dilations) > 1:
            kernel, word = _inflated(kernel, dilations), word
        return tf.nn.conv3d(tensor, kernel, [1, *strides, 1], word)
    return tf.nn.conv2d(tensor, kernel, list(strides), word, dilations=list(dilations))


def _inflated(kernel: Any, dilations: Sequence[int]) -> Any:
    """Return a kernel with zeros between its weights, which equals its dilation."""
    sizes = [(size - 1) * step + 1 for size, step in zip(kernel.shape, dilations, strict=False)]
    wide = np.zeros((*sizes, *kernel.shape[len(dilations) :]), kernel.dtype)
    wide[tuple(slice(None, None, step) for step in dilations)] = kernel
    return wide


def depthwise(tensor: Any, kernel: Any, strides: Sequence[int], dilations: Sequence[int], word: str) -> Any:
    """Return a convolution of each channel by itself, to one or several outputs each."""
    channels = tensor.shape[3]
    height, width, _, out = (int(size) for size in kernel.shape)
    kernel = reshaped(kernel, [height, width, channels, out // channels])
    common = strides[0] if strides[0] == strides[1] and max(dilations) == 1 else 1
    if common == 1 and max(strides) > 1:
        # All windows, of which a part is taken: SAME begins elsewhere with a stride, so it is padded by itself.
        if word == "SAME":
            pads = [
                same_padding(tensor.shape[1 + axis], (height, width)[axis], strides[axis], dilations[axis])
                for axis in (0, 1)
            ]
            tensor, word = tf.pad(tensor, [(0, 0), *pads, (0, 0)]), "VALID"
        every = tf.nn.depthwise_conv2d(tensor, kernel, [1, 1, 1, 1], word, dilations=list(dilations))
        return every[:, :: strides[0], :: strides[1]]
    return tf.nn.depthwise_conv2d(tensor, kernel, [1, common, common, 1], word, dilations=list(dilations))


def grouped(tensor: Any, kernel: Any, groups: int, strides: Sequence[int], dilations: Sequence[int], word: str) -> Any:
    """Return a convolution in groups, as one convolution for each."""
    parts = zip(tf.split(tensor, groups, -1), _split(kernel, groups), strict=True)
    return tf.concat([plain(part, weights, strides, dilations, word) for part, weights in parts], -1)


def _split(kernel: Any, groups: int) -> list[Any]:
    if isinstance(kernel, np.ndarray):
        return [np.ascontiguousarray(part) for part in np.split(kernel, groups, -1)]
    return list(tf.split(kernel, groups, -1))


@since(1)
def ConvTranspose(node: Node, image: Value, weight: Value, bias: Value | None = None) -> Value:
    """Build the transpose of a convolution: all that its inputs reach, less the padding."""
    count = image.rank - 2
    kernels = weight.array if weight.constant else weight.logical
    sizes = [int(size) for size in kernels.shape[2:]]
    strides, dilations = node.numbers("strides") or [1] * count, node.numbers("dilations") or [1] * count
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]
    if count == 3 or node.numbers("output_shape"):  # elsewhere the sizes may be the running model's
        extents = [node.static(image, 2 + axis, f"axis {2 + axis} of {node.inputs[0]}") for axis in range(count)]
    else:
        extents = []
    cuts, growths = _cuts(node, extents, reach, strides)
    if max(dilations) > 1:
        kernels = np.moveaxis(
            _inflated(np.moveaxis(node.known(weight, "weights"), (0, 1), (-2, -1)), dilations), (-2, -1), (0, 1)
        )
    groups, tensor = node.integer("group", 1), image.last
    if count == 1:
        tensor, kernels = tf.expand_dims(tensor, 1), kernels[:, :, None]
        reach, strides, cuts, growths = [1, *reach], [1, *strides], [0, *cuts], [0, *growths]
    split = tf.split(tensor, groups, -1) if groups > 1 else [tensor]
    parts = zip(split, _along_inputs(kernels, groups), strict=True)
    results = [_transposed(part, weights, reach, strides, cuts, growths) for part, weights in parts]
    result = results[0] if groups == 1 else tf.concat(results, -1)
    if bias is not None:
        result = tf.nn.bias_add(result, bias.logical) if len(result.shape) == 4 else result + bias.logical
    return Value(tf.squeeze(result, 1) if count == 1 else result, channels_last(image.rank))


def _cuts(
    node: Node, extents: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return what is cut off at the beginning of each axis, and by how much each result is longer than size · stride.

    extents: sizes of the axes; empty: the running model knows them, and the result's are not prescribed.
    """
    count = len(reach)
    more = node.numbers("output_padding") or [0] * count
    whole = [far - step for far, step in zip(reach, strides, strict=True)]  # beyond size · stride, as everything here
    auto, shape = node.text("auto_pad", "NOTSET"), node.numbers("output_shape")
    if shape or auto.startswith("SAME"):
        growths = [0] * count
        if shape:
            asked = zip(shape[-count:], extents, strides, strict=True)
            growths = [size - extent * step for size, extent, step in asked]
        totals = [max(0, far + extra - size) for far, extra, size in zip(whole, more, growths, strict=True)]
        return [total // 2 if auto != "SAME_LOWER" else total - total // 2 for total in totals], growths
    pads = [0] * 2 * count if auto == "VALID" else node.numbers("pads") or [0] * 2 * count
    return pads[:count], [far - pads[axis] - pads[axis + count] + more[axis] for axis, far in enumerate(whole)]


def _along_inputs(kernels: Any, groups: int) -> list[Any]:
    """Return weights (in, out / groups, …) as (…, out / groups, in / groups) of each group."""
    order = [*range(2, len(kernels.shape)), 1, 0]
    if isinstance(kernels, np.ndarray):
        return [np.ascontiguousarray(np.transpose(part, order)) for part in np.split(kernels, groups)]
    return [tf.transpose(part, order) for part in tf.split(kernels, groups)]


def _transposed(
    tensor: Any, kernel: Any, reach: Sequence[int], strides: Sequence[int], cuts: Sequence[int], growths: Sequence[int]
) -> Any:
    """Return one group's result: `cuts` are left out of the beginning, its sizes are size · stride + growth."""
    channels = int(kernel.shape[-2])
    if len(reach) == 3:
        sizes = [int(size) * step + more for size, step, more in zip(tensor.shape[1:4], strides, growths, strict=True)]
        return _reached(tensor, kernel, strides, reach, cuts, sizes)

    def lengths(more: Sequence[int]) -> list[Dim]:
        return [
            _longer(tensor, 1 + axis, step, extra) for axis, (step, extra) in enumerate(zip(strides, more, strict=True))
        ]

    def reached(sizes: Sequence[Dim], word: str) -> Any:
        batch = tf.shape(tensor)[0] if tensor.shape[0] is None else tensor.shape[0]
        shape = tf.stack([batch, *map(number, sizes), channels])
        result = tf.nn.conv2d_transpose(tensor, kernel, shape, list(strides), word)
        known = [size if isinstance(size, int) else None for size in sizes]
        result.set_shape([tensor.shape[0], *known, channels])
        return result

    beyond = [far - step for far, step in zip(reach, strides, strict=True)]
    if list(cuts) == [max(far, 0) // 2 for far in beyond] and not any(growths):
        return reached(lengths(growths), "SAME")
    result = reached(lengths(beyond), "VALID")
    short = [max(0, cut + more - far) for cut, more, far in zip(cuts, growths, beyond, strict=True)]
    if any(short):
        result = tf.pad(result, [(0, 0), *((0, more) for more in short), (0, 0)])
    behind = [far + extra - cut - more for far, extra, cut, more in zip(beyond, short, cuts, growths, strict=True)]
    if any(cuts) or any(behind):
        ends = [
            cut + size if isinstance(size, int) else -left or None
            for cut, size, left in zip(cuts, lengths(growths), behind, strict=True)
        ]
        result = result[(slice(None), *(slice(cut, end) for cut, end in zip(cuts, ends, strict=True)))]
    return result


def _longer(tensor: Any, axis: int, step: int, more: int) -> Dim:
    """Return the size of an axis times a step, and more."""
    size = tensor.shape[axis]
    return Extent(lambda: tf.shape(tensor)[axis] * step + more) if size is None else int(size) * step + more


def _reached(
    tensor: Any,
    kernel: Any,
    strides: Sequence[int],
    reach: Sequence[int],
    cuts: Sequence[int],
    sizes: Sequence[int],
) -> Any:
    """Return the result of three axes: a convolution over the input with zeros between and around, which TF.js has."""
    around = [(0, 0)]
    for axis, (step, far, cut, size) in enumerate(zip(strides, reach, cuts, sizes, strict=True)):
        tensor = _spread(tensor, 1 + axis, step)
        before = far - 1 - cut
        behind = size + far - 1 - before - int(tensor.shape[1 + axis])
        front = [slice(None)] * (1 + axis)
        tensor = tensor[(*front, slice(max(0, -before), int(tensor.shape[1 + axis]) + min(0, behind)))]
        around.append((max(0, before), max(0, behind)))
    flipped = kernel[::-1, ::-1, ::-1]
    turned = np.swapaxes(flipped, -1, -2) if isinstance(kernel, np.ndarray) else tf.transpose(flipped, [0, 1, 2, 4, 3])
    return tf.nn.conv3d(tf.pad(tensor, [*around, (0, 0)]), turned, [1] * 5, "VALID")


def _spread(tensor: Any, axis: int, step: int) -> Any:
    """Return a tensor with step - 1 zeros between neighbours along an axis."""
    if step == 1:
        return tensor
    sizes, count = Value(tensor).sizes, int(tensor.shape[axis])
    wide = tf.expand_dims(tensor, axis + 1)
    joined = tf.concat([wide] + [tf.zeros_like(wide)] * (step - 1), axis + 1)
    long = reshaped(joined, [*sizes[:axis], count * step, *sizes[axis + 1 :]])
    return long[(*[slice(None)] * axis, slice(0, (count - 1) * step + 1))]


@since(10)
def ConvInteger(
    node: Node, image: Value, weight: Value, zero: Value | None = None, other: Value | None = None
) -> Value:
    """Build a convolution of 8-bit numbers less their zero points: exact in float32 up to 2²⁴."""
    left = tf.cast(image.logical, tf.float32)
    right = tf.cast(weight.logical, tf.float32)
    if zero is not None:
        left = left - tf.cast(zero.logical, tf.float32)
    if other is not None:
        right = right - tf.reshape(tf.cast(other.logical, tf.float32), [-1, *[1] * (weight.rank - 1)])
    return Conv(node, Value(left), Value(right)).over(lambda tensor: tf.cast(tf.round(tensor), tf.int32))
