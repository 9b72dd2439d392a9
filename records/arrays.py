"""Arrays in a file of safetensors: read, and compared with the tensors that a record describes.

arrays = read_arrays(path, "checkpoint …: golden.safetensors", "Train again.")
why = unlike(part(arrays, "input"), checkpoint.inputs)         # "" or "image has another shape, …"
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from records.errors import BadInput, shortened
from records.tensor import Array, Arrays, Tensor


def read_arrays(path: Path, where: str, remedy: str) -> dict[str, Array]:
    """Return the arrays of a file by name. Raises BadInput for one that is truncated or no safetensors.

    where: which record, for the sentence. remedy: what to do about it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, Array] = load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # the last three: a type that numpy has not
        raise BadInput(f"{where} was truncated or is no safetensors ({shortened(error)}). {remedy}") from error
    return arrays


def unlike(
    arrays: Arrays, tensors: Iterable[Tensor], count: int | None = None, exact: bool = True, any_size: bool = False
) -> str:
    """Return how arrays (N, …) by name differ from the tensors that describe them; empty: they do not.

    count: what N is to be; None: the same of all, and not zero. exact: whether floats have the tensor's precision, too:
    an oracle has double. any_size: whether axes have other lengths than the tensor's: samples at another size.
    """
    described = {tensor.name: tensor for tensor in tensors}
    if missing := [name for name in described if name not in arrays]:
        return f"has no {missing[0]}"
    if extra := [name for name in arrays if name not in described]:
        return f"has {shortened(extra[0])}, which the model has not"
    for name, tensor in described.items():
        array = arrays[name]
        if not _fits(array.shape, tensor.shape, any_size):
            return f"{name} has the shape {array.shape}, the model {tensor.shape}"
        if not _same_type(array, tensor, exact):
            return f"{name} is {array.dtype}, the model's {tensor.dtype}"
        count = len(array) if count is None else count
        if len(array) != count or not count:
            return f"{name} has {len(array)} samples" + (f" of {count}" if count else "")
    return ""


def _fits(lengths: tuple[int, ...], shape: tuple[int | str, ...], any_size: bool) -> bool:
    """True if an array's lengths are those of a tensor's shape; that of the batch may be any."""
    if len(lengths) != len(shape):
        return False
    return any_size or all(
        isinstance(wanted, str) or length == wanted for length, wanted in zip(lengths[1:], shape[1:], strict=True)
    )


def _same_type(array: Array, tensor: Tensor, exact: bool) -> bool:
    """True if an array has a tensor's type, or stands for it: numpy has no bfloat16, so float32 does."""
    wanted = np.dtype("float32" if tensor.dtype == "bfloat16" else tensor.dtype)
    if exact or wanted.kind != "f":
        return bool(array.dtype == wanted)
    return bool(array.dtype.kind == "f")
