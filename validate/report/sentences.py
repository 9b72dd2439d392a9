"""A report in sentences and figures, for whatever shows them: terminal, page or summary.

    for said in failures(report): print(said.subject, said.text, said.steps)

The worst comes first everywhere, and what is the same for many rows is said once.
"""

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from export import target
from validate.localise.localise import readable
from validate.report.records import (
    FromFile,
    Further,
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
"""SQNR in dB that stands for equal arrays."""
BEYOND_WORDS = -9.995
"""Headroom below which no number is shown: ten times beyond what is allowed."""
HARMFUL = 3
"""Number of layers that a sentence names."""


@dataclass(frozen=True)
class Sentence:
    """A sentence about one row or many."""

    subject: str
    """What it is about: `tflite/int8 in litert xnnpack`."""
    text: str
    steps: tuple[tuple[str, str], ...] = ()
    """Commands to type, each after the word that introduces it: Next, then, or."""

    def __str__(self) -> str:
        steps = ", ".join(f"{word}: {command}" for word, command in self.steps)
        return f"{self.subject}: {self.text}{' ' + steps if steps else ''}"


@dataclass(frozen=True)
class Figures:
    """One row of a table, as text; an empty text: there is no such figure."""

    artifact: str
    where: str
    status: str
    sqnr: str = ""
    difference: str = ""
    agreement: str = ""
    metric: str = ""
    decided: str = ""
    """Samples that agreement and metric are of."""
    latency: str = ""
    size: str = ""
    headroom: str = ""


@dataclass(frozen=True)
class Prepared:
    """The worst figures of all artifacts whose inputs one language prepared from image files."""

    language: str
    rows: int
    samples: int
    input_steps: float | None
    """In steps of 1/255."""
    sqnr_db: float | None
    probe_db: float | None
    headroom: float | None
    within: bool

    @property
    def figures(self) -> Figures:
        """Return it as a row in the table of results."""
        return Figures(
            "prepared from files",
            f"in {self.language}",
            "pass" if self.within else "fail",
            number(self.sqnr_db, ".1f"),
            f"{number(self.input_steps, '.0f')}/255",
            headroom=percent(self.headroom),
        )


def heads(report: Report, sqnr: str) -> list[str]:
    """Return the heads of a table's numbers, in the order of `numbers`. sqnr: what the first is called."""
    decided = ["of"] if _further(report) else []
    return [sqnr, "max |d|", "agree", metric_name(report), *decided, "ms", "MB", "room"]


def numbers(report: Report, figures: Figures) -> list[str]:
    """Return a row's numbers; the samples that decisions are of only where further ones were taken."""
    decided = [figures.decided] if _further(report) else []
    first = [figures.sqnr, figures.difference, figures.agreement, figures.metric]
    return [*first, *decided, figures.latency, figures.size, figures.headroom]


def _further(report: Report) -> bool:
    return any(result.further and result.further.samples for result in report.results)


def ordered(results: Iterable[Result]) -> list[Result]:
    """Return results, the worst first: blocking ones, then by headroom; excused ones last."""
    order = {"blocking": 0, "tight": 1, "pass": 1, "excused": 2}
    return sorted(
        results, key=lambda result: (order[result.outcome], result.headroom is not None, result.headroom or 0.0)
    )


def figures(result: Result) -> Figures:
    """Return the figures of a result; of several outputs, those of the worst."""
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
        f"{result.decided}" if result.agreement or metric else "",
        f"{latency.median:.2f}" if latency else "",
        f"{result.size_bytes / 1e6:.2f}" if result.size_bytes is not None else "",
        percent(result.headroom),
    )


def judged_db(output: Output) -> float | None:
    """Return the SQNR that is judged: for integers, that of most samples."""
    return next(
        (judgement.measured for judgement in output.judgements if judgement.measure == "sqnr_db"), output.sqnr_db
    )


def number(value: float | None, form: str) -> str:
    """Return a number as text; None is NaN."""
    return "NaN" if value is None else format(value, form)


def percent(share: float | None) -> str:
    """Return a share as text: empty for None, and a dash far beyond what is allowed, where a number says no more."""
    return "" if share is None else "—" if share < BEYOND_WORDS else f"{share:.0%}"


def metric_name(report: Report) -> str:
    """Return the name of the report's metric: `accuracy`."""
    return next((result.metric.name for result in report.results if result.metric), "metric")


