"""One label per image: cross-entropy to train, argmax to decide, accuracy to judge."""

import torch
from torch.nn import functional

INPUTS = ("image",)
OUTPUTS = ("logits",)
METRIC = "accuracy"


def loss(outputs: dict[str, torch.Tensor], labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Logits (N, K), labels (N,) int64 → scalar."""
    return functional.cross_entropy(outputs["logits"].float(), labels, label_smoothing=smoothing)


def decode(outputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits (N, K) → class (N,) int64."""
    return outputs["logits"].argmax(dim=1)


def score(outputs: dict[str, torch.Tensor], labels: torch.Tensor) -> float:
    """Logits (N, K), labels (N,) → share of samples classified right."""
    return float((decode(outputs) == labels).double().mean())
