"""Programs of torch.export taken apart: their state."""

import torch
from safetensors.torch import load_file, save_file

TOOLCHAIN = "torch"

EXTRA = ("labels.txt", "checkpoint_sha256")


def read(path: str, out: str) -> None:
    """Parameters and buffers by name."""
    save_file(
        {name: value.detach().contiguous().clone() for name, value in torch.export.load(path).state_dict.items()}, out
    )


def write(path: str, changed: str) -> None:
    """Parameters and buffers by the names of `read`."""
    extra = dict.fromkeys(EXTRA, "")
    program = torch.export.load(path, extra_files=extra)
    with torch.no_grad():
        for name, value in load_file(changed).items():
            program.state_dict[name].copy_(value)
    torch.export.save(program, path, extra_files=extra)


def labels(path: str, lines: list[str]) -> None:
    """The file of labels beside the graph."""
    extra = dict.fromkeys(EXTRA, "")
    program = torch.export.load(path, extra_files=extra)
    torch.export.save(program, path, extra_files=extra | {"labels.txt": "\n".join(lines)})
