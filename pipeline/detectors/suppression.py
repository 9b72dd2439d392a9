"""Greedy suppression of boxes that overlap a better one, exactly, in operators that every format has.

Greedy suppression is a chain of decisions, and a loop of unknown length in every library. As one step it reads: a box
is kept unless one that is kept, of its class and better, overlaps it. To repeat that step from "all are kept" gives the
greedy answer for every chain that is no longer than the repetitions: the best box is right after the first, what it
alone suppresses after the second, and so on.

    with unsettled() as calls:
        model(image)
    torch.stack(calls).any(0)                  # (N,): samples of which one more repetition would keep other boxes
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ROUNDS = 16
"""Repetitions. On 24 scenes the first already left as many boxes of each as the 32nd; a chain of twelve is a test."""
_watching: list[list[torch.Tensor]] = []


@contextmanager
def unsettled() -> Iterator[list[torch.Tensor]]:
    """Give a list to which each suppression in the context adds which samples (N,) one more repetition would change.

    It is for models that are called, not for those that are traced.
    """
    calls: list[torch.Tensor] = []
    _watching.append(calls)
    try:
        yield calls
    finally:
        _watching.pop()


def survivors(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    least: float,
    limit: float,
    before: torch.Tensor,
    rounds: int,
) -> torch.Tensor:
    """Return 1 for each box that is kept and 0 for others, (N, K) float.

    boxes: (N, K, 4), scores and labels: (N, K), the best first. least: what a score is more than. limit: of IoU.
    before: (1, K, K) float, 1 where the column's box is before the row's.
    """
    over = suppressing(boxes, labels, limit, before)
    able = (scores > least).to(boxes.dtype)
    kept = able
    for _ in range(rounds):
        kept = _repeated(kept, over, able)
    for calls in _watching:
        calls.append((_repeated(kept, over, able) != kept).any(1))
    return kept


def suppressing(boxes: torch.Tensor, labels: torch.Tensor, limit: float, before: torch.Tensor) -> torch.Tensor:
    """Return 1 where the column's box suppresses the row's, if it is kept itself: (N, K, K) float; else 0.

    The arguments are those of `survivors`.
    """
    corner = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])  # (N, K, K, 2)
    end = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (end - corner).clamp(min=0.0)
    both = sides[..., 0] * sides[..., 1]  # (N, K, K)
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    either = area[:, :, None] + area[:, None] - both
    same = (labels[:, :, None] == labels[:, None]).to(boxes.dtype)
    return (both > limit * either).to(boxes.dtype) * same * before


def _repeated(kept: torch.Tensor, over: torch.Tensor, able: torch.Tensor) -> torch.Tensor:
    """Return the boxes (N, K) of those that are able to be kept which none that is kept suppresses.

    In floats: XNNPACK takes no truth values, and each would part the model.
    """
    hits = torch.bmm(over, kept[..., None])[..., 0]  # how many suppress each
    return able * (1.0 - hits).clamp(min=0.0)
