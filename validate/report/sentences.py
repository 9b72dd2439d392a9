"""A report in words and figures, whatever shows them: screen, page or summary.

    for said in failures(report): print(said.subject, said.text, said.steps)

The worst comes first everywhere, and what is the same for many rows is said once.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from validate.report.records import (
    FromFile,
    Judgement,
    Layer,
    Localisation,
    Output,
    Probe,
    Quantization,
    Report,
    Result,
)

EQUAL_DB = 300
"""What stands for equal arrays."""
BEYOND_WORDS = -9.995
"""Headroom below which it is not told: ten times beyond what is allowed."""
HARMFUL = 3
"""Layers of integers that a sentence names."""


@dataclass(frozen=True)
class Said:
    """A sentence about one row or many."""

    subject: str
    """`tflite/int8 in litert xnnpack`."""
    text: str
    steps: tuple[tuple[str, str], ...] = ()
    """What to type, each with the word before it: Next, then, or."""

    def __str__(self) -> str:
        steps = ", ".join(f"{word}: {command}" for word, command in self.steps)
        return f"{self.subject}: {self.text}{' ' + steps if steps else ''}"


@dataclass(frozen=True)
class Figures:
    """One row of a table, as text; empty: there is none."""

    artifact: str
    where: str
    status: str
    sqnr: str = ""
    difference: str = ""
    agreement: str = ""
    metric: str = ""
    latency: str = ""
    size: str = ""
    headroom: str = ""


@dataclass(frozen=True)
class Prepared:
    """All artifacts whose inputs one language prepared from image files: the worst of each figure."""

    language: str
    rows: int
    samples: int
    input_steps: float | None
    """Of 1/255."""
    sqnr_db: float | None
    probe_db: float | None
    headroom: float | None
    within: bool

    @property
    def figures(self) -> Figures:
        """Beside those of the results."""
        return Figures(
            "prepared from files",
            f"in {self.language}",
            "pass" if self.within else "fail",
            number(self.sqnr_db, ".1f"),
            f"{number(self.input_steps, '.0f')}/255",
            headroom=percent(self.headroom),
        )


def ordered(results: Iterable[Result]) -> list[Result]:
    """Worst first: what keeps the verdict from being a pass, then by headroom; what is excused, last."""
    order = {"blocking": 0, "tight": 1, "pass": 1, "excused": 2}
    return sorted(results, key=lambda one: (order[one.outcome], one.headroom is not None, one.headroom or 0.0))


def figures(result: Result) -> Figures:
    """Of a model with many outputs, those of the worst."""
    worst = min(result.outputs, key=lambda output: -1e9 if output.sqnr_db is None else output.sqnr_db, default=None)
    metric, latency = result.metric, result.latency_ms
    return Figures(
        f"{result.target}/{result.precision}",
        result.where,
        result.status.replace("_", " "),
        number(judged_db(worst), ".1f") if worst else "",
        number(worst.max_absolute, ".1e") if worst else "",
        f"{result.agreement.share:.4f}" if result.agreement else "",
        f"{metric.actual:.4f}" if metric else "",
        f"{latency.median:.2f}" if latency else "",
        f"{result.size_bytes / 1e6:.2f}" if result.size_bytes is not None else "",
        percent(result.headroom),
    )


def judged_db(output: Output) -> float | None:
    """Return the SQNR that is judged: of integers that of most samples."""
    return next((one.measured for one in output.judgements if one.measure == "sqnr_db"), output.sqnr_db)


def number(value: float | None, form: str) -> str:
    """None is NaN."""
    return "NaN" if value is None else format(value, form)


def percent(share: float | None) -> str:
    """None is nothing; far beyond what is allowed, a number says no more."""
    return "" if share is None else "—" if share < BEYOND_WORDS else f"{share:.0%}"


def metric_name(report: Report) -> str:
    """`accuracy`."""
    return next((result.metric.name for result in report.results if result.metric), "metric")


def verdict(report: Report) -> str:
    """One sentence."""
    results = report.results
    failed = sum(result.blocking for result in results)
    if report.verdict == "fail":
        return f"fail: {failed} of {len(results)} did not pass ({_samples(results)})."
    missing = {
        "refused and accepted": [result for result in results if result.status == "refused"],
        "not run": [result for result in results if result.status == "not_run"],
    }
    others = ", ".join(
        f"{len(rows)} {what}: {', '.join(dict.fromkeys(row.where for row in rows))}"
        for what, rows in missing.items()
        if rows
    )
    threads = max(result.latency_ms.threads for result in results if result.latency_ms)
    return (
        f"pass: {sum(result.status == 'pass' for result in results)} of {len(results)} within tolerance"
        f"{f' ({others})' if others else ''} on {_samples(results)}; latency of one image with up to {threads} threads."
    )


def _samples(results: Iterable[Result]) -> str:
    counts = sorted({result.samples for result in results if result.samples})
    if not counts:
        return "nothing was run"
    return f"{counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} golden inputs"


def failures(report: Report) -> list[Said]:
    """Why the verdict is no pass, and what to type: a sentence for each row, or for all that have the same reason."""
    alike: dict[str, list[Result]] = {}
    for one in ordered(report.results):
        if one.blocking:
            alike.setdefault(one.reason, []).append(one)
    return [_failure_of(report, rows) for rows in alike.values()]


def _failure_of(report: Report, rows: list[Result]) -> Said:
    """Of rows with one reason, the first one's sentence."""
    said = failure(report, rows[0])
    others = f" and {len(rows) - 1} more row{'s' if len(rows) > 2 else ''}" if len(rows) > 1 else ""
    return Said(f"{said.subject}{others}", said.text, said.steps)


