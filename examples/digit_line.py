"""A line of digits is read without boxes: a network trained by CTC, to two formats: `python examples/digit_line.py`."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import anywhere

HEIGHT, WIDTH, SIDE, NOTHING, STEPS, BATCH = 16, 128, 14, 10, 450, 48


def lines(scans: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return lines (N, 3, 16, 128) uint8, numbers of the scans that stand in them (N, 7), and how many do: 4 to 7."""
    pages = torch.randint(150, 256, (count, 3, 1, 1)).float().repeat(1, 1, HEIGHT, WIDTH)
    chosen, sizes = torch.randint(len(scans), (count, 7)), torch.randint(4, 8, (count,))
    for page, line, size in zip(pages, chosen, sizes, strict=True):
        for place, scan in enumerate(scans[line[:size]]):
            x, y = 18 * place + int(torch.randint(4, ())), int(torch.randint(HEIGHT - SIDE + 1, ()))
            page[:, y : y + SIDE, x : x + SIDE] *= 1 - 0.8 * scan
    return pages.byte(), chosen, sizes


def read(logits: Any) -> list[int]:
    """Return the digits of logits (11, 32): the greatest of each step, once where it repeats."""
    best = [NOTHING, *logits.argmax(0).tolist()]
    return [after for before, after in pairwise(best) if after not in (before, NOTHING)]


def main() -> None:
    """Train, adopt, export, prove; then read lines of scans that were in no training, by PyTorch and by artifacts."""
    torch.manual_seed(0)
    known = load_digits()
    scans = nn.functional.interpolate(torch.tensor(known.images / 16).float()[:, None], (SIDE, SIDE), mode="bilinear")
    digits, layers = torch.tensor(known.target), []
    for before, after, pool in ((3, 24, (2, 2)), (24, 48, (2, 2)), (48, 64, (4, 1))):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(pool)]
    model = nn.Sequential(*layers, nn.Conv2d(64, NOTHING + 1, (1, 5), padding=(0, 2)), nn.Flatten(2))  # (N, 11, 32)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, STEPS)
    for _ in range(STEPS):
        pages, chosen, sizes = lines(scans[300:], BATCH)
        shares = model(pages / 255).log_softmax(1).permute(2, 0, 1)  # (32, N, 11)
        loss = nn.functional.ctc_loss(shares, digits[300:][chosen], torch.full((BATCH,), 32), sizes, blank=NOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    pages, chosen, sizes = lines(scans[:300], 200)
    texts = [digits[line[:size]].tolist() for line, size in zip(chosen, sizes, strict=True)]
    files = [Path("lines") / f"{number:03}.png" for number in range(len(pages))]
    files[0].parent.mkdir(exist_ok=True)
    for file, page in zip(files, pages, strict=True):
        Image.fromarray(page.permute(1, 2, 0).numpy()).save(file)
    run = anywhere.adopt(model.eval(), images="lines", size=(HEIGHT, WIDTH), run="digit_line", force=True)
    run.export(to=["onnx", "tflite"], precision=["float32", "float16"])
    run.validate().raise_for_failure()
    for name in ("PyTorch", "onnx/float32", "tflite/float32", "tflite/float16"):
        found = model(pages / 255) if name == "PyTorch" else [one.outputs["output"] for one in run.predict(name, files)]
        right = sum(read(each) == text for each, text in zip(found, texts, strict=True))
        print(f"{name}: {right} of {len(texts)} lines are right. {texts[0]} is read {read(found[0])}.")


if __name__ == "__main__":
    main()
