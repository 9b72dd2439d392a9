"""report.html: one file to open before a release; without a network, without a script, in any light and on paper.

    Path("report.html").write_text(render(report, {10: png}))

From the verdict down to each row. What a label, a reason or a name says is shown as text, whatever is in it; and a
Content-Security-Policy forbids everything but the file's own style and images.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from validate import pictures, wording
from validate.markup import Inside, html, tag
from validate.report import Decided, FromFile, Judgement, Latency, Localisation, Output, Report, Result, Sample

STYLE = Path(__file__).with_name("page.css")
CLASSES = 20
"""Of which the whole confusion is shown; of more, the changes alone."""
PAIRS = 15
"""Changes of decision that are listed."""
SAMPLES = 24
"""Golden inputs that are shown as images: the rest are named by their index."""
MARKS = {"pass": "✓", "tight": "!", "fail": "✗", "none": "–"}


def render(report: Report, images: Mapping[int, bytes]) -> str:
    """The page. images: golden inputs as PNG, by their index."""
    style = STYLE.read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{report.verdict}: {report.run}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
    )
    sections = [one for one in _sections(report, images) if one.content]
    body = tag("body", _header(report), _contents(sections), tag("main", *(one.element for one in sections)))
    return "<!doctype html>\n" + html(tag("html", head, body, lang="en")) + "\n"


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; left out where it has nothing to say."""

    id: str
    title: str
    content: Sequence[Inside]

    @property
    def element(self) -> Element:
        """With its heading."""
        heading = tag("h2", self.title, id=f"{self.id}-title")
        return tag("section", heading, *self.content, id=self.id, aria_labelledby=f"{self.id}-title")


def _sections(report: Report, images: Mapping[int, bytes]) -> list[Section]:
    return [
        Section("failures", "What failed, and what to type next", _failures(report)),
        Section("notes", "What else to know", _notes(report)),
        Section("matrix", "Every target in every runtime", _matrix(report)),
        Section("depth", "Where the numbers go wrong", [one for each in report.localisations for one in _depth(each)]),
        Section("costs", "Accuracy, size and latency", _costs(report)),
        Section("rows", "All rows, worst first", _rows(report)),
        Section("samples", "Worst samples", _samples(report, images)),
        Section("decisions", "Decisions that changed", _changes(report)),
        Section("prepared", "Preparation from image files", _prepared(report)),
        Section("integers", "How the integers came about", _integers(report)),
        Section("details", "Each row", [_detail(report, one) for one in wording.ordered(report.results)]),
        Section("tolerances", "Tolerances, their reasons and sources", _tolerances(report)),
        Section("versions", "Versions, hashes, settings", _versions(report)),
    ]


def _header(report: Report) -> Element:
    passed = report.verdict == "pass"
    sentence = wording.verdict(report).partition(": ")[2]
    return tag(
        "header",
        tag("p", f"{MARKS['pass' if passed else 'fail']} {report.verdict}", class_="verdict"),
        tag("h1", report.run),
        tag("p", sentence[:1].upper() + sentence[1:]),
        tag(
            "p",
            f"{report.task}, {report.model.name}, {len(report.model.labels)} classes · {report.created} · checkpoint ",
            tag("code", report.checkpoint_sha256[:12]),
            class_="quiet",
        ),
        class_=report.verdict,
    )


def _contents(sections: Iterable[Section]) -> Element:
    links = [tag("li", tag("a", one.id.capitalize(), href=f"#{one.id}")) for one in sections]
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _failures(report: Report) -> list[Inside]:
    rows = [one for one in wording.ordered(report.results) if not one.settled]
    return [tag("ul", *(_said(report, wording.failure(report, one), one) for one in rows))] if rows else []


