"""Layers that stay in float32: asked for by name, or as few as repair a bad integer model."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export import interfaces
from export.graphs.flatbuffer import number, root_of, tables
from export.run import Run
from pipeline import program
from pipeline.checkpoint import PROGRAM, Checkpoint
from tests.conftest import Said
from tests.modules import built
from validate.report import records


def details(name: str) -> dict:
    return dict(Run.open("tiny").artifact(name).details)


def integers(path: Path) -> set[str]:
    return {item.name for item in onnx.load(path).graph.initializer if item.name.endswith("_quantized")}


@pytest.mark.slow
def test_named_layers_stay_in_float_until_they_no_longer_shall(released: Path, command: Callable[..., Said]) -> None:
    """In ONNX and in TFLite; remembered; and what is no layer is refused before anything is done."""
    place = Path("runs/tiny/artifacts")
    sizes = {name: Run.open("tiny").artifact(name).size_bytes for name in ("onnx/int8", "tflite/int8")}
    whole = integers(place / "onnx/int8/model.onnx")
    assert any("fc1" in name for name in whole)
    asked = ("export", "tiny", "--to", "onnx,tflite", "--precision", "int8")
    refused = command(*asked, "--keep-float", "fc1,fc3")
    assert (refused.status, "unknown layer 'fc3'. Nearest: fc" in refused.err) == (2, True)
    assert integers(place / "onnx/int8/model.onnx") == whole
    done = command(*asked, "--keep-float", "fc1")
    assert done.status == 0, done
    assert not any("fc1" in name for name in integers(place / "onnx/int8/model.onnx"))
    for (name, size), kind in zip(sizes.items(), ("Gemm", "FULLY_CONNECTED"), strict=True):
        assert details(name)["keep_float"] == ["fc1"]
        in_float = interfaces.read(Run.open("tiny").artifact(name)).in_float
        assert details(name)["float_operators"] == in_float == {kind: 1}
        assert Run.open("tiny").artifact(name).size_bytes > 2 * size  # most weights are fc1's
    assert "tflite int8 unchanged" in " ".join(command(*asked).out.split())
    assert command(*asked, "--keep-float", "none").status == 0
    assert integers(place / "onnx/int8/model.onnx") == whole


def test_what_has_no_integers_keeps_nothing(released: Path, command: Callable[..., Said]) -> None:
    said = command("export", "tiny", "--to", "onnx", "--precision", "float16", "--keep-float", "fc1")
    assert said.status == 2
    assert "nothing asked for can keep layers in float32. Ask for --precision int8 or int8_int16." in said.err


MUCH = 2.0**15
"""Beyond what channels are equalised by."""


def unbalanced(folder: Path, times: float = MUCH) -> None:
    """Write the same function with one channel that many times greater between the convolutions: one scale for all
    channels leaves the others nothing."""
    opened = Checkpoint.open(folder)
    record = json.loads((folder / "checkpoint.json").read_text())
    arrays = {name: opened.arrays(name) for name in record["files"] if name.endswith(".safetensors")}
    model, golden = built(opened), arrays["golden.safetensors"]
    with torch.no_grad():
        model.model.conv1.weight[0] *= times
        model.model.conv1.bias[0] *= times
        model.model.conv2.weight[:, 0] /= times
        image = torch.from_numpy(golden["input.image"])
        golden["output.logits"] = model(image).numpy()
        golden["oracle.logits"] = copy.deepcopy(model).double()(image.double()).numpy()
    captured = program.capture(model, (image[:2],), [{0: "batch"}])
    fields = {key: record[key] for key in record if key not in {"sha256", "files", "format"}}
    config = (folder / "config.toml").read_text()
    Checkpoint.write(folder, fields, config, arrays, lambda new: program.save(captured, new / PROGRAM))


@pytest.mark.slow
def test_two_commands_repair_a_bad_integer_model(workplace: Path, command: Callable[..., Said]) -> None:
    unbalanced(Path("runs/tiny/checkpoint"))
    asked = ("export", "tiny", "--to", "onnx,tflite", "--precision", "int8")
    proved = ("validate", "tiny", "--calls", "3", "--only", "*/int8 in onnxruntime", "--only", "*/int8 in litert *")
    assert command(*asked).status == 0
    bad = command(*proved)
    assert bad.status == 1
    assert "anywhere export tiny --to tflite --precision int8 --auto" in " ".join(bad.out.split())
    repaired = command(*asked, "--auto")
    assert repaired.status == 0
    kept = {name: Run.open("tiny").artifact(name).integers for name in ("onnx/int8", "tflite/int8")}
    for name, found in kept.items():
        assert found is not None
        assert found.repair is not None
        before, after = found.repair.curve[0], found.repair.curve[found.repair.ships]
        assert before.sqnr_db < 25 < after.sqnr_db
        assert (len(found.keep_16), len(found.keep_float)) == (after.keep_16, after.keep_float)
        assert 0 < after.keep_16 + after.keep_float < found.repair.layers
        assert f"{after.sqnr_db:.1f} dB" in repaired.out, name
        assert all(step.latency_ms > 0 for step in found.repair.curve if step.sqnr_db is not None)
    assert not kept["onnx/int8"].keep_16, "ONNX Runtime has no integer kernels of 16 bits"
    good = command(*proved)
    assert good.status == 0, good.out


@pytest.mark.nightly
def test_channels_of_very_different_sizes_are_equalised_before_and_need_no_layer_in_float(
    workplace: Path, command: Callable[..., Said]
) -> None:
    unbalanced(Path("runs/tiny/checkpoint"), times=2048)
    assert command("export", "tiny", "--to", "onnx,tflite", "--precision", "int8").status == 0
    for name in ("onnx/int8", "tflite/int8"):
        assert details(name)["equalised_streams"] > 0
        assert not details(name).get("keep_float")
    said = command(
        "validate", "tiny", "--calls", "3", "--only", "*/int8 in onnxruntime", "--only", "*/int8 in litert *"
    )
    assert said.status == 0, said.out


@pytest.mark.nightly
def test_localising_names_the_layers_that_do_harm(workplace: Path, command: Callable[..., Said]) -> None:
    unbalanced(Path("runs/tiny/checkpoint"))
    assert command("export", "tiny", "--to", "onnx", "--precision", "int8").status == 0
    said = command("validate", "tiny", "--calls", "3", "--localise", "--leave-out", "* in ort_web *")
    assert said.status == 1
    (found,) = [
        one for one in records.read(Path("runs/tiny/report/report.json")).localisations if one.artifact == "onnx/int8"
    ]
    assert found.culprit
    assert np.all([one in {"conv1", "conv2"} for one in found.culprit.modules])


def has_16_bits(path: Path) -> bool:
    """True if a TFLite file has a tensor of int16."""
    (graph, *_), int16 = tables(root_of(path.read_bytes()), 2), 7
    return int16 in {number(tensor, 1, "<b") for tensor in tables(graph, 0)}


@pytest.mark.nightly
def test_named_layers_have_16_bits_in_tflite(released: Path, command: Callable[..., Said]) -> None:
    """Remembered until they no longer shall; a name that is none, a format without, and both at once are refused."""
    place, asked = Path("runs/tiny/artifacts/tflite/int8/model.tflite"), ("export", "tiny", "--precision", "int8")
    both = (*asked, "--to", "onnx,tflite")
    unknown = command(*both, "--keep-16", "fc1,fc3")
    assert (unknown.status, "--keep-16: unknown layer 'fc3'. Nearest: fc" in unknown.err) == (2, True)
    without = command(*asked, "--to", "onnx", "--keep-16", "fc1")
    assert without.status == 2
    assert "onnx/int8: has no activations of 16 bits for single layers. Ask for --to tflite --precision" in without.err
    assert not has_16_bits(place)
    done = command(*both, "--keep-16", "conv2")
    assert done.status == 0, done
    assert "onnx/int8: has no activations of 16 bits for single layers; left as it is" in done.out
    assert has_16_bits(place)
    assert details("tflite/int8")["keep_16"] == ["conv2"]
    twice = command(*both, "--keep-float", "conv2")
    assert twice.status == 2
    assert "tflite/int8: conv2 cannot have 16 bits and stay in float32, too." in twice.err
    said = command("validate", "tiny", "--calls", "3", "--only", "tflite/int8 in *", "--leave-out", "* litert_arm64")
    assert said.status == 0, said.out
    assert "tflite/int8: 1 layers have 16 bits (conv2)." in " ".join(said.out.split())
    assert command(*both, "--keep-16", "none").status == 0
    assert not has_16_bits(place)


def test_a_repair_chooses_for_itself(released: Path, command: Callable[..., Said]) -> None:
    said = command("export", "tiny", "--to", "onnx", "--precision", "int8", "--auto", "--keep-float", "fc1")
    assert said.status == 2
    assert "--auto chooses the layers itself. Leave out --keep-float and --keep-16, or --auto." in said.err
