"""A network of timm's with your weights and your pictures: `python examples/timm_model.py`.

The same on the command line, after this has written the weights and the pictures:

    anywhere adopt timm:mobilenetv4_conv_small --option num_classes=3 --weights timm.safetensors --images pictures
"""

from pathlib import Path

import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import anywhere


def main() -> None:
    """Write weights and pictures as yours would lie there; adopt, export, prove."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images[:300], digits.target, strict=False)):
        if label < 3:
            folder = Path("pictures") / f"digit{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 15).astype("uint8")).resize((64, 64)).save(folder / f"{number}.png")
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv4_conv_small", num_classes=3)
    save_file(model.state_dict(), "timm.safetensors")

    run = anywhere.adopt(
        "timm:mobilenetv4_conv_small",
        options={"num_classes": 3},
        weights="timm.safetensors",
        images="pictures",
        size=(64, 64),
        run="timm",
        force=True,
    )
    run.export(to=["onnx", "tflite"], precision=["float32"])
    run.validate().raise_for_failure()


if __name__ == "__main__":
    main()