def _said(report: Report, one: wording.Said, row: Result | None = None) -> Element:
    """A sentence, what to type, and the script that reproduces it."""
    subject: Inside = tag("a", one.subject, href=f"#{wording.slug(row)}") if row else one.subject
    steps = [tag("li", f"{word}: ", tag("code", command)) for word, command in one.steps]
    script = row and wording.script(report, row)
    if row and script:
        link = tag("a", tag("code", script), href=f"reproduce/{wording.slug(row)}.py")
        steps.append(tag("li", "This alone: ", link))
    return tag("li", tag("strong", subject), f": {one.text}", tag("ul", *steps) if steps else None)


def _notes(report: Report) -> list[Inside]:
    tie = wording.ties(report)
    said = [*wording.warnings(report), *wording.overrides(report), *([tie] if tie else []), *wording.unproved(report)]
    rows = {one.name: one for one in report.results}
    found = [_said(report, one, rows.get(one.subject)) for one in said]
    if tie is None:
        found.append(tag("li", "No golden input is a tie: PyTorch decides each by more than its noise floor."))
    if report.baseline:
        one = report.baseline
        text = f"{one.path}, of {one.created}, checkpoint {one.checkpoint_sha256[:12]}."
        found.append(tag("li", tag("strong", "compared with"), f": {text}"))
    return [tag("ul", *found)]


def kind(result: Result) -> str:
    """The class of a row: pass, tight (a pass with a warning), fail, none (no result, and none needed)."""
    if not result.settled:
        return "fail"
    if result.status != "pass":
        return "none"
    return "tight" if result.warnings else "pass"


def _matrix(report: Report) -> list[Inside]:
    """Runtimes down, in groups by target; precisions across, for each is judged alike in all runtimes."""
    targets, precisions = pictures.kinds(report)
    groups = [_group(report, target, precisions) for target in targets]
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in ("runtime", *precisions))))
    table = tag("table", head, *groups, class_="matrix")
    legend = [
        tag("span", f"{MARKS['pass']} within tolerance", class_="pass"),
        tag("span", f"{MARKS['tight']} within, with a warning", class_="tight"),
        tag("span", f"{MARKS['fail']} failed or no result", class_="fail"),
        tag("span", f"{MARKS['none']} not run or refused, and accepted", class_="none"),
    ]
    note = tag("p", "SQNR against PyTorch in dB, and how much of the tightest tolerance is left.", class_="quiet")
    return [note, _scrolling("Matrix", table), tag("p", *legend, class_="legend")]


def _group(report: Report, target: str, precisions: Sequence[str]) -> Element:
    """A target's runtimes."""
    results = [one for one in report.results if one.target == target]
    cells = {(one.where, one.precision): one for one in results}
    title = tag("tr", tag("th", target, scope="rowgroup", colspan=len(precisions) + 1), class_="group")
    rows = [
        tag("tr", tag("th", where, scope="row"), *(_cell(cells.get((where, precision))) for precision in precisions))
        for where in dict.fromkeys(one.where for one in results)
    ]
    return tag("tbody", title, *rows)


def _cell(result: Result | None) -> Element:
    if result is None:
        return tag("td")
    figures, name = wording.figures(result), kind(result)
    numbers: list[Inside] = [f"{MARKS[name]} {figures.sqnr or figures.status}"]
    if figures.headroom:
        numbers += [tag("small", f"{figures.headroom} left")]
    return tag("td", tag("a", *numbers, href=f"#{wording.slug(result)}", title=result.name), class_=name)


def _wide(label: str, head: Sequence[Inside], body: Iterable[Inside], class_: str = "") -> Element:
    """A table that scrolls by itself where the screen is narrow, with the keyboard, too."""
    return _scrolling(label, tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_=class_ or None))


def _scrolling(label: str, inside: Element) -> Element:
    return tag("div", inside, class_="wide", tabindex="0", role="region", aria_label=label)


def _table(label: str, head: Sequence[str], rows: Iterable[Sequence[Inside]], class_: str = "") -> Element:
    """Of plain cells; the first of a row says what the row is about."""
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", one) for one in row[1:])) for row in rows]
    return _wide(label, [tag("th", one, scope="col") for one in head], body, class_)


