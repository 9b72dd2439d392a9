"""States what the SavedModel of a model has to compute, and measures how near one on disk comes.

case = Case.of(Path("model.onnx"), Checkpoint.open(folder))
max(measured(case, Path("1")).values()) >= case.allowed_db
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from export import self_check
from export.graphs import layers, onnx_runtime
from export.graphs.operators import first_modules
from export.graphs.saved_model_file import run
from export.graphs.tensorflow import nhwc
from measures import tasks
from measures.tasks import Task
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays, Tensor


@dataclass(frozen=True)
class Case:
    """An ONNX model and what it must give."""

    path: Path
    modules: dict[str, str]
    """Operator → the first of PyTorch's modules that it comes from."""
    places: dict[str, layers.Place]
    """ONNX's tensors, and which modules they belong to."""
    inputs: tuple[Tensor, ...]
    """As TensorFlow has them."""
    outputs: tuple[Tensor, ...]
    golden: Arrays
    """The first golden inputs, as the checkpoint has them."""
    references: dict[str, Arrays]
    """What gives outputs of those → outputs: PyTorch, and ONNX Runtime. One of them is to be met: either may be the one
    that sums in another order where a network is hard on float32."""
    allowed_db: float
    """SQNR, at least."""
    task: Task
    """What puts outputs in a reference's order."""
    decoding: Mapping[str, float]
    """What the model itself decides by."""
    batch: int | None = None
    """The only batch size that the model takes; None: any."""

    @classmethod
    def of(cls, source: Path, opened: Checkpoint) -> "Case":
        """Return the case of an artifact onnx/float32 and its checkpoint."""
        model, golden = onnx.load(source), opened.golden()
        inputs = {name: values[: self_check.SAMPLES] for name, values in golden.inputs.items()}
        outputs = {tensor.name: golden.outputs[tensor.name][: self_check.SAMPLES] for tensor in opened.outputs}
        return cls(
            source,
            first_modules(model),
            layers.of_onnx(model),
            tuple(map(nhwc, opened.inputs)),
            tuple(map(nhwc, opened.outputs)),
            inputs,
            {"pytorch": outputs, "onnx": self_check.in_batches(onnx_runtime.loaded(source), inputs)},
            self_check.same_db(opened),
            tasks.load(opened.task),
            opened.decoding,
            opened.batch,
        )


def measured(case: Case, folder: Path) -> dict[str, float]:
    """Return the least SQNR of what is on disk against each of the references, in dB; NaN becomes minus infinity."""
    actual = run(folder, case.golden, case.inputs, case.outputs)
    ratios = {
        name: self_check.least(actual, reference, case.task, case.decoding)
        for name, reference in case.references.items()
    }
    return {name: -np.inf if np.isnan(ratio) else ratio for name, ratio in ratios.items()}