def failure(report: Report, result: Result) -> Said:
    """Of one row that did not pass."""
    return Said(result.name, _sentence(result.reason) + _log(report, result), steps(report, result))


def unproved(report: Report) -> list[Said]:
    """What has no result and need not: accepted refusals, and what was not run, a sentence for each reason."""
    found, absent = [], dict[str, list[Result]]()
    for one in ordered(report.results):
        if not one.blocking and one.status == "not_run":
            absent.setdefault(one.reason, []).append(one)
        elif not one.blocking and one.status != "pass":
            found.append(Said(one.name, f"{_sentence(one.reason)} Accepted by the configuration.{_log(report, one)}"))
    for reason, rows in absent.items():
        found.append(Said(f"not run in {', '.join(dict.fromkeys(row.where for row in rows))}", _sentence(reason)))
    return found


def _log(report: Report, result: Result) -> str:
    return f" Log: runs/{report.run}/{result.log}" if result.log and result.status != "fail" else ""


def _sentence(text: str) -> str:
    """With its full stop."""
    return text if not text or text[-1] in ".!?" else f"{text}."


def steps(report: Report, result: Result) -> tuple[tuple[str, str], ...]:
    """What to type next about a row that did not pass. What was not run says so in its reason."""
    run = report.run
    if not result.blocking or result.status == "not_run":
        return ()
    if result.status == "refused":
        return (("Next", f'anywhere validate {run} --accept "{result.name}"'),)
    if result.status == "error" or not _numbers_are_wrong(result):
        return (("Next", result.command),)
    mine = (one.culprit for one in report.localisations if one.artifact == artifact(result))
    known = next((one for one in mine if one), None)
    integer = "int8" in result.precision
    if known:
        keep = f"anywhere export {run} --keep-float {known.module}"
        return (("Next", keep), ("or", f"anywhere export {run} --auto")) if integer else (("Next", result.command),)
    find = ("Next", f"anywhere validate {run} --localise")
    keep = f"anywhere export {run} --keep-float LAYER"
    return (find, ("then", keep), ("or", f"anywhere export {run} --auto")) if integer else (find,)


def artifact(result: Result) -> str:
    """`tflite/int8`."""
    return f"{result.target}/{result.precision}"


