"""Computes in float64 what a network computes in float32: the oracle that says how far rounding alone leads.

double = copy.deepcopy(model).double()
with in_double():
    outputs = double(*doubled(inputs).values())
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


@contextmanager
def in_double() -> Iterator[None]:
    """Have all that is computed here be float64 where it would be float32.

    A network may say float32 itself, `mask.float()` or `torch.zeros(n, dtype=torch.float32)`: with weights in float64
    that is an error, or a rounding in the midst of the oracle.
    """
    with _Double():  # type: ignore[no-untyped-call]  # PyTorch's own constructor
        yield


class _Double(TorchDispatchMode):
    """A dispatch mode that gives every operator float64 for float32: tensors and types, what it takes and returns."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator in double precision."""
        return tree_map(_wide, func(*tree_map(_wide, args), **tree_map(_wide, kwargs or {})))


def _wide(value: Any) -> Any:
    if value is torch.float32:
        return torch.float64
    if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
        return value.to(torch.float64)
    return value