def verdict(report: Report) -> str:
    """Return the verdict in one sentence."""
    results = report.results
    failed = sum(result.blocking for result in results)
    if report.verdict == "fail":
        return f"fail: {failed} of {len(results)} did not pass ({_samples(results)})."
    missing = {
        "refused and accepted": [result for result in results if result.status == "refused"],
        "not run": [result for result in results if result.status == "not_run"],
    }
    absent = ", ".join(
        f"{len(rows)} {state}: {', '.join(dict.fromkeys(row.where for row in rows))}"
        for state, rows in missing.items()
        if rows
    )
    threads = max(result.latency_ms.threads for result in results if result.latency_ms)
    return (
        f"pass: {sum(result.status == 'pass' for result in results)} of {len(results)} within tolerance"
        f"{f' ({absent})' if absent else ''} on {_samples(results)}; latency of one image with up to {threads} threads."
    )


def _samples(results: Sequence[Result]) -> str:
    counts = sorted({result.samples for result in results if result.samples})
    if not counts:
        return "nothing was run"
    most = max((result.decided for result in results if result.further and result.further.samples), default=0)
    decided = f", decisions of integers on up to {most:,} held-out ones" if most else ""
    return f"{counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} golden inputs{decided}"


def slow(report: Report) -> list[Sentence]:
    """Return what there is to say of rows that took no further samples: how long those would have taken, and how they
    decide beside a runtime that took them.
    """
    return [
        Sentence(result.name, _slow(result, result.further))
        for result in ordered(report.results)
        if result.further and not result.further.samples and result.agreement
    ]


def _slow(result: Result, further: Further) -> str:
    text = (
        f"judged on {result.samples} golden inputs alone, for the {further.offered:,} further samples would take "
        f"{further.seconds:.0f} s (validate.decisions_s)"
    )
    if further.differ is None:
        return f"{text}."
    if further.differ:
        return f"{text}; {further.differ} of its decisions on those are not {further.fast}'s, which took them."
    return f"{text}; its decisions on those are {further.fast}'s, which took them."


def failures(report: Report) -> list[Sentence]:
    """Return why the verdict is no pass, and what to type: a sentence for each row, or for all with one reason."""
    by_reason: dict[str, list[Result]] = {}
    for result in ordered(report.results):
        if result.blocking:
            by_reason.setdefault(result.reason, []).append(result)
    return [_failure_of(report, rows) for rows in by_reason.values()]


def _failure_of(report: Report, rows: list[Result]) -> Sentence:
    """Return the first row's sentence, for all rows of one reason."""
    sentence = failure(report, rows[0])
    more = f" and {len(rows) - 1} more row{'s' if len(rows) > 2 else ''}" if len(rows) > 1 else ""
    return Sentence(f"{sentence.subject}{more}", sentence.text, sentence.steps)


def failure(report: Report, result: Result) -> Sentence:
    """Return the sentence for one row that did not pass."""
    return Sentence(result.name, _sentence(result.reason) + _log(report, result), steps(report, result))


def unproved(report: Report) -> list[Sentence]:
    """Return what has no result and need not have one: accepted refusals, and absent runtimes, by reason."""
    notes, absent = [], dict[str, list[Result]]()
    for result in ordered(report.results):
        if not result.blocking and result.status == "not_run":
            absent.setdefault(result.reason, []).append(result)
        elif not result.blocking and result.status != "pass":
            notes.append(
                Sentence(
                    result.name, f"{_sentence(result.reason)} Accepted by the configuration.{_log(report, result)}"
                )
            )
    for reason, rows in absent.items():
        notes.append(Sentence(f"not run in {', '.join(dict.fromkeys(row.where for row in rows))}", _sentence(reason)))
    return notes


def _log(report: Report, result: Result) -> str:
    return f" Log: runs/{report.run}/{result.log}" if result.log and result.status != "fail" else ""


def _sentence(text: str) -> str:
    """Return a text with its full stop."""
    return text if not text or text[-1] in ".!?" else f"{text}."


