"""A tensor as it crosses a room or a process: its name, type, shape and layout, and how its two forms are converted.

    tensor = Tensor("image", "uint8", ("batch", 64, 64, 3), "NHWC", (0.0, 1.0), "RGB", scale=1 / 255)
    infer({tensor.name: tensor.stored(images)})        # (N, 3, H, W) float32 → (N, H, W, 3) uint8

Runs inside toolchains: numpy only. `validate/runtimes/tensor.mjs` is its twin in JavaScript.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Arrays: TypeAlias = Mapping[str, Array]
"""Arrays by name."""
LARGEST = 2**40
"""Values of a tensor, at most: more is no tensor, but a record that was altered."""


@dataclass(frozen=True)
class Tensor:
    """One input or output of the exported model, as every target has it unless its manifest says otherwise."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    """A string is an axis of any length: `batch`."""
    layout: str = ""
    """One letter per axis: NCHW, NHWC, NK. Empty: the checkpoint's."""
    range: tuple[float, float] | None = None
    """Least and greatest value an input may have."""
    channels: str = ""
    """Their order: RGB."""
    scale: float | None = None
    """Of an integer tensor: (value − zero_point) · scale is the number it stands for. None: the value itself."""
    zero_point: int = 0
    preparation: Mapping[str, Any] | None = None
    """How an image file becomes this input, as `pipeline.data.Preparation` records it; None: it is no picture."""

    def stored(self, array: Array) -> Array:
        """Return a checkpoint's array, channels on axis 1, in this tensor's layout and, with a scale, as its integers.

        Values beyond what the type holds become its least and greatest one. Integers that stand for themselves become
        those of this type.
        """
        values = np.moveaxis(array, 1, self._channels) if self._channels is not None else array
        if self.scale is not None:
            limits = np.iinfo(self.dtype)
            steps = np.round(values / np.float32(self.scale)) + self.zero_point
            values = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        elif not np.issubdtype(values.dtype, np.floating) and values.dtype != self.dtype:
            values = values.astype(self.dtype)
        return np.ascontiguousarray(values)

    def restored(self, array: Array) -> Array:
        """Return a copy of an array of this tensor's layout and type in the checkpoint's form: undo `stored`."""
        values = np.array(array)
        if self.scale is not None:
            values = (values.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
        return np.moveaxis(values, self._channels, 1) if self._channels is not None else values

    @property
    def any_size(self) -> bool:
        """True if it takes more than one length of an axis beside the batch: any height and width."""
        return any(isinstance(size, str) for size in self.shape[1:])

    @property
    def _channels(self) -> int | None:
        """Return the axis of the channels if it is not the checkpoint's (axis 1); None: nothing has to be moved."""
        axis = self.layout.find("C")
        return axis if axis > 1 else None


def tensor_from(item: Mapping[str, Any]) -> Tensor:
    """Return the Tensor of a JSON object; fields with a default may be missing.

    Raises ValueError if it is malformed.
    """
    try:
        name, dtype, shape = str(item["name"]), str(item["dtype"]), tuple(item["shape"])
        span = item.get("range")
        tensor = Tensor(
            **{**item, "name": name, "dtype": dtype, "shape": shape, "range": tuple(span) if span else None}
        )
        problem = _problem(tensor)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no tensor: {str(item)[:200]} ({type(error).__name__}: {str(error)[:200]})") from error
    if problem:
        raise ValueError(f"no tensor: {name[:200]!r} {problem}")
    return tensor


def _problem(tensor: Tensor) -> str:
    """Return what a tensor says that none can be; empty: nothing. Raises TypeError for a field of another type."""
    lengths = [size for size in tensor.shape if not isinstance(size, str)]
    if not tensor.shape or any(size < 1 for size in lengths) or math.prod(lengths) > LARGEST:
        return f"has the shape {str(list(tensor.shape))[:200]}; an axis has a length from 1 on, or a name"
    if not re.fullmatch(r"bool|bfloat16|(u?int|float|complex)\d{1,3}", tensor.dtype):
        return f"has the type {tensor.dtype[:200]!r}; write for example float32"
    if tensor.layout and len(tensor.layout) != len(tensor.shape):
        return f"has the layout {tensor.layout[:200]!r} for {len(tensor.shape)} axes"
    if tensor.scale is not None and not 0 < tensor.scale < math.inf:
        return f"has the scale {tensor.scale}; a positive number is needed"
    if tensor.scale is not None and not re.fullmatch(r"u?int(8|16|32|64)", tensor.dtype):
        return f"has a scale, and is of the type {tensor.dtype}, which is no integer"
    if tensor.range is not None and not (len(tensor.range) == 2 and tensor.range[0] <= tensor.range[1]):
        return f"has the range {str(tensor.range)[:200]}; a least and a greatest value are needed"
    return _problem_of_preparation(tensor.preparation) if tensor.preparation is not None else ""


def _problem_of_preparation(preparation: Mapping[str, Any]) -> str:
    """Return what is wrong with how an image file becomes a tensor but for its sizes (records/preparation.py); empty:
    nothing.
    """
    scale = preparation.get("scale")
    if not isinstance(scale, (int, float)) or not math.isfinite(scale):
        return f"has the preparation scale {str(scale)[:200]}; a number is needed"
    missing = [key for key in ("interpolation", "antialias", "channels") if key not in preparation]
    return f"has a preparation without {missing[0]}" if missing else ""


def tensors_from(items: Iterable[Mapping[str, Any]]) -> tuple[Tensor, ...]:
    """Return the Tensors of JSON objects. Raises ValueError if one is malformed."""
    return tuple(tensor_from(item) for item in items)


def preparations(tensors: Iterable[Tensor]) -> dict[str, Mapping[str, Any]]:
    """Return how an image file becomes each of these tensors, by name, but for those that are no pictures."""
    return {tensor.name: tensor.preparation for tensor in tensors if tensor.preparation is not None}


def tensors_to(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Return tensors as objects that JSON can hold."""
    return [asdict(tensor) for tensor in tensors]
