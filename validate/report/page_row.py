"""One row of the page with all that is known of it."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from validate.report import page_decisions, pictures, sentences
from validate.report.drawn import BYTES, EACH, Drawn
from validate.report.html import Inside, facts, table, tag, url
from validate.report.records import Further, Judgement, Output, Report, Result, Sample
from validate.runtimes.job import Latency

MARKS = {"pass": "✓", "tight": "!", "fail": "✗", "none": "–"}


def kind(result: Result) -> str:
    """Return a row's CSS class: pass, tight (passed with a warning), fail, none (no result, and none needed)."""
    if result.blocking:
        return "fail"
    if result.status != "pass":
        return "none"
    return "tight" if result.warnings else "pass"


def detail(report: Report, result: Result, drawn: Sequence[Drawn] = ()) -> Element:
    """Return one row with all its numbers; it is open on the page if the row failed. drawn: its worst samples."""
    figures, name = sentences.figures(result), kind(result)
    room = f", {figures.headroom} left" if figures.headroom else ""
    numbers = f" {figures.sqnr} dB{room}" if figures.sqnr else ""
    summary = tag(
        "summary",
        tag("span", f"{MARKS[name]} {figures.status}", class_=f"badge {name}"),
        tag("strong", f" {result.name}"),
        tag("span", numbers, class_="quiet"),
    )
    notes = [*(f"Red flag: {flag}" for flag in result.flags), *result.warnings]
    return tag(
        "details",
        summary,
        tag("p", result.reason) if result.reason else None,
        tag("ul", *(tag("li", note) for note in notes)) if notes else None,
        *(_output(output) for output in result.outputs),
        _judged(result),
        _probed(result),
        page_decisions.confusion(report, result),
        _worst(report, result.worst),
        _pairs(result, drawn),
        _facts(report, result),
        id=sentences.slug(result),
        open=result.blocking,
        class_="row",
    )


def _output(output: Output) -> Element:
    mean, relative = sentences.number(output.mean_absolute, ".2e"), sentences.number(output.max_relative, ".2e")
    greatest = f"{sentences.number(output.max_absolute, '.2e')} at {tuple(output.worst)}"
    text = (
        f"{output.name}: greatest difference {greatest}, mean {mean}, relative {relative}; cosine "
        f"{sentences.number(output.cosine, '.6f')}; noise floor {output.noise_floor:.2e}."
    )
    equal = None if output.max_absolute != 0 else " Equal to the last bit."
    missing = f" {output.not_finite} values are no numbers." if output.not_finite else None
    return tag("div", pictures.histogram(output), tag("p", text, equal, missing), class_="output")


def _judged(result: Result) -> Inside:
    rows = []
    probes = [probe.judgement for probe in result.probes]  # which have a table of their own
    for judgement in [judgement for judgement in sentences.judgements(result) if judgement not in probes]:
        link = tag("a", judgement.measure, href=f"#{tolerance_id(result.precision, judgement.measure)}")
        default = "" if judgement.by_default is None else f"{judgement.by_default:g}"
        mark = f"{MARKS['pass']} within" if judgement.within else f"{MARKS['fail']} beyond"
        room = sentences.percent(judgement.headroom)
        rows.append((link, _measured(judgement), _allowed(judgement), default, room, mark))
    head = ("measure", "measured", "allowed", "by default", "headroom", "")
    return table(f"Judgements of {result.name}", head, rows) if rows else None


def _probed(result: Result) -> Inside:
    rows = []
    for probe in result.probes:
        mark = f"{MARKS['pass']} within" if probe.judgement and probe.judgement.within else f"{MARKS['fail']} beyond"
        limit = (
            (_allowed(probe.judgement), sentences.percent(probe.judgement.headroom), mark)
            if probe.judgement
            else ("",) * 3
        )
        distances = sentences.number(probe.sqnr_db, ".1f"), sentences.number(probe.max_absolute, ".2e")
        name: Inside = probe.name
        if probe.judgement:
            name = tag("a", probe.name, href=f"#{tolerance_id(result.precision, probe.judgement.measure)}")
        rows.append((name, probe.output, *distances, f"{probe.noise_floor:.2e}", *limit))
    head = ("probe", "output", "SQNR, dB", "max |d|", "noise floor", "allowed", "headroom", "")
    return table(f"Probes of {result.name}", head, rows) if rows else None


