"""One row of the page with all that is known of it."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from validate.report import page_decisions, pictures, sentences
from validate.report.html import Inside, facts, table, tag
from validate.report.records import Judgement, Output, Report, Result, Sample
from validate.runtimes.job import Latency

MARKS = {"pass": "✓", "tight": "!", "fail": "✗", "none": "–"}


def kind(result: Result) -> str:
    """The class of a row: pass, tight (a pass with a warning), fail, none (no result, and none needed)."""
    if result.blocking:
        return "fail"
    if result.status != "pass":
        return "none"
    return "tight" if result.warnings else "pass"


def detail(report: Report, result: Result) -> Element:
    """One row with all that is known of it; one that failed is open."""
    figures, name = sentences.figures(result), kind(result)
    room = f", {figures.headroom} left" if figures.headroom else ""
    numbers = f" {figures.sqnr} dB{room}" if figures.sqnr else ""
    summary = tag(
        "summary",
        tag("span", f"{MARKS[name]} {figures.status}", class_=f"badge {name}"),
        tag("strong", f" {result.name}"),
        tag("span", numbers, class_="quiet"),
    )
    notes = [*(f"Red flag: {one}" for one in result.flags), *result.warnings]
    return tag(
        "details",
        summary,
        tag("p", result.reason) if result.reason else None,
        tag("ul", *(tag("li", one) for one in notes)) if notes else None,
        *(_output(one) for one in result.outputs),
        _judged(result),
        _probed(result),
        page_decisions.confusion(report, result),
        _worst(report, result.worst),
        _facts(report, result),
        id=sentences.slug(result),
        open=result.blocking,
        class_="row",
    )


def _output(one: Output) -> Element:
    mean, relative = sentences.number(one.mean_absolute, ".2e"), sentences.number(one.max_relative, ".2e")
    greatest = f"{sentences.number(one.max_absolute, '.2e')} at {tuple(one.worst)}"
    text = (
        f"{one.name}: greatest difference {greatest}, mean {mean}, relative {relative}; cosine "
        f"{sentences.number(one.cosine, '.6f')}; noise floor {one.noise_floor:.2e}."
    )
    equal = None if one.max_absolute != 0 else " Equal to the last bit."
    missing = f" {one.not_finite} values are no numbers." if one.not_finite else None
    return tag("div", pictures.histogram(one), tag("p", text, equal, missing), class_="output")


def _judged(result: Result) -> Inside:
    rows = []
    probes = [one.judgement for one in result.probes]  # which have a table of their own
    for one in [one for one in sentences.judgements(result) if one not in probes]:
        link = tag("a", one.measure, href=f"#{tolerance_id(result.precision, one.measure)}")
        default = "" if one.by_default is None else f"{one.by_default:g}"
        mark = f"{MARKS['pass']} within" if one.within else f"{MARKS['fail']} beyond"
        rows.append((link, _measured(one), _allowed(one), default, sentences.percent(one.headroom), mark))
    head = ("measure", "measured", "allowed", "by default", "headroom", "")
    return table(f"Judgements of {result.name}", head, rows) if rows else None


def _probed(result: Result) -> Inside:
    rows = []
    for one in result.probes:
        mark = f"{MARKS['pass']} within" if one.judgement and one.judgement.within else f"{MARKS['fail']} beyond"
        limit = (
            (_allowed(one.judgement), sentences.percent(one.judgement.headroom), mark) if one.judgement else ("",) * 3
        )
        distances = sentences.number(one.sqnr_db, ".1f"), sentences.number(one.max_absolute, ".2e")
        name: Inside = one.name
        if one.judgement:
            name = tag("a", one.name, href=f"#{tolerance_id(result.precision, one.judgement.measure)}")
        rows.append((name, one.output, *distances, f"{one.noise_floor:.2e}", *limit))
    head = ("probe", "output", "SQNR, dB", "max |d|", "noise floor", "allowed", "headroom", "")
    return table(f"Probes of {result.name}", head, rows) if rows else None


def _measured(one: Judgement) -> str:
    return sentences.number(one.measured, ".4g")


def _allowed(one: Judgement) -> str:
    return f"{'at most' if one.upper else 'at least'} {one.allowed:.4g}"


def tolerance_id(precision: str, measure: str) -> str:
    """Where on the page its reason stands."""
    return f"tolerance-{precision}-{measure}"


def _worst(report: Report, samples: Sequence[Sample]) -> Inside:
    shown = set(page_decisions.chosen(report))
    rows = []
    for one in samples:
        name: Inside = tag("a", f"#{one.index}", href=f"#sample-{one.index}") if one.index in shown else f"#{one.index}"
        rows.append((name, one.label, one.golden, one.actual, sentences.number(one.difference, ".2e")))
    head = ("worst samples", "label", "PyTorch", "here", "difference")
    return table("Worst samples", head, rows) if rows else None


def _facts(report: Report, result: Result) -> Element:
    sha, log = result.artifact_sha256, result.log
    return facts(
        {
            "latency": _latency(result.latency_ms) if result.latency_ms else None,
            "samples": f"{result.samples} golden inputs" if result.samples else None,
            "ties": f"{result.agreement.ties}" if result.agreement else None,
            "runtime": result.runtime_version,
            "artifact": tag("code", sha) if sha else None,
            "log": tag("code", f"runs/{report.run}/{log}") if log else None,
            "again": tag("code", result.command),
        }
    )


def _latency(one: Latency) -> str:
    threads = f"{one.threads} thread{'s' if one.threads > 1 else ''}"
    return f"{one.median:.3f} ms median, {one.p90:.3f} ms p90 of {one.calls} calls, batch {one.batch}, {threads}"