def _depth(localisation: Localisation) -> list[Inside]:
    said = wording.culprit(localisation)
    layers = [
        (
            " + ".join(one.modules),
            one.operator,
            one.tensor,
            wording.number(one.sqnr_db, ".1f"),
            wording.number(one.damage, ".2g"),
            "" if one.steps is None else f"{one.steps:.3g}",
        )
        for one in localisation.layers
    ]
    head = ("module", "operator", "tensor", "SQNR, dB", "damage", "steps")
    table = tag("details", tag("summary", f"{len(layers)} layers"), _table(f"Layers of {said.subject}", head, layers))
    picture = pictures.depth(localisation)
    framed = None if picture is None else _scrolling(said.subject, picture)
    return [tag("p", tag("strong", said.subject), f": {said.text}"), framed, table if layers else None]


def _costs(report: Report) -> list[Inside]:
    """What a row costs, as two pictures; the extremes in words."""
    charts = pictures.costs(report)
    if not charts:
        return []
    targets, precisions = pictures.kinds(report)
    legend = [tag("span", pictures.sign(number, "plain"), one) for number, one in enumerate(targets)]
    legend += [
        tag("span", pictures.sign(0, f"c{number % pictures.COLOURS}"), one) for number, one in enumerate(precisions)
    ]
    passed = [one for one in report.results if one.status == "pass" and one.latency_ms and one.size_bytes]
    said = []
    if passed:
        fastest = min(passed, key=lambda one: one.latency_ms.median if one.latency_ms else 0)
        least = min(passed, key=lambda one: (one.size_bytes or 0, one.latency_ms.median if one.latency_ms else 0))
        for word, one in (("Fastest", fastest), ("Smallest", least)):
            time = one.latency_ms.median if one.latency_ms else 0
            text = f" at {time:.2f} ms, {(one.size_bytes or 0) / 1e6:.2f} MB"
            said.append(
                tag("li", f"{word} that passed: ", tag("a", one.name, href=f"#{wording.slug(one)}"), f"{text}.")
            )
    said.append(tag("li", "Emulated processors and GPUs drawn in software are slower than what they stand for."))
    return [tag("div", *charts, class_="charts"), tag("p", *legend, class_="legend"), tag("ul", *said)]


def _rows(report: Report) -> list[Inside]:
    """What the terminal shows, and how the differences of each row are spread on one axis."""
    ends = pictures.span(report.results)
    spread = f"differences, {ends[0]:.0e} to {ends[1]:.0e}" if ends else "differences"
    names = ["artifact", "runtime", "status", "SQNR, dB", "max |d|", "agree", wording.metric_name(report)]
    head = [*names, "ms", "MB", "room", spread]
    body = []
    for one in wording.ordered(report.results):
        figures = wording.figures(one)
        picture = pictures.strip(one.outputs[0], ends) if one.outputs and ends else None
        body.append(
            tag(
                "tr",
                tag("th", tag("a", figures.artifact, href=f"#{wording.slug(one)}"), scope="row"),
                tag("td", figures.where),
                tag("td", f"{MARKS[kind(one)]} {figures.status}", class_=kind(one)),
                *(tag("td", text, class_="number") for text in _numbers(figures)),
                tag("td", picture),
            )
        )
    for prepared in wording.prepared(report):
        figures, name = prepared.figures, "pass" if prepared.within else "fail"
        cells = [tag("td", text, class_="number") for text in _numbers(figures)]
        status = tag("td", f"{MARKS[name]} {figures.status}", class_=name)
        body.append(
            tag(
                "tr",
                tag("th", tag("a", figures.artifact, href="#prepared"), scope="row"),
                tag("td", figures.where),
                status,
                *cells,
                tag("td"),
            )
        )
    return [_wide("All rows", [tag("th", one, scope="col") for one in head], body, "rows")]


def _numbers(one: wording.Figures) -> list[str]:
    return [one.sqnr, one.difference, one.agreement, one.metric, one.latency, one.size, one.headroom]