def slug(result: Result) -> str:
    """Names its script and its place on a page: `tflite-int8-litert-xnnpack`."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", f"{artifact(result)} {result.where}")


def reproducible(result: Result) -> bool:
    """Whether there is something to do again: it failed, and not for want of a runtime."""
    return result.blocking and (result.status != "not_run" or result.artifact_sha256 is None) and bool(result.log)


def script(report: Report, result: Result) -> str | None:
    """Does a failed row again, alone."""
    return f"python runs/{report.run}/report/reproduce/{slug(result)}.py" if reproducible(result) else None


def _numbers_are_wrong(result: Result) -> bool:
    """Outputs, decisions or flags: not the preparation, nor only worse than the baseline."""
    judgements = [one for output in result.outputs for one in output.judgements]
    judgements += [one.judgement for one in (result.agreement, result.metric, *result.probes) if one and one.judgement]
    return bool(result.flags) or not judgements or not all(one.within for one in judgements)


def warnings(report: Report) -> list[Said]:
    """Of the whole; then each kind once, with its worst row and how many others it is about."""
    groups: dict[str, list[tuple[Result, str]]] = {}
    for result in ordered(report.results):
        for text in result.warnings:
            kind = re.match(r"\D*", text)
            groups.setdefault(kind[0] if kind else "", []).append((result, text))
    return [Said(f"run {report.run}", _sentence(text)) for text in report.warnings] + [
        Said(rows[0][0].name, _sentence(rows[0][1] + _of([row for row, _ in rows]))) for rows in groups.values()
    ]


def _of(rows: list[Result]) -> str:
    """`, the worst of 7 rows (tflite/int8 4, onnx/int8 3)`."""
    counts = Counter(artifact(one) for one in rows)
    if counts.total() < 2:
        return ""
    return f", the worst of {counts.total()} rows ({', '.join(f'{name} {n}' for name, n in counts.most_common())})"


def overrides(report: Report) -> list[Said]:
    """Tolerances that the configuration sets instead of the table's, which every report has to show."""
    found: dict[tuple[str, str], list[Judgement]] = {}
    for result in report.results:
        for one in {one.measure: one for one in judgements(result)}.values():
            if one.by_default is not None:
                found.setdefault((result.precision, one.measure), []).append(one)
    wanted = report.settings.get("tolerance", {})
    return [
        Said(
            f"tolerance of {precision}",
            f"{measure} {wanted.get(precision, {}).get(measure, rows[0].allowed):g} by the configuration instead of "
            f"{rows[0].by_default:g}, for {len(rows)} row{'s' if len(rows) > 1 else ''}.",
        )
        for (precision, measure), rows in found.items()
    ]


def judgements(result: Result) -> list[Judgement]:
    """All of a row, those of its outputs first."""
    found = [one for output in result.outputs for one in output.judgements]
    found += [one.judgement for one in (result.agreement, result.metric, *result.probes) if one and one.judgement]
    return found + (result.from_file.judgements if result.from_file else [])


def probed(report: Report) -> list[tuple[Result, dict[str, str]]]:
    """Rows with what each probe left, as text by its name: SQNR, and of floats the noise floors it is off."""
    return [
        (one, {probe.name: probe_figure(probe) for probe in one.probes})
        for one in ordered(report.results)
        if one.probes
    ]


def probe_figure(probe: Probe) -> str:
    """`124.3 dB, 1.7 floors`."""
    text = f"{number(probe.sqnr_db, '.1f')} dB"
    if probe.judgement is None or probe.max_absolute is None:
        return text
    return f"{text}, {probe.max_absolute / probe.noise_floor:.3g} floors"


def ties(report: Report) -> Said | None:
    """Samples whose decision says nothing; None: there are none."""
    tied = [one for one in report.results if one.agreement and one.agreement.ties]
    most = max(tied, key=lambda one: one.agreement.ties if one.agreement else 0, default=None)
    if not most or not most.agreement:
        return None
    count = most.agreement.ties
    return Said(
        f"{count} tie{'s' if count > 1 else ''} among {most.samples} golden inputs",
        "golden decides by less than its own noise floor there, so another decision is no disagreement.",
    )


