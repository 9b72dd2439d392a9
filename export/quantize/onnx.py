"""An ONNX file in static QDQ integers, per channel, for ONNX Runtime's integer kernels.

details, findings = to_int8(Path("float32.onnx"), opened, Path("model.onnx"), ["features.0"])
"""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from export import self_check
from export.graphs import layers
from export.graphs.onnx_runtime import run
from export.quantize import keep_float
from export.quantize.calibration import calibration, provenance
from measures import tasks
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays

CALIBRATION_BATCH = 16


def to_int8(source: Path, opened: Checkpoint, path: Path, keep: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Write an int8 model: uint8 activations in the calibration's ranges, int8 weights per channel.

    Returns details and findings. keep: the layers that stay in float32.

    Weights use 7 of their 8 bits (`reduce_range`): x86 processors without VNNI add two products of uint8 and int8 in 16
    bits, which saturates with 8 (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). An
    artifact is to give the same numbers everywhere; on the default checkpoint it costs 0.8 of 35 dB.
    """
    samples = calibration(opened)
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        ranges = Ranges(source, samples, Path(folder))
        places, repaired = ranges.places, None
        if list(keep) == [keep_float.AUTO]:
            first, second = keep_float.divided(samples)
            halved = Ranges(source, first, Path(folder) / "halved", unseen=second)
            task = tasks.load(opened.task)
            repaired = keep_float.repair(halved.weights, halved.alone, lambda modules: halved.attempt(modules, task))
            float_layers = list(repaired.kept)
            findings = [repaired.sentence]
        else:
            float_layers = layers.chosen(places.values(), keep)
        ranges.quantize(path, float_layers)
        details = {**provenance(samples), "weight_bits": 7}
        details |= halves(source, samples, float_layers, Path(folder))
        details |= self_check.built(opened.golden(), lambda inputs: run(path, inputs))
    return details | keep_float.details(float_layers, repaired), findings


class Ranges:
    """A float32 model prepared for quantization, with tensor ranges that are measured once, for every attempt."""

    def __init__(self, source: Path, samples: Arrays, folder: Path, unseen: Arrays | None = None):
        """Prepare the model.

        unseen: samples that attempts are measured on; those that set the ranges never overrun them.
        """
        from onnxruntime.quantization.shape_inference import quant_pre_process

        folder.mkdir(exist_ok=True)
        self.source, self.samples, self.folder, self.unseen = source, samples, folder, unseen or samples
        self.prepared = folder / "prepared.onnx"
        quant_pre_process(str(source), str(self.prepared), skip_symbolic_shape=True)
        onnx_places, graph = layers.of_onnx(onnx.load(source)), onnx.load(self.prepared).graph
        self.batch = graph.input[0].type.tensor_type.shape.dim[0].dim_value or CALIBRATION_BATCH
        self.places = {
            node.name: onnx_places[output].module
            for node in graph.node
            for output in node.output
            if output in onnx_places
        }
        """Node → the module it is part of."""
        constants = {item.name: onnx.numpy_helper.to_array(item).nbytes for item in graph.initializer}
        self.weights = dict.fromkeys(self.places.values(), 0)
        """Module → bytes of its constants."""
        for node in graph.node:
            if node.name in self.places:
                self.weights[self.places[node.name]] += sum(constants.get(name, 0) for name in node.input)

    def quantize(self, path: Path, float_layers: Collection[str] = (), only: str = "") -> None:
        """Write the model with these modules in float32, or with only one module in integers."""
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        quantize_static(
            str(self.prepared),
            str(path),
            Batches(self.samples, self.batch),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_quantize=[name for name, module in self.places.items() if module == only] or None,
            nodes_to_exclude=[name for name, module in self.places.items() if module in float_layers] or None,
            calibration_cache_path=str(self.folder / "ranges.json"),
        )

    def some(self, count: int) -> Arrays:
        """Return the first samples to measure on, by input name."""
        return {name: values[:count] for name, values in self.unseen.items()}

    def alone(self, module: str) -> float:
        """Return the SQNR in dB with only this module in integers."""
        path = self.folder / "alone.onnx"
        self.quantize(path, only=module)
        inputs = self.some(keep_float.RANKED)
        return self_check.least(run(path, inputs), run(self.source, inputs))

    def attempt(self, float_layers: Collection[str], task: tasks.Task) -> keep_float.Score:
        """Return the score with these modules in float32."""
        path = self.folder / "attempt.onnx"
        self.quantize(path, float_layers)
        inputs = self.some(keep_float.SAMPLES)
        return keep_float.score(run(path, inputs), run(self.source, inputs), task, path.stat().st_size)


def halves(source: Path, samples: Arrays, float_layers: Collection[str], folder: Path) -> dict[str, Any]:
    """Return the SQNR between the models of the calibration's two halves: a low one says that samples are too few."""
    inputs = {name: values[: keep_float.SAMPLES] for name, values in samples.items()}
    outputs = []
    for name, half in zip(("first", "second"), keep_float.divided(samples), strict=True):
        ranges = Ranges(source, half, folder / name)
        ranges.quantize(folder / f"{name}.onnx", float_layers)
        outputs.append(run(folder / f"{name}.onnx", inputs))
    return {"calibration_halves_sqnr_db": self_check.rounded(self_check.least(*outputs))}


class Batches:
    """An implementation of ONNX Runtime's CalibrationDataReader: batches of named arrays, then None."""

    def __init__(self, samples: Arrays, batch: int):
        self._parts = self._split(samples, batch)

    @staticmethod
    def _split(samples: Arrays, batch: int) -> Iterator[Arrays]:
        for start in range(0, len(next(iter(samples.values()))), batch):
            yield {name: values[start : start + batch] for name, values in samples.items()}

    def get_next(self) -> Arrays | None:
        """Return the next batch; None after the last."""
        return next(self._parts, None)

    def __iter__(self) -> Iterator[Arrays]:
        return self._parts