def chosen(report: Report) -> list[int]:
    """Golden inputs worth an image: those most rows decide otherwise, then those most rows are farthest off on."""
    changed, named = Counter[int](), Counter[int]()
    for result in report.results:
        for sample in result.worst:
            named[sample.index] += 1
            changed[sample.index] += sample.golden != sample.actual
    return sorted(named, key=lambda index: (-changed[index], -named[index], index))[:SAMPLES]


def _samples(report: Report, images: Mapping[int, bytes]) -> list[Inside]:
    found = [_sample(report, index, images.get(index)) for index in chosen(report)]
    note = "Golden inputs that rows decide otherwise, then those on which they lie farthest from PyTorch."
    return [tag("p", note, class_="quiet"), tag("div", *found, class_="samples")] if found else []


def _sample(report: Report, index: int, image: bytes | None) -> Element:
    rows = [(one, sample) for one in wording.ordered(report.results) for sample in one.worst if sample.index == index]
    sample = rows[0][1]
    label, golden = _decision(report, sample.label), _decision(report, sample.golden)
    others = [f"{_decision(report, one.actual)} by {row.name}" for row, one in rows if one.actual != one.golden]
    said = f"label {label}, PyTorch {golden}"
    caption: list[Inside] = [tag("strong", f"#{index}"), f" {said}"]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        caption.append(tag("span", f"{', '.join(others[:3])}{more}", class_="changed"))
    else:
        caption.append(tag("span", f"decided alike; among the farthest off in {len(rows)} rows", class_="quiet"))
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}" if image else None
    picture = tag("img", src=source, alt=f"golden input {index}: {said}", width=96, height=96) if source else None
    return tag("figure", picture, tag("figcaption", *caption), id=f"sample-{index}")


def _decision(report: Report, index: int) -> str:
    """A label; what has none says so."""
    labels = report.model.labels
    return labels[index] if 0 <= index < len(labels) else "none" if index < 0 else str(index)


def _changes(report: Report) -> list[Inside]:
    """Over all rows: which class became which, most often first."""
    counts, rows = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for result in report.results:
        for one in _changed(result):
            counts[one.golden, one.actual] += one.count
            rows[one.golden, one.actual] += 1
    if not any(result.decisions for result in report.results):
        return []
    if not counts:
        return [tag("p", "None: every row decides every golden input as PyTorch does.")]
    listed = [
        (_decision(report, before), _decision(report, after), f"{count}", f"{rows[before, after]}")
        for (before, after), count in counts.most_common(PAIRS)
    ]
    more = f"{len(counts) - PAIRS} more pairs are in report.json." if len(counts) > PAIRS else None
    head = ("PyTorch", "became", "times", "rows")
    note = "The whole confusion of each row is among its details."
    return [_table("Changes", head, listed, "counts"), tag("p", note, more and f" {more}", class_="quiet")]


def _changed(result: Result) -> list[Decided]:
    return [one for one in result.decisions if one.golden != one.actual]


def _confusion(report: Report, result: Result) -> Inside:
    """Golden down, actual across; of many classes the changes alone."""
    if not result.decisions:
        return None
    if len(report.model.labels) > CLASSES:
        pairs = sorted(_changed(result), key=lambda one: -one.count)[:PAIRS]
        rows = [(_decision(report, one.golden), _decision(report, one.actual), f"{one.count}") for one in pairs]
        if not rows:
            return tag("p", f"All {result.samples} decisions are PyTorch's.")
        return _table("Decisions that changed", ("PyTorch", "became", "times"), rows, "counts")
    counts = {(one.golden, one.actual): one.count for one in result.decisions}
    down = range(len(report.model.labels))
    across = [*down, *([-1] if any(actual == -1 for _, actual in counts) else [])]
    body = [
        tag(
            "tr",
            tag("th", _decision(report, before), scope="row"),
            *(_count(counts.get((before, after)), before == after) for after in across),
        )
        for before in down
    ]
    corner = tag("th", "PyTorch ↓ here →", scope="col")
    head = [corner, *(tag("th", _decision(report, after), scope="col") for after in across)]
    return _wide("Confusion", head, body, "confusion")