def prepared(report: Report) -> list[Prepared]:
    """Preparation from image files, by language."""
    languages: dict[str, list[FromFile]] = {}
    for result in report.results:
        if result.from_file:
            languages.setdefault(result.from_file.language, []).append(result.from_file)
    return [_worst(language, rows) for language, rows in languages.items()]


def _worst(language: str, rows: list[FromFile]) -> Prepared:
    judged = [one for row in rows for one in row.judgements]
    return Prepared(
        language,
        len(rows),
        min(row.samples for row in rows),
        _greatest(row.input_steps for row in rows),
        _least(row.sqnr_db for row in rows),
        _least(row.probe_db for row in rows),
        _least(one.headroom for one in judged),
        all(one.within for one in judged),
    )


def _least(values: Iterable[float | None]) -> float | None:
    """None, that is NaN, is less than all."""
    found = list(values)
    return None if None in found else min((one for one in found if one is not None), default=None)


def _greatest(values: Iterable[float | None]) -> float | None:
    """None, that is NaN, is more than all."""
    found = list(values)
    return None if None in found else max((one for one in found if one is not None), default=None)


def culprit(localisation: Localisation) -> Said:
    """Where an artifact's numbers go wrong, and of integers which layers do most harm."""
    found = localisation.culprit
    by = f"{len(localisation.layers)} layers, {localisation.samples} samples in {localisation.runtime}"
    if localisation.problem:
        return Said(localisation.artifact, _sentence(localisation.problem))
    worst = [one for one in ranked(localisation.layers)[:HARMFUL] if one.steps is not None]
    most = "; ".join(f"{' + '.join(one.modules)} {number(one.sqnr_db, '.1f')} dB" for one in worst)
    harm = f" Most noise comes in at {most}." if most else ""
    if not found:
        return Said(localisation.artifact, f"no layer's SQNR jumps ({by}).{harm}")
    before = (
        f"{number(found.before_db, '.1f')} dB before it" if found.before_db != EQUAL_DB else "it is the first layer"
    )
    return Said(
        localisation.artifact,
        f"goes wrong at {' + '.join(found.modules)} ({found.operator}, tensor {found.tensor}): SQNR "
        f"{number(found.after_db, '.1f')} dB, {before} ({by}).{harm}",
    )


def ranked(layers: Iterable[Layer]) -> list[Layer]:
    """By the noise that comes in there, the most first; what is no number before all."""
    return sorted(layers, key=lambda one: -one.damage if one.damage is not None else -math.inf)


def quantized(report: Report) -> list[tuple[str, Quantization]]:
    """How the integers of each artifact came about, by artifact."""
    return list({artifact(one): one.quantization for one in report.results if one.quantization}.items())


def kept(report: Report) -> list[Said]:
    """Layers that stay in float32, and what they cost in size."""
    found = []
    sizes = {artifact(one): one.size_bytes for one in report.results}
    for name, one in quantized(report):
        size, count = sizes[name], len(one.keep_float)
        cost = f", size {one.size_without / 1e6:.2f} → {size / 1e6:.2f} MB" if one.size_without and size else ""
        if count:
            more = f" and {count - HARMFUL} more" if count > HARMFUL else ""
            layers = ", ".join(one.keep_float[:HARMFUL])
            found.append(Said(name, f"{count} layers stay in float32 ({layers}{more}){cost}."))
    return found


def delegated(report: Report) -> list[Said]:
    """What XNNPACK takes of the TFLite files: a sentence for all of which it is the same."""
    groups: dict[str, list[str]] = {}
    for lint in report.lints:
        groups.setdefault(lint.sentences[0], []).append(lint.artifact)
    return [Said(", ".join(names), sentence) for sentence, names in groups.items()]
