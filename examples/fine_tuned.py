"""A fine-tuned ShuffleNet of torchvision's, as its training left it: `python examples/fine_tuned.py`.

The training script used DataParallel and kept its epoch beside the weights: both are found out, and said.
"""

from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torchvision.models import shufflenet_v2_x0_5

import anywhere


def main() -> None:
    """Fine-tune the head on scans of three digits, save, adopt, export, prove."""
    digits = load_digits()
    chosen = digits.target < 3
    images = (
        torch.tensor(digits.images[chosen], dtype=torch.float32)[:, None].repeat(1, 3, 4, 4) / 16
    )  # (537, 3, 32, 32)
    labels = torch.tensor(digits.target[chosen])
    torch.manual_seed(0)
    model = shufflenet_v2_x0_5(num_classes=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(4):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    weights = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": weights}, "fine_tuned.pt")
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = Path("scans") / f"digit{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).byte().numpy()).save(folder / f"{number}.png")

    run = anywhere.adopt(
        "shufflenet_v2_x0_5",
        options={"num_classes": 3},
        weights="fine_tuned.pt",
        images="scans",
        size=(32, 32),
        run="fine_tuned",
        force=True,
    )
    run.export(to=["onnx", "tflite"], precision=["float32", "float16"])
    run.validate().raise_for_failure()


if __name__ == "__main__":
    main()