def _count(count: int | None, same: bool) -> Element:
    return tag("td", f"{count}", class_="same" if same else "changed") if count else tag("td")


def _prepared(report: Report) -> list[Inside]:
    found = [(one, one.from_file) for one in wording.ordered(report.results) if one.from_file]
    rows = [(one.name, *_from_file(row)) for one, row in found]
    head = ("row", "status", "language", "samples", "input, steps of 1/255", "SQNR, dB", "probe, dB")
    note = "Image files, prepared by an app's own means as the manifest says, against training's preparation."
    return [tag("p", note, class_="quiet"), _table("Preparation", head, rows)] if rows else []


def _integers(report: Report) -> list[Inside]:
    rows = [
        (
            name,
            f"{one.calibration_samples}",
            "" if one.halves_sqnr_db is None else f"{one.halves_sqnr_db:.1f}",
            f"{len(one.keep_float)}",
            "" if one.size_without is None else f"{one.size_without / 1e6:.2f} MB",
        )
        for name, one in wording.quantized(report)
    ]
    head = ("artifact", "calibration samples", "two halves, dB apart", "layers in float32", "size without")
    note = (
        "Ranges were set by training images that are neither golden nor in the test split. Models quantized with "
        "either half of them lie this far apart: little, if there are enough."
    )
    kept = [(name, ", ".join(one.keep_float)) for name, one in wording.quantized(report) if one.keep_float]
    table = _table("Layers in float32", ("artifact", "layers in float32"), kept) if kept else None
    return [tag("p", note, class_="quiet"), _table("Integers", head, rows), table] if rows else []


def _from_file(one: FromFile) -> tuple[str, ...]:
    within = all(judged.within for judged in one.judgements)
    return (
        f"{MARKS['pass']} pass" if within else f"{MARKS['fail']} fail",
        one.language,
        f"{one.samples}",
        wording.number(one.input_steps, ".3g"),
        wording.number(one.sqnr_db, ".1f"),
        wording.number(one.probe_db, ".1f"),
    )


def _detail(report: Report, result: Result) -> Element:
    """One row with all that is known of it; one that failed is open."""
    figures, name = wording.figures(result), kind(result)
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
        _confusion(report, result),
        _worst(report, result.worst),
        _facts(report, result),
        id=wording.slug(result),
        open=not result.settled,
        class_="row",
    )


def _output(one: Output) -> Element:
    mean, relative = wording.number(one.mean_absolute, ".2e"), wording.number(one.max_relative, ".2e")
    greatest = f"{wording.number(one.max_absolute, '.2e')} at {tuple(one.worst)}"
    text = (
        f"{one.name}: greatest difference {greatest}, mean {mean}, relative {relative}; cosine "
        f"{wording.number(one.cosine, '.6f')}; noise floor {one.noise_floor:.2e}."
    )
    equal = None if one.max_absolute != 0 else " Equal to the last bit."
    missing = f" {one.not_finite} values are no numbers." if one.not_finite else None
    return tag("div", pictures.histogram(one), tag("p", text, equal, missing), class_="output")


def _judged(result: Result) -> Inside:
    rows = []
    for one in wording.judgements(result):
        link = tag("a", one.measure, href=f"#{_tolerance_id(result.precision, one.measure)}")
        default = "" if one.by_default is None else f"{one.by_default:g}"
        mark = f"{MARKS['pass']} within" if one.within else f"{MARKS['fail']} beyond"
        rows.append((link, _measured(one), _allowed(one), default, wording.percent(one.headroom), mark))
    head = ("measure", "measured", "allowed", "by default", "headroom", "")
    return _table(f"Judgements of {result.name}", head, rows) if rows else None


def _measured(one: Judgement) -> str:
    return wording.number(one.measured, ".4g")


