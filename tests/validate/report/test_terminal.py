"""What the terminal shows: a table that fits, worst first; why a row failed and what to type; what a pass hides."""

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from tests.validate.report import reports
from validate.report import page, sentences, summary, terminal
from validate.report.records import Quantization, Report


def lines(report: Report) -> list[str]:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(terminal.render(report), soft_wrap=True)
    return console.export_text().splitlines()


def saying(report: Report, subject: str) -> str:
    (line,) = [line for line in lines(report) if line.startswith(f"{subject}: ")]
    return line


def failing(made: Report, **values: Any) -> Report:
    result = reports.beyond(reports.row(made, **values))
    return dataclasses.replace(made, verdict="fail", results=[*reports.passed(made), result])


def test_the_table_fits_100_columns_and_a_failure_says_why(made: Report) -> None:
    longest = reports.row(made, runtime="chromium", backend="webgpu", target="exported_program")
    report = dataclasses.replace(made, results=[longest, *made.results])
    shown = lines(report)
    table = shown[: len(report.results) + 1]
    assert all(len(line.rstrip()) <= 100 for line in table)
    assert not any("…" in line for line in table)
    assert any("exported_program/float32 chromium webgpu pass" in line for line in table)
    assert any(line.startswith("torchscript/float32 in none: no runner for target torchscript") for line in shown)
    assert shown[-1] == f"fail: 1 of {len(report.results)} did not pass (64 golden inputs)."


def test_the_worst_row_comes_first(made: Report) -> None:
    report = reports.everything(made)
    ordered = [one for one in sentences.ordered(report.results) if one.outcome != "excused"]
    names = [line.split()[0] for line in lines(report)[1 : len(ordered) + 1]]
    assert names[0] in {"torchscript/float32", "tflite/int8_int16", "onnx/float16"}  # no result, and it was needed
    assert [sentences.artifact(one) for one in ordered] == names
    unsettled = [one.blocking for one in ordered]
    assert unsettled == sorted(unsettled, reverse=True)
    passed = [one.headroom or 0.0 for one in ordered if one.status == "pass"]
    assert len(set(passed)) > 1
    assert passed == sorted(passed)


def test_what_is_excused_is_no_row_but_a_line_and_the_verdict_names_it(made: Report) -> None:
    absent = [
        reports.unmeasured(
            made,
            target=target,
            runtime="chromium",
            backend="webgpu",
            status="not_run",
            outcome="excused",
            reason="no GPU",
        )
        for target in ("tfjs", "onnx")
    ]
    good = reports.passed(made)
    shown = lines(dataclasses.replace(made, verdict="pass", results=[*absent, *good]))
    assert [line for line in shown if line.startswith("tfjs/")] == []
    assert "not run in chromium webgpu: no GPU." in shown
    assert shown[-1].startswith(
        f"pass: {len(good)} of {len(good) + 2} within tolerance (2 not run: chromium webgpu) on"
    )


def test_one_cause_is_said_once_for_all_rows_that_it_fails(made: Report) -> None:
    rows = [
        reports.unmeasured(made, target="tfjs", runtime="node", backend=backend, status="error", reason="no such file")
        for backend in ("wasm", "cpu", "webgl")
    ]
    said = sentences.failures(dataclasses.replace(made, results=rows))
    assert [one.subject for one in said] == ["tfjs/float32 in node wasm and 2 more rows"]


def test_headroom_far_beyond_is_no_number() -> None:
    assert [sentences.percent(share) for share in (None, 0.53, -4.2, -240132.59)] == ["", "53%", "-420%", "—"]


def test_the_ratio_that_is_judged_is_the_one_that_is_shown(made: Report) -> None:
    row = reports.row(made, precision="int8")
    output = row.outputs[0]
    judged = dataclasses.replace(reports.judged(0.5), measure="sqnr_db", measured=32.8)
    shown = dataclasses.replace(output, sqnr_db=14.6, judgements=[judged])
    assert sentences.figures(dataclasses.replace(row, outputs=[shown])).sqnr == "32.8"


