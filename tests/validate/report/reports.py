"""Reports with all that can go wrong, made of one that was measured: a row for each status, and hostile names."""

import dataclasses
from typing import Any

from validate.report.records import (
    Agreement,
    Attempt,
    Baseline,
    Culprit,
    Decided,
    FromFile,
    Judgement,
    Layer,
    Lint,
    Localisation,
    Repair,
    Report,
    Result,
    Sample,
)

HOSTILE = '<script>alert(1)</script> | "quoted" \'name\' & `code` \x1b[31m \\ """'


def passing(made: Report) -> Report:
    """The rows that passed."""
    return dataclasses.replace(made, verdict="pass", results=passed(made))


def passed(made: Report) -> list[Result]:
    return [one for one in made.results if one.status == "pass"]


def row(made: Report, **values: Any) -> Result:
    """A row that passed, with other values."""
    return dataclasses.replace(passed(made)[0], **values)


def unmeasured(made: Report, **values: Any) -> Result:
    """A row that has no numbers."""
    empty: dict[str, Any] = {
        "outputs": [], "agreement": None, "metric": None, "decisions": [], "worst": [], "latency_ms": None,
        "samples": 0, "outcome": "blocking", "from_file": None, "probes": [],
    }  # fmt: skip
    return row(made, **empty | values)


def beyond(result: Result, measured: float = 12.5) -> Result:
    """With an SQNR that is not within tolerance, and a decision that changed."""
    output = result.outputs[0]
    judgements = [
        dataclasses.replace(one, measured=measured, headroom=-3.0, within=False) if one.measure == "sqnr_db" else one
        for one in output.judgements
    ]
    worst = [Sample(3, 4.5, "1", "1", "2", 0.0), *result.worst[1:]]
    return dataclasses.replace(
        result,
        status="fail",
        outcome="blocking",
        reason=f"logits: sqnr_db {measured} (at least 25 allowed)",
        outputs=[dataclasses.replace(output, sqnr_db=measured, judgements=judgements)],
        decisions=[*result.decisions, Decided("1", "2", 1)],
        worst=worst,
    )


def judged(headroom: float, **values: Any) -> Judgement:
    """A judgement of preparation."""
    known = {
        "measure": "input_steps",
        "measured": 1.0,
        "allowed": 2.0,
        "upper": True,
        "reason": "why",
        "source": "whence",
    }
    return Judgement(**{**known, "headroom": headroom, "within": headroom >= 0, "by_default": None, **values})


def prepared(language: str, headroom: float = 0.5, sqnr_db: float = 60.0) -> FromFile:
    return FromFile(language, 16, 1.0, sqnr_db, 90.0, [judged(headroom)])


def localisation(artifact: str = "tflite/int8", layers: int = 200, at: int = 120) -> Localisation:
    """Layers of 60 dB, from one on of 20."""
    found = [
        Layer(
            f"features.{number}",
            [f"features.{number}"],
            "CONV_2D",
            f"tensor{number}",
            60.0 if number < at else 20.0,
            0.5,
            0.1,
        )
        for number in range(layers)
    ]
    culprit = Culprit(f"features.{at}", [f"features.{at}"], "CONV_2D", f"tensor{at}", 60.0, 20.0)
    return Localisation(artifact, "LiteRT 2.3.0", 16, found, culprit, "")


def repair(ships: int = 4) -> Repair:
    """A repair that tries other ranges, 16 bits, and float32, which meets the tolerance."""
    tried = [("extremes", 0, 0, 12.0), ("squares", 0, 0, 15.0), ("squares", 9, 0, 21.0), ("squares", 0, 4, 24.0)]
    curve = [
        Attempt(ranges, sixteens, floats, sqnr_db, 0.98, 1_900_000 + 9_000 * sixteens + 50_000 * floats, 1.25)
        for ranges, sixteens, floats, sqnr_db in (*tried, ("squares", 0, 5, 27.0))
    ]
    return Repair(9, 64, ships, ships == 4, curve)


def lint(artifact: str = "tflite/int8_dynamic", takes: int = 61, **values: Any) -> Lint:
    """Of 65 operators, with a hostile name among what is not taken."""
    left = f"; not: {65 - takes} TRANSPOSE of 5 axes (in {HOSTILE})" if takes < 65 else ""
    share = f"{takes} of 65" if left else "all 65"
    known: dict[str, Any] = {
        "runtime": "LiteRT 2.3.0",
        "operators": 65,
        "in_xnnpack": takes,
        "parts": 3 if left else 1,
        "on_gpu_list": 62,
        "flex": 0,
        "custom": 0,
        "int64": 0,
        "many_axes": 4,
        "sentences": [f"{share} operators run in XNNPACK{left}.", "62 of 65 operators are on the GPU's list."],
    }
    return Lint(artifact, **known | values)


def everything(made: Report) -> Report:
    """A verdict of fail for every reason there is, and a note of every kind."""
    good = passed(made)
    assert good[0].agreement
    tied = dataclasses.replace(good[0].agreement, ties=2)
    override = dataclasses.replace(tied.judgement, by_default=0.99)
    labels = ["<img src=x onerror=alert(2)>", *made.model.labels[1:]]
    rows = [
        *good,
        row(made, target="tflite", runtime="litert", backend="xnnpack", agreement=Agreement(1.0, 2, override),
            warnings=["little headroom: sqnr_db 26.1 (at least 25 allowed)"]),
        row(made, target="tfjs", runtime="node", backend="wasm", from_file=prepared("node")),
        beyond(row(made, target="tflite", precision="int8", runtime="litert", backend="xnnpack")),
        unmeasured(made, target="torchscript", runtime="torch", status="error", reason=HOSTILE),
        unmeasured(made, target="tflite", precision="int8_int16", runtime="tflite_runtime", status="refused",
                   reason="it has no SUM"),
        unmeasured(made, target="tflite", precision="int8", runtime="tflite_runtime", status="refused",
                   reason="it has no SUM", outcome="excused"),
        unmeasured(made, target="tfjs", runtime="chromium", backend="webgpu", status="not_run", outcome="excused",
                   reason="chromium is not on this machine"),
        unmeasured(made, target="onnx", precision="float16", runtime="onnxruntime", status="not_run",
                   reason="it was to be exported", artifact_sha256=None, size_bytes=None),
    ]  # fmt: skip
    return dataclasses.replace(
        made,
        verdict="fail",
        results=rows,
        model=dataclasses.replace(made.model, labels=labels),
        warnings=["PyTorch itself decides for one class"],
        baseline=Baseline("released/report.json", "2026-01-01T00:00:00+00:00", "ab" * 32),
        localisations=[localisation()],
        lints=[lint(), lint("tflite/float32", 65), lint("tflite/float16", 65)],
    )
