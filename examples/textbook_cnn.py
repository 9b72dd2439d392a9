"""The textbooks' network, trained in plain PyTorch, to every target: `python examples/textbook_cnn.py`."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import anywhere


def main() -> None:
    """Train, adopt, export, prove."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16  # (1797, 1, 8, 8)
    labels = torch.tensor(digits.target)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 4 * 4, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(8):
        order = torch.randperm(1437)
        for batch in order.split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")

    held_out = {"image": images[1437:], "labels": labels[1437:]}
    run = anywhere.adopt(model, inputs=held_out, labels=list("0123456789"), run="textbook", force=True)
    run.export()
    run.validate().raise_for_failure()


if __name__ == "__main__":
    main()
