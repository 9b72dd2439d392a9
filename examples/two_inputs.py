"""Two inputs, one an index, and three outputs by name, one a class: `python examples/two_inputs.py`."""

import torch
from torch import nn

import anywhere


class Rooms(nn.Module):
    """Estimates price and kind of a room from its picture and its floor."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.floor = nn.Embedding(10, 16)
        self.price, self.kind = nn.Linear(16, 1), nn.Linear(16, 4)

    def forward(self, picture: torch.Tensor, floor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return price (N,), a score for each kind (N, 4) and the likeliest one (N,)."""
        features = torch.relu(self.picture(picture) + self.floor(floor))  # (N, 16)
        scores = self.kind(features)
        return {"price": self.price(features)[:, 0], "scores": scores, "kind": scores.argmax(1)}


def main() -> None:
    """Adopt from calls as they were captured, export, prove."""
    torch.manual_seed(0)
    calls = [(torch.rand(16, 3, 32, 48), torch.randint(0, 10, (16,))) for _ in range(8)]
    run = anywhere.adopt(Rooms(), inputs=calls, run="rooms", force=True)
    run.export(precision=["float32", "float16", "int8_dynamic"])
    run.validate().raise_for_failure()


if __name__ == "__main__":
    main()