def test_a_failed_integer_row_is_to_be_localised_then_kept_in_float(made: Report) -> None:
    report = failing(made, target="tflite", precision="int8", runtime="litert", backend="xnnpack")
    said = saying(report, "tflite/int8 in litert xnnpack")
    assert said.endswith(
        "Next: anywhere validate tiny --localise, then: anywhere export tiny --to tflite --precision int8 --keep-float "
        "LAYER, or: anywhere export tiny --to tflite --precision int8 --auto"
    )
    localised = dataclasses.replace(report, localisations=[reports.localisation("tflite/int8")])
    kept = "Next: anywhere export tiny --to tflite --precision int8 --keep-float features.120"
    assert kept in saying(localised, "tflite/int8 in litert xnnpack")
    other = dataclasses.replace(report, localisations=[reports.localisation("onnx/int8")])
    assert "--localise" in saying(other, "tflite/int8 in litert xnnpack")


def test_a_failed_float_row_is_to_be_localised(made: Report) -> None:
    said = saying(failing(made, runtime="elsewhere", backend=""), "onnx/float32 in elsewhere")
    assert said.endswith("Next: anywhere validate tiny --localise")


def test_what_gave_no_result_or_was_refused_says_what_to_type(made: Report) -> None:
    report = reports.everything(made)
    error = next(one for one in report.results if one.status == "error")
    assert saying(report, error.name).endswith(f"Next: {error.command}")
    refused = saying(report, "tflite/int8_int16 in tflite_runtime")
    assert refused.endswith('Next: anywhere validate tiny --accept "tflite/int8_int16 in tflite_runtime"')
    accepted = saying(report, "tflite/int8 in tflite_runtime")
    assert "it has no SUM. Accepted by the configuration." in accepted
    assert "Next" not in accepted


def test_a_row_that_fails_by_its_preparation_alone_is_not_to_be_localised(made: Report) -> None:
    one = reports.row(made, status="fail", outcome="blocking", reason="x", from_file=reports.prepared("python", -1.0))
    report = dataclasses.replace(made, verdict="fail", results=[one])
    assert saying(report, one.name).endswith(f"Next: {one.command}")


def commands(report: Report) -> list[str]:
    """What is to be typed about the last row."""
    return [command for _, command in sentences.steps(report, report.results[-1])]


def made_with(report: Report, **settings: Any) -> Report:
    """The same report, with other options typed; `only` runs the last row alone."""
    results = report.results[-1:] if settings.get("only") else report.results
    return dataclasses.replace(report, results=results, settings=report.settings | settings)


def test_dynamic_integers_that_fail_have_a_precision_to_try_instead(made: Report) -> None:
    report = failing(made, target="tflite", precision="int8_dynamic", runtime="litert", backend="xnnpack")
    said = saying(report, "tflite/int8_dynamic in litert xnnpack")
    assert said.endswith("--localise, or: anywhere export tiny --to tflite --precision int8_weights")
    none = dataclasses.replace(
        reports.localisation("tflite/int8_dynamic"), culprit=None, layers=[], problem="no tensor is known"
    )
    assert commands(dataclasses.replace(report, localisations=[none])) == [
        "anywhere export tiny --to tflite --precision int8_weights"
    ]


def integers(keep_float: list[str], keep_16: Sequence[str] = (), repaired: bool = False) -> Quantization:
    return Quantization(32, 40.0, keep_float, list(keep_16), reports.repair() if repaired else None)


def test_what_was_localised_is_not_to_be_localised_again(made: Report) -> None:
    located = reports.localisation("tflite/int8")
    even = dataclasses.replace(located, culprit=None)
    none = dataclasses.replace(located, culprit=None, layers=[], problem="none of its tensors is a known module's")
    report = failing(made, target="tflite", precision="int8", runtime="litert", backend="xnnpack")
    assert commands(dataclasses.replace(report, localisations=[even])) == [
        "anywhere export tiny --to tflite --precision int8 --keep-float features.0",
        "anywhere export tiny --to tflite --precision int8 --auto",
    ]
    assert commands(dataclasses.replace(report, localisations=[none])) == [
        "anywhere export tiny --to tflite --precision int8 --auto"
    ]
    floats = failing(made, runtime="elsewhere", backend="")
    for one in (even, none):
        said = dataclasses.replace(floats, localisations=[dataclasses.replace(one, artifact="onnx/float32")])
        assert commands(said) == ['anywhere validate tiny --only "onnx/float32 in onnxruntime"']


