"""An ONNX file in static QDQ integers, per channel, for ONNX Runtime's integer kernels.

details, findings = to_int8(Path("float32.onnx"), opened, Path("model.onnx"), ["features.0"])
"""

import shutil
import tempfile
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export import self_check
from export.graphs import layers
from export.graphs.onnx_runtime import loaded, run
from export.graphs.onnx_weights import weighted
from export.quantize import repair
from export.quantize.calibration import calibration, provenance
from export.quantize.network import Layer, Network, observed
from export.quantize.prepared import eight_bits, prepare
from export.quantize.quantizing import Quantizing, timed
from export.quantize.ranges import Following, Ranges, Seen, observe, readers
from export.quantize.repair import Kept
from measures import tasks
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays

SEVEN_BITS = 64
"""The greatest integer that ONNX Runtime's `reduce_range` leaves a weight."""


def to_int8(source: Path, opened: Checkpoint, path: Path, keep: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Write an int8 model: uint8 activations in the calibration's ranges, int8 weights per channel.

    Returns details and findings. keep: the layers that stay in float32.
    """
    samples, task = calibration(opened), tasks.load(opened.task)
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(source, samples, Path(folder), greatest, task.FLOAT_MODULES)
        model = OnnxRuntime(prepared.corrected.path, samples, task, Path(folder), prepared.exact)
        details = {**provenance(samples), **prepared.corrected.details}
        if list(keep) == [repair.AUTO]:
            repaired = model.repaired(sixteen=False)
            made, kept, method, findings = repaired.model, repaired.best.kept, repaired.best.method, [repaired.sentence]
        else:
            kept = model.kept = Kept(float32=tuple(layers.chosen(model.places.values(), keep)))
            repaired, made, method = None, model.quantize(model.ranges(), kept), ""
        shutil.copyfile(made, path)
        details |= model.halves(kept, method)
        details |= self_check.built(opened.golden(), lambda inputs: run(path, inputs), task)
        operators = [
            node.op_type for node, _ in weighted(model.model.graph) if model.places.get(node.name) in kept.float32
        ]
    return details | repair.details(kept, operators, repaired), findings


class OnnxRuntime(Quantizing[Path]):
    """A prepared float32 file and its integers by ONNX Runtime's quantizer."""

    def __init__(self, source: Path, samples: Arrays, task: tasks.Task, folder: Path, exact: Path):
        """Read the file.

        folder: for files in between. exact: the file whose weights are not rounded, for layers that stay in float32.
        """
        from onnxruntime.quantization.shape_inference import quant_pre_process

        super().__init__(samples, task)
        self.source, self.folder, self.prepared, self._made = source, folder, folder / "prepared.onnx", 0
        quant_pre_process(str(source), str(self.prepared), skip_symbolic_shape=True)
        self.model, self.exact = onnx.load(self.prepared), exact

    @cached_property
    def places(self) -> dict[str, str]:
        """Return node → the module it is part of."""
        onnx_places = layers.of_onnx(onnx.load(self.source))
        return {
            node.name: onnx_places[output].module
            for node in self.model.graph.node
            for output in node.output
            if output in onnx_places
        }

    @cached_property
    def weights(self) -> dict[str, int]:
        """Return module → bytes of its constants."""
        constants = {item.name: onnx.numpy_helper.to_array(item).nbytes for item in self.model.graph.initializer}
        sizes = dict.fromkeys(self.places.values(), 0)
        for node in self.model.graph.node:
            if node.name in self.places:
                sizes[self.places[node.name]] += sum(constants.get(name, 0) for name in node.input)
        return sizes

    @cached_property
    def seen(self) -> dict[str, Seen]:
        """Return what all samples gave in every tensor of the float32 model."""
        names = [name for node in self.model.graph.node for name in node.output]
        return observe(observed(self.model, names, self.samples))

    @cached_property
    def following(self) -> Following:
        """Return what reads each tensor."""
        return readers((node.op_type, node.input, node.output) for node in self.model.graph.node)

    @cached_property
    def _wide(self) -> dict[str, list[dict[str, Any]]]:
        """Return the weights that have 8 bits, and how: in the words of ONNX Runtime's quantizer."""
        from onnxruntime.quantization import QuantType

        wide = {"quant_type": QuantType.QInt8, "axis": 0, "symmetric": True, "reduce_range": False}
        return {layer.weight: [dict(wide)] for layer in Network(self.model).layers if greatest(layer) > SEVEN_BITS}

    def quantize(self, tensor_ranges: Ranges, kept: Kept | None = None, only: str = "") -> Path:
        """Return a file with these modules in float32, or with only one module in integers.

        ONNX Runtime has no integer kernels for 16 bits, so none are kept in them.
        """
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

        self._made += 1
        path, ends = self.folder / f"{self._made}.onnx", self.folder / f"{self._made}.json"
        pairs = {name: tuple(np.array(end, np.float32) for end in pair) for name, pair in tensor_ranges.items()}
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, pairs), ends)
        float_nodes = [
            name
            for name, module in self.places.items()
            if (kept and module in kept.float32) or (only and module != only)
        ]
        fixed = [name for name, module in self.places.items() if module in self.fixed]
        quantize_static(
            self._unrounded(float_nodes),
            str(path),
            None,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_quantize=[name for name, module in self.places.items() if module == only] or None,
            nodes_to_exclude=[] if only else list(dict.fromkeys([*float_nodes, *fixed])) or None,
            calibration_cache_path=str(ends),
            reduce_range=True,
            extra_options={"TensorQuantOverrides": self._wide},
        )
        return path

    def _unrounded(self, float_nodes: Collection[str]) -> Any:
        """Return the float32 model in which these nodes have weights that are not rounded.

        And no bias is corrected, if there are any: what they would make up for is not all there.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        weights = {name for node in model.graph.node if node.name in float_nodes for name in node.input}
        for item in model.graph.initializer:
            wanted = item.name in weights or (float_nodes and len(item.dims) == 1)
            if wanted and item.name in self._exact_weights:
                item.CopyFrom(self._exact_weights[item.name])
        return model

    @cached_property
    def _exact_weights(self) -> dict[str, Any]:
        return {item.name: item for item in onnx.load(self.exact).graph.initializer}

    def run(self, model: Path | None, inputs: Arrays) -> Arrays:
        """Return the outputs of a file, or of the float32 file with weights that are not rounded, in ONNX Runtime."""
        return run(model or self.exact, inputs)

    def size(self, model: Path) -> int:
        """Return the bytes of a file."""
        return model.stat().st_size

    def latency_ms(self, model: Path | None) -> float:
        """Return the median time of one sample in one thread; None: of the float32 file."""
        call, one = loaded(model or self.exact, threads=1), self.some(1)
        return timed(lambda: call(one))


def greatest(layer: Layer) -> int:
    """Return the greatest integer of a layer's weights: 127 in a depthwise convolution, whose kernel is exact, else 64.

    Of uint8 times int8, x86 processors without VNNI add two products in 16 bits, which saturates with 8 bits
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html): efficientnet_lite0 has 21 dB on a
    processor with VNNI and 7 on an emulated Haswell. uint8 weights are right on both, and as slow as float32.
    """
    return eight_bits(layer) if layer.kernel and layer.depthwise else SEVEN_BITS