def _measured(judgement: Judgement) -> str:
    return sentences.number(judgement.measured, ".4g")


def _allowed(judgement: Judgement) -> str:
    return f"{'at most' if judgement.upper else 'at least'} {judgement.allowed:.4g}"


def tolerance_id(precision: str, measure: str) -> str:
    """Return the anchor of the tolerance's reason on the page."""
    return f"tolerance-{precision}-{measure}"


def _worst(report: Report, samples: Sequence[Sample]) -> Inside:
    shown = set(page_decisions.chosen(report))
    rows = []
    for sample in samples:
        name: Inside = (
            tag("a", f"#{sample.index}", href=f"#sample-{sample.index}")
            if sample.index in shown
            else f"#{sample.index}"
        )
        rows.append((name, sample.label, sample.golden, sample.actual, sentences.number(sample.difference, ".2e")))
    head = ("worst samples", "label", "PyTorch", "here", "difference")
    return table("Worst samples", head, rows) if rows else None


def _pairs(result: Result, drawn: Sequence[Drawn]) -> Inside:
    """Return the worst samples as pictures, PyTorch and the artifact side by side; folded in a good row."""
    if not drawn:
        return None
    note = (
        f"PyTorch on the left, this row on the right: the samples that lie farthest apart, at most {EACH} of a row and "
        f"{BYTES / 1e6:.0f} MB of a page."
    )
    return tag(
        "details",
        tag("summary", "Worst samples, drawn"),
        tag("p", note, class_="quiet"),
        tag("div", *(_pair(each) for each in drawn), class_="pairs"),
        open=result.blocking,
    )


def _pair(drawn: Drawn) -> Element:
    sample = drawn.sample
    sides = [
        tag("img", src=url(file, "jpeg"), alt=f"sample {sample.index}, {whose}: {words}")
        for whose, file, words in zip(("PyTorch", "here"), (drawn.golden, drawn.actual), drawn.words, strict=True)
    ]
    alike = "decided alike" if sample.agreement == 1 else f"{sample.agreement:.1%} decided alike"
    text = f" {alike}, greatest difference {sentences.number(sample.difference, '.2e')}"
    changed = None if sample.agreement == 1 else "changed"
    return tag(
        "figure", *sides, tag("figcaption", tag("strong", f"#{sample.index}"), tag("span", text, class_=changed))
    )


def _facts(report: Report, result: Result) -> Element:
    sha, log = result.artifact_sha256, result.log
    return facts(
        {
            "latency": _latency(result.latency_ms) if result.latency_ms else None,
            "samples": f"{result.samples} golden inputs" if result.samples else None,
            "decisions": _decided(result.further) if result.further else None,
            "ties": f"{result.agreement.ties}" if result.agreement else None,
            "runtime": result.runtime_version,
            "artifact": tag("code", sha) if sha else None,
            "log": tag("code", f"runs/{report.run}/{log}") if log else None,
            "again": tag("code", result.command),
        }
    )


def _decided(further: Further) -> str:
    if further.samples:
        return f"of golden and {further.samples:,} further samples, which took {further.seconds:.1f} s"
    return f"of golden alone: {further.offered:,} further samples would take {further.seconds:.0f} s"


def _latency(latency: Latency) -> str:
    threads = f"{latency.threads} thread{'s' if latency.threads > 1 else ''}"
    times = f"{latency.median:.3f} ms median, {latency.p90:.3f} ms p90"
    return f"{times} of {latency.calls} calls, batch {latency.batch}, {threads}"