def test_a_row_that_was_run_alone_goes_deeper(made: Report) -> None:
    script = "python runs/tiny/report/reproduce/onnx-float32-onnxruntime.py"
    report = failing(made)
    alone = made_with(report, only=[report.results[-1].name])
    assert commands(alone) == ['anywhere validate tiny --localise --only "onnx/float32 in onnxruntime"']
    located = [dataclasses.replace(reports.localisation("onnx/float32"), culprit=None)]
    assert commands(dataclasses.replace(alone, localisations=located)) == [script]
    error = reports.unmeasured(made, status="error", reason="it crashed")
    crashed = dataclasses.replace(made, verdict="fail", results=[*made.results, error])
    assert commands(crashed) == [error.command]
    assert commands(made_with(crashed, only=["onnx/float32 *"])) == [script]  # whatever it was called


def test_a_script_that_is_next_is_shown_once(made: Report) -> None:
    error = reports.unmeasured(made, status="error", reason="it crashed")
    report = made_with(dataclasses.replace(made, verdict="fail", results=[error]), only=[error.name])
    script = "runs/tiny/report/reproduce/onnx-float32-onnxruntime.py"
    assert summary.markdown(report).count(script) == 1
    assert page.render(report, {}).count(f"python {script}</code>") == 1


def test_what_cannot_be_looked_into_is_not_to_be_localised(made: Report) -> None:
    report = failing(made, target="torchscript", runtime="torch", backend="")
    assert commands(report) == [report.results[-1].command]


def test_layers_stay_in_float_beside_those_that_do(made: Report) -> None:
    row: dict[str, Any] = {"target": "tflite", "precision": "int8", "runtime": "litert", "backend": "xnnpack"}
    located = [reports.localisation("tflite/int8")]
    some = failing(made, **row, quantization=integers(["features.3", "the model"]))
    assert commands(dataclasses.replace(some, localisations=located)) == [
        "anywhere export tiny --to tflite --precision int8 --keep-float 'features.3,the model,features.120'",
        "anywhere export tiny --to tflite --precision int8 --auto",
    ]
    same = failing(made, **row, quantization=integers(["features.120"]))
    assert commands(dataclasses.replace(same, localisations=located)) == [
        "anywhere export tiny --to tflite --precision int8 --auto"
    ]
    repaired = failing(made, **row, quantization=integers(["features.120"], repaired=True))
    assert commands(dataclasses.replace(repaired, localisations=located)) == [repaired.results[-1].command]


@pytest.mark.parametrize(("target", "precision"), [("tflite", "int8_weights"), ("tfjs", "uint8_weights")])
def test_what_has_no_layers_to_keep_is_not_to_keep_them(made: Report, target: str, precision: str) -> None:
    report = failing(made, target=target, precision=precision, runtime="elsewhere", backend="")
    assert commands(report) == ["anywhere validate tiny --localise"]


def test_a_refusal_is_accepted_beside_those_that_are(made: Report) -> None:
    row = reports.unmeasured(
        made, target="tflite", precision="int8", runtime="tflite_runtime", backend="", status="refused",
        reason="it has no DIV of int8", stopped_in=["head.norm"],
    )  # fmt: skip
    report = dataclasses.replace(made, verdict="fail", results=[*made.results, row])
    assert commands(made_with(report, accept=["* in nowhere"])) == [
        'anywhere validate tiny --accept "* in nowhere" --accept "tflite/int8 in tflite_runtime"',
        "anywhere export tiny --to tflite --precision int8 --keep-float head.norm",
    ]


def test_an_operator_of_integers_that_stops_is_to_be_kept_in_float(made: Report) -> None:
    row: dict[str, Any] = {"target": "tflite", "runtime": "litert", "backend": "builtin", "status": "error"}

    def stopped(precision: str, *modules: str, **values: Any) -> list[str]:
        one = reports.unmeasured(made, **row, precision=precision, stopped_in=list(modules), **values)
        return commands(dataclasses.replace(made, verdict="fail", results=[*made.results, one]))

    alone = [reports.row(made).command]
    assert stopped("int8", "head.norm") == ["anywhere export tiny --to tflite --precision int8 --keep-float head.norm"]
    assert stopped("int8", "head.norm", quantization=integers(["head.norm"])) == alone
    assert stopped("int8", "head.norm", "head.fc") == alone
    assert stopped("float32", "head.norm") == alone


