"""Computes in PyTorch what the checkpoint's own program gives: for inputs in a file, with the oracle, and for further
held-out samples, which it reads.

    worker.call(Path("validate/reference.py"), "outputs", {"checkpoint": …, "inputs": …, "anew": 6, …}, log, limit_s)
    worker.call(Path("validate/reference.py"), "further", {"checkpoint": …, "count": …, "folder": …}, log, limit_s)

No code of the user's is run: the program lies in the checkpoint, and was examined before PyTorch reads it.
"""

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from measures.boxes import OTHER
from pipeline.checkpoint import TORCHSCRIPT, Checkpoint
from pipeline.oracle import in_double
from records.errors import BadInput
from records.golden import INPUT, ORACLE, OUTPUT, RIVAL, flat, part
from records.tensor import Array, Arrays

TOOLCHAIN = "torch"

BATCH = 32


def outputs(checkpoint: str, inputs: str, out: str, anew: int, threads: int) -> dict[str, Any]:
    """Write outputs, oracle and rivals, each (N, …) by name, for the inputs (N, …) in a file.

    anew: samples of which a detector that chooses inside is asked again, the first ones.

    Returns why there are none; empty: there are. Raises BadInput for a program that could do more than compute.
    """
    torch.set_num_threads(threads)
    opened = Checkpoint.open(Path(checkpoint))
    arrays = part(load_file(inputs), INPUT)
    without = opened.refused("program")
    if without and TORCHSCRIPT not in opened.files:
        return {"problem": "the checkpoint has no program"}
    given = [torch.from_numpy(arrays[tensor.name]) for tensor in opened.inputs]
    names, batch = [tensor.name for tensor in opened.outputs], opened.batch or BATCH
    model = _model(opened, bool(without))
    plain, rivals = _with_rivals(opened, model, given, batch)
    single = copy.deepcopy(model) if any(name.startswith(OTHER) for name in opened.golden().rivals) else None
    try:
        double = model.double()  # in place, for it is not asked in float32 any more
        with in_double():
            wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in given]
            oracle = _run(double, wide, names, batch)
    except (RuntimeError, TypeError, ValueError) as error:  # TorchScript holds constants that nothing widens
        return {"problem": f"it cannot be computed in double precision ({str(error).partition(chr(10))[0][:200]})"}
    if single is not None:
        from pipeline.otherwise import otherwise

        tensors = {name: torch.from_numpy(values) for name, values in oracle.items()}
        by_name = {tensor.name: values for tensor, values in zip(opened.inputs, given, strict=True)}
        others = otherwise(single, by_name, names, batch, tensors, anew)
        rivals = {**rivals, **{name: values.numpy() for name, values in others.items()}}
    save_file(flat({OUTPUT: plain, ORACLE: oracle, RIVAL: rivals}), out)
    return {"problem": ""}


def further(checkpoint: str, count: int, folder: str, out: str, threads: int) -> dict[str, Any]:
    """Write `count` further held-out samples at most into a folder, some hundreds in a file, `0.safetensors` and so on.

    out: the file that the outputs (N, …) of all are written to, and what is right for them. Returns the number of
    files, and sentences. Raises BadInput where nothing proves that the samples are held out, or there is no program.
    """
    from pipeline import further as held_out  # which reads pictures, and takes a second to import

    torch.set_num_threads(threads)
    opened = Checkpoint.open(Path(checkpoint))
    without = opened.refused("program")
    if without and TORCHSCRIPT not in opened.files:
        raise BadInput("--decisions: the checkpoint has no program to answer for further samples. Leave it out.")
    model, batch = _model(opened, bool(without)), opened.batch or BATCH
    reader, answers = held_out.of(opened, count), list[Arrays]()
    for number, samples in enumerate(reader.batches()):
        inputs = [samples.inputs[tensor.name] for tensor in opened.inputs]
        arrays = {name: values.numpy() for name, values in samples.inputs.items()}
        save_file(flat({INPUT: arrays}), Path(folder) / f"{number}.safetensors")
        outputs, rivals = _with_rivals(opened, model, inputs, batch)
        truth = {name: values.numpy() for name, values in samples.truth.items()}
        answers.append({**flat({OUTPUT: outputs, RIVAL: rivals}), **truth})
    save_file({name: np.concatenate([each[name] for each in answers]) for name in answers[0]}, Path(out))
    return {"files": len(answers), "findings": reader.findings()}


def _model(opened: Checkpoint, scripted: bool) -> Any:
    if not scripted and opened.decoding:
        from pipeline.detectors.captured import watchable  # and torchvision, which takes a second to import

        return watchable(opened.model(), opened.decoding, opened.inputs[0].shape[2:])
    if not scripted:
        return opened.model()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        return torch.jit.load(str(opened.folder / TORCHSCRIPT), map_location="cpu")


def _with_rivals(opened: Checkpoint, model: Any, given: Sequence[torch.Tensor], batch: int) -> tuple[Arrays, Arrays]:
    """Return outputs (N, …) by name, and what a detector all but chose, as golden has it."""
    names = [tensor.name for tensor in opened.outputs]
    if not opened.decoding:
        return _run(model, given, names, batch), {}
    from pipeline.detectors.captured import with_rivals

    return with_rivals(model, lambda: _run(model, given, names, batch))


def _run(model: Callable[..., Any], given: Sequence[torch.Tensor], names: Sequence[str], batch: int) -> Arrays:
    """Return outputs (N, …) by name, computed in batches."""
    parts: list[Sequence[torch.Tensor]] = []
    with torch.no_grad():
        for each in zip(*(tensor.split(batch) for tensor in given), strict=True):
            values = model(*each)
            parts.append(values if isinstance(values, (tuple, list)) else (values,))
    return {name: _whole([part[place] for part in parts]) for place, name in enumerate(names)}


def _whole(parts: Sequence[torch.Tensor]) -> Array:
    values = torch.cat(list(parts)).detach()
    values = values.float() if values.dtype == torch.bfloat16 else values
    found: Array = values.contiguous().numpy()
    return found