def _allowed(one: Judgement) -> str:
    return f"{'at most' if one.upper else 'at least'} {one.allowed:.4g}"


def _tolerance_id(precision: str, measure: str) -> str:
    return f"tolerance-{precision}-{measure}"


def _worst(report: Report, samples: Sequence[Sample]) -> Inside:
    shown = set(chosen(report))
    rows = []
    for one in samples:
        name: Inside = tag("a", f"#{one.index}", href=f"#sample-{one.index}") if one.index in shown else f"#{one.index}"
        label, golden, actual = (_decision(report, index) for index in (one.label, one.golden, one.actual))
        rows.append((name, label, golden, actual, wording.number(one.difference, ".2e")))
    head = ("worst samples", "label", "PyTorch", "here", "difference")
    return _table("Worst samples", head, rows) if rows else None


def _facts(report: Report, result: Result) -> Element:
    sha, log = result.artifact_sha256, result.log
    return _list(
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


def _tolerances(report: Report) -> list[Inside]:
    """Each with its reason; a source that many share is written once, below."""
    found: dict[tuple[str, str], list[Judgement]] = {}
    for result in report.results:
        for one in wording.judgements(result):
            found.setdefault((result.precision, one.measure), []).append(one)
    sources = list(dict.fromkeys(one.source for rows in found.values() for one in rows))
    body = [
        tag(
            "tr",
            tag("th", precision, scope="row"),
            tag("td", measure),
            tag("td", _range(rows)),
            tag("td", "" if rows[0].by_default is None else f"{rows[0].by_default:g}"),
            tag("td", rows[0].reason, class_="prose"),
            tag("td", f"{sources.index(rows[0].source) + 1}", class_="number"),
            id=_tolerance_id(precision, measure),
        )
        for (precision, measure), rows in found.items()
    ]
    names = ("precision", "measure", "allowed", "by default", "reason", "source")
    head = [tag("th", one, scope="col") for one in names]
    listed = tag("ol", *(tag("li", one) for one in sources), class_="quiet")
    return [_wide("Tolerances", head, body, "tolerances"), tag("h3", "Sources"), listed] if body else []


def _range(rows: Sequence[Judgement]) -> str:
    """What is allowed depends on the row where it is in noise floors, or one sample of few."""
    word, limits = "at most" if rows[0].upper else "at least", sorted({f"{one.allowed:.4g}" for one in rows}, key=float)
    return f"{word} {limits[0]}" if len(limits) == 1 else f"{word} {limits[0]} to {limits[-1]}"


def _versions(report: Report) -> list[Inside]:
    runtimes = dict.fromkeys((one.where, one.runtime_version) for one in report.results if one.runtime_version)
    artifacts = {
        wording.artifact(one): (f"{(one.size_bytes or 0) / 1e6:.2f}", tag("code", one.artifact_sha256))
        for one in report.results
        if one.artifact_sha256
    }
    machine: dict[str, Inside] = {key: str(value) for key, value in report.machine.items()}
    settings: dict[str, Inside] = {
        key: tag("code", json.dumps(value, ensure_ascii=False)) for key, value in report.settings.items()
    }
    model: dict[str, Inside] = {
        "checkpoint": tag("code", report.checkpoint_sha256),
        "inputs": json.dumps(report.model.inputs),
        "outputs": json.dumps(report.model.outputs),
        "labels": ", ".join(report.model.labels),
        "report": f"schema {report.schema_version}, {report.created}",
    }
    return [
        _list({**model, **machine}),
        _table("Runtimes", ("runtime", "version"), list(runtimes)),
        _table("Artifacts", ("artifact", "MB", "sha256"), [(name, *rest) for name, rest in artifacts.items()]),
        tag("h3", "Settings"),
        _list(settings),
    ]


def _list(facts: Mapping[str, Inside]) -> Element:
    """What is known; None is not."""
    known = [(tag("dt", key), tag("dd", value)) for key, value in facts.items() if value is not None]
    return tag("dl", *(one for pair in known for one in pair))