def steps(report: Report, result: Result) -> tuple[tuple[str, str], ...]:
    """Return what to type next about a row that did not pass: never what this very report was made with.

    For what was not run, its reason says so.
    """
    if not result.blocking or result.status == "not_run":
        return ()
    stopped = _keeping(report, result, result.stopped_in)
    if result.status == "refused":
        return _in_turn([_accepting(report, result), *stopped])
    if stopped:
        return _in_turn(stopped)
    if result.status == "error" or not _numbers_are_wrong(result):
        return _in_turn(_again(report, result))
    localisation = next((item for item in report.localisations if item.artifact == artifact(result)), None)
    if localisation is None and result.target in readable():
        find = f"anywhere validate {report.run} --localise{_narrowed(report)}{_decided(report)}"
        keep = [("then", command) for command in _keeping(report, result, ["LAYER"])]
        others = [*_repairing(report, result), *_replacing(report, result)]
        return (("Next", find), *keep, *(("or", command) for command in others))
    mends = [
        *_keeping(report, result, _most_harmful(localisation)),
        *_repairing(report, result),
        *_replacing(report, result),
    ]
    return _in_turn(mends or _again(report, result))


def _in_turn(commands: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return commands with the words before them: the first is next, the others are other ways."""
    return tuple(("or" if number else "Next", command) for number, command in enumerate(commands))


def _accepting(report: Report, result: Result) -> str:
    """Return the command that accepts a refusal, and those that were accepted before."""
    rows = [*report.settings.get("accept", []), result.name]
    return f"anywhere validate {report.run}" + "".join(f' --accept "{row}"' for row in rows) + _decided(report)


def _keeping(report: Report, result: Result, modules: Sequence[str]) -> list[str]:
    """Return the command that keeps a layer in float32 beside those that are kept.

    None where it is kept already, where its target cannot, and where it is not one layer.
    """
    layers = result.quantization.keep_float if result.quantization else []
    if artifact(result) not in _keep_float() or len(modules) != 1 or modules[0] in layers:
        return []
    kept = shlex.quote(",".join([*layers, *modules]))
    return [f"anywhere export {report.run} {_alone(result)} --keep-float {kept}"]


def _repairing(report: Report, result: Result) -> list[str]:
    """Return the command that repairs integers; none where that was done, or cannot be."""
    repaired = result.quantization is not None and result.quantization.repair is not None
    able = artifact(result) in _keep_float() and not repaired
    return [f"anywhere export {report.run} {_alone(result)} --auto"] if able else []


def _alone(result: Result) -> str:
    """Return the options that name a result's artifact to `anywhere export`."""
    return f"--to {result.target} --precision {result.precision}"


def _replacing(report: Report, result: Result) -> list[str]:
    """Return the command that makes the precision that does where this one does not; none where there is none."""
    known = target.find().get(result.target)
    other = known.instead.get(result.precision) if known else None
    return [f"anywhere export {report.run} --to {result.target} --precision {other}"] if other else []


def _again(report: Report, result: Result) -> list[str]:
    """Return the command that runs the row alone, or its script where it was just run alone."""
    if not report.settings.get("only") or len(report.results) > 1:
        return [result.command]
    command = script(report, result)
    return [command] if command else []


def _narrowed(report: Report) -> str:
    """Return the option for the rows that were asked for; empty: all."""
    return "".join(f' --only "{row}"' for row in report.settings.get("only", []))


def _decided(report: Report) -> str:
    """Return the option for the further samples that were asked for; empty: none."""
    count = report.settings.get("decisions")
    return f" --decisions {count}" if count else ""


def _most_harmful(localisation: Localisation | None) -> list[str]:
    """Return the culprit, or else the layer at which most noise comes in; none where no layers are known."""
    if localisation and localisation.culprit:
        return [localisation.culprit.module]
    return [layer.module for layer in ranked(localisation.layers)[:1]] if localisation else []


@cache
def _keep_float() -> frozenset[str]:
    """Return the artifacts of which single layers can stay in float32: `tflite/int8`."""
    return frozenset(f"{one.name}/{precision}" for one in target.find().values() for precision in one.keeps_float)


def artifact(result: Result) -> str:
    """Return the name of a result's artifact, `tflite/int8`."""
    return f"{result.target}/{result.precision}"


def slug(result: Result) -> str:
    """Return the name of a row's script, which is also its anchor on a page: `tflite-int8-litert-xnnpack`."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", f"{artifact(result)} {result.where}")


def reproducible(result: Result) -> bool:
    """True if there is something to run again: it failed, and not because its runtime is absent."""
    return result.blocking and (result.status != "not_run" or result.artifact_sha256 is None) and bool(result.log)


def script(report: Report, result: Result) -> str | None:
    """Return the command that runs a failed row again, alone; None: there is none."""
    return f"python runs/{report.run}/report/reproduce/{slug(result)}.py" if reproducible(result) else None


def _numbers_are_wrong(result: Result) -> bool:
    """True if outputs, decisions or flags are wrong: not the preparation, nor only worse than the baseline."""
    judgements = [judgement for output in result.outputs for judgement in output.judgements]
    judgements += [
        item.judgement for item in (result.agreement, result.metric, *result.probes) if item and item.judgement
    ]
    return bool(result.flags) or not judgements or not all(judgement.within for judgement in judgements)


def warnings(report: Report) -> list[Sentence]:
    """Return warnings of the whole report; then each kind once, with its worst row and how many rows it is about."""
    groups: dict[str, list[tuple[Result, str]]] = {}
    for result in ordered(report.results):
        for text in result.warnings:
            kind = re.match(r"\D*", text)
            groups.setdefault(kind[0] if kind else "", []).append((result, text))
    return [Sentence(f"run {report.run}", _sentence(text)) for text in report.warnings] + [
        Sentence(rows[0][0].name, _sentence(rows[0][1] + _of([row for row, _ in rows]))) for rows in groups.values()
    ]


def _of(rows: list[Result]) -> str:
    """Return how many rows a warning is about: `, the worst of 7 rows (tflite/int8 4, onnx/int8 3)`."""
    counts = Counter(artifact(result) for result in rows)
    if counts.total() < 2:
        return ""
    return (
        f", the worst of {counts.total()} rows ({', '.join(f'{name} {count}' for name, count in counts.most_common())})"
    )


def overrides(report: Report) -> list[Sentence]:
    """Return the tolerances that the configuration sets instead of the table's, which every report has to show."""
    groups: dict[tuple[str, str], list[Judgement]] = {}
    for result in report.results:
        for judgement in {item.measure: item for item in judgements(result)}.values():
            if judgement.by_default is not None:
                groups.setdefault((result.precision, judgement.measure), []).append(judgement)
    limits = report.settings.get("tolerance", {})
    return [
        Sentence(
            f"tolerance of {precision}",
            f"{measure} {limits.get(precision, {}).get(measure, rows[0].allowed):g} by the configuration instead of "
            f"{rows[0].by_default:g}, for {len(rows)} row{'s' if len(rows) > 1 else ''}.",
        )
        for (precision, measure), rows in groups.items()
    ]


def judgements(result: Result) -> list[Judgement]:
    """Return all judgements of a row, those of its outputs first."""
    rows = [judgement for output in result.outputs for judgement in output.judgements]
    rows += [item.judgement for item in (result.agreement, result.metric, *result.probes) if item and item.judgement]
    return rows + (result.from_file.judgements if result.from_file else [])


def probed(report: Report) -> list[tuple[Result, dict[str, str]]]:
    """Return rows with the figures of each probe by its name: SQNR and, for floats, the distance in noise floors."""
    return [
        (result, {probe.name: probe_figure(probe) for probe in result.probes})
        for result in ordered(report.results)
        if result.probes
    ]


def probe_figure(probe: Probe) -> str:
    """Return the figures of a probe: `124.3 dB, 1.7 floors`."""
    text = f"{number(probe.sqnr_db, '.1f')} dB"
    if probe.judgement is None or probe.max_absolute is None:
        return text
    return f"{text}, {probe.max_absolute / probe.noise_floor:.3g} floors"


def ties(report: Report) -> Sentence | None:
    """Return how many samples have a decision that says nothing; None: there are none."""
    tied = [result for result in report.results if result.agreement and result.agreement.ties]
    most = max(tied, key=lambda result: result.agreement.ties if result.agreement else 0, default=None)
    if not most or not most.agreement:
        return None
    count = most.agreement.ties
    inputs, whose = ("held-out", "PyTorch") if most.decided > most.samples else ("golden", "golden")
    return Sentence(
        f"{count} tie{'s' if count > 1 else ''} among {most.decided} {inputs} inputs",
        f"{whose} decides by less there than the noise that is allowed, so another decision is no disagreement.",
    )


def prepared(report: Report) -> list[Prepared]:
    """Return the figures of preparation from image files, by language."""
    languages: dict[str, list[FromFile]] = {}
    for result in report.results:
        if result.from_file:
            languages.setdefault(result.from_file.language, []).append(result.from_file)
    return [_worst(language, rows) for language, rows in languages.items()]


def _worst(language: str, rows: list[FromFile]) -> Prepared:
    judgements = [judgement for row in rows for judgement in row.judgements]
    return Prepared(
        language,
        len(rows),
        min(row.samples for row in rows),
        _greatest(row.input_steps for row in rows),
        _least(row.sqnr_db for row in rows),
        _least(row.probe_db for row in rows),
        _least(judgement.headroom for judgement in judgements),
        all(judgement.within for judgement in judgements),
    )


def _least(values: Iterable[float | None]) -> float | None:
    """Return the least value; None, which is NaN, is less than any."""
    numbers = list(values)
    return None if None in numbers else min((value for value in numbers if value is not None), default=None)


def _greatest(values: Iterable[float | None]) -> float | None:
    """Return the greatest value; None, which is NaN, is more than any."""
    numbers = list(values)
    return None if None in numbers else max((value for value in numbers if value is not None), default=None)


def culprit(localisation: Localisation) -> Sentence:
    """Return where an artifact's numbers go wrong and, for integers, which layers do most harm."""
    faulty = localisation.culprit
    basis = f"{len(localisation.layers)} layers, {localisation.samples} samples in {localisation.runtime}"
    if localisation.problem:
        return Sentence(localisation.artifact, _sentence(localisation.problem))
    worst = [layer for layer in ranked(localisation.layers)[:HARMFUL] if layer.steps is not None]
    most = "; ".join(f"{' + '.join(layer.modules)} {number(layer.sqnr_db, '.1f')} dB" for layer in worst)
    harm = f" Most noise comes in at {most}." if most else ""
    if not faulty:
        return Sentence(localisation.artifact, f"no layer's SQNR jumps ({basis}).{harm}")
    before = (
        f"{number(faulty.before_db, '.1f')} dB before it" if faulty.before_db != EQUAL_DB else "it is the first layer"
    )
    return Sentence(
        localisation.artifact,
        f"goes wrong at {' + '.join(faulty.modules)} ({faulty.operator}, tensor {faulty.tensor}): SQNR "
        f"{number(faulty.after_db, '.1f')} dB, {before} ({basis}).{harm}",
    )


def ranked(layers: Iterable[Layer]) -> list[Layer]:
    """Return layers by the noise that comes in there, the most first; a layer that is no number is before all."""
    return sorted(layers, key=lambda layer: -layer.damage if layer.damage is not None else -math.inf)


def quantized(report: Report) -> list[tuple[str, Quantization]]:
    """Return how the integer ranges of each artifact were set, by artifact."""
    return list({artifact(result): result.quantization for result in report.results if result.quantization}.items())


def kept(report: Report) -> list[Sentence]:
    """Return the layers that have more than 8 bits, and what a repair cost in size."""
    notes = []
    sizes = {artifact(result): result.size_bytes for result in report.results}
    for name, integers in quantized(report):
        size, without = sizes[name], size_without(integers)
        cost = f", size {without / 1e6:.2f} → {size / 1e6:.2f} MB" if without and size else ""
        for layers, verb in ((integers.keep_16, "have 16 bits"), (integers.keep_float, "stay in float32")):
            if layers:
                more = f" and {len(layers) - HARMFUL} more" if len(layers) > HARMFUL else ""
                few = ", ".join(layers[:HARMFUL])
                notes.append(Sentence(name, f"{len(layers)} layers {verb} ({few}{more}){cost}."))
        if integers.repair and not integers.repair.meets:
            notes.append(Sentence(name, "No repair reaches the tolerance on calibration samples, so none is made."))
    return notes


def size_without(integers: Quantization) -> int | None:
    """Return the bytes of the artifact without its repair; None: it has none."""
    repair = integers.repair
    return repair.curve[0].size_bytes if repair and repair.ships and repair.curve else None


def delegated(report: Report) -> list[Sentence]:
    """Return what XNNPACK takes of the TFLite files: one sentence for all files of which it is the same."""
    groups: dict[str, list[str]] = {}
    for lint in report.lints:
        groups.setdefault(lint.sentences[0], []).append(lint.artifact)
    return [Sentence(", ".join(names), sentence) for sentence, names in groups.items()]