def test_rows_that_warn_alike_are_one_line(made: Report) -> None:
    rows = [
        reports.row(made, backend=f"b{at}", warnings=[f"little headroom: sqnr_db {30 - at}.5 (at least 25 allowed)"])
        for at in range(5)
    ]
    other = reports.row(made, warnings=["worse than the baseline: latency 1.00 → 2.00 ms (1.5 times allowed)"])
    shown = lines(dataclasses.replace(made, verdict="pass", results=[*rows, other]))
    warned = [line for line in shown if "little headroom" in line]
    assert len(warned) == 1
    assert "the worst of 5 rows (onnx/float32 5)" in warned[0]
    assert any("worse than the baseline: latency 1.00 → 2.00 ms (1.5 times allowed)." in line for line in shown)


def test_what_a_pass_should_not_hide_is_said(made: Report) -> None:
    settings = made.settings | {"tolerance": {"float32": {"agreement": 0.9}}}
    shown = lines(dataclasses.replace(reports.everything(made), settings=settings))
    assert "run tiny: PyTorch itself decides for one class." in shown
    assert "tolerance of float32: agreement 0.9 by the configuration instead of 0.99, for 1 row." in shown
    assert any(line.startswith("2 ties among 64 golden inputs: ") for line in shown)
    assert "not run in chromium webgpu: chromium is not on this machine." in shown


def test_preparation_from_files_is_a_row_for_each_language_with_the_worst_of_its_artifacts(made: Report) -> None:
    files = [reports.prepared("python", 0.5, 60.0), reports.prepared("python", -0.25, 20.0), reports.prepared("node")]
    rows = [reports.row(made, backend=f"b{number}", from_file=one) for number, one in enumerate(files)]
    shown = lines(dataclasses.replace(made, results=rows))
    found = [line.split() for line in shown if line.startswith("prepared from files")]
    assert [(row[4], row[5], row[6], row[-1]) for row in found] == [
        ("python", "fail", "20.0", "-25%"),
        ("node", "pass", "60.0", "50%"),
    ]
    none = [dataclasses.replace(one, from_file=None) for one in made.results]
    assert not any("prepared from files" in line for line in lines(dataclasses.replace(made, results=none)))


@pytest.mark.parametrize(("layers", "at"), [(1, 0), (40, 12), (200, 0), (200, 199), (1000, 700)])
def test_the_picture_of_depth_fits_and_marks_the_culprit(layers: int, at: int) -> None:
    drawn = terminal.depth(reports.localisation(layers=layers, at=at))
    assert all(len(line) <= 100 for line in drawn)
    *bars, marked = drawn
    column = marked.index("▲")
    assert f"features.{at}" in marked
    heights = [sum(terminal.BARS.index(line[place]) for line in bars) for place in range(8, len(bars[0]))]
    if at:
        assert heights[column - 9] > 2 * heights[column - 8]  # where the bars fall
    assert heights[column - 8] == min(heights)


def test_a_localisation_without_layers_says_why(made: Report) -> None:
    one = dataclasses.replace(reports.localisation(), layers=[], culprit=None, problem="the graph is fused")
    assert "tflite/int8: the graph is fused." in lines(dataclasses.replace(made, localisations=[one]))


def test_what_xnnpack_takes_is_said_once_for_files_that_are_alike(made: Report) -> None:
    report = reports.everything(made)
    assert saying(report, "tflite/float32, tflite/float16").endswith(": all 65 operators run in XNNPACK.")
    assert (
        saying(report, "tflite/int8_dynamic").partition("; ")[0]
        == "tflite/int8_dynamic: 61 of 65 operators run in XNNPACK"
    )
    assert report.verdict == dataclasses.replace(report, lints=[]).verdict
    assert not any("XNNPACK" in line for line in lines(made))


def test_layers_of_16_bits_and_a_repair_that_is_none_are_told(made: Report) -> None:
    def told(quantization: Quantization) -> list[str]:
        row = reports.row(made, target="tflite", precision="int8", quantization=quantization, size_bytes=2_150_000)
        return [one.text for one in sentences.kept(dataclasses.replace(made, results=[row]))]

    assert told(integers(["a", "b", "c", "d"], ["e"])) == [
        "1 layers have 16 bits (e).",
        "4 layers stay in float32 (a, b, c and 1 more).",
    ]
    assert told(integers(["a"], repaired=True)) == ["1 layers stay in float32 (a), size 1.90 → 2.15 MB."]
    none = dataclasses.replace(integers([]), repair=reports.repair(ships=0))
    assert told(none) == ["No repair reaches the tolerance on calibration samples, so none is made."]
