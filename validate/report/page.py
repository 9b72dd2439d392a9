"""report.html: one file to open before a release; without a network, without a script, in any light and on paper.

    Path("report.html").write_text(render(report, {10: png}))

From the verdict down to each row. What a label, a reason or a name says is shown as text, whatever is in it; and a
Content-Security-Policy forbids everything but the file's own style and images.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from validate.report import pictures, sentences
from validate.report.html import Inside, facts, html, scrolling, table, tag, wide
from validate.report.page_decisions import changes, samples
from validate.report.page_row import MARKS, detail, kind, tolerance_id
from validate.report.records import FromFile, Judgement, Localisation, Report, Result

STYLE = Path(__file__).with_name("page.css")


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
        Section("samples", "Worst samples", samples(report, images)),
        Section("decisions", "Decisions that changed", changes(report)),
        Section("prepared", "Preparation from image files", _prepared(report)),
        Section("probes", "Probes: inputs unlike golden's", _probes(report)),
        Section("integers", "How the integers came about", _integers(report)),
        Section("phones", "What runs on the fast path of a phone", _phones(report)),
        Section("details", "Each row", [detail(report, one) for one in sentences.ordered(report.results)]),
        Section("tolerances", "Tolerances, their reasons and sources", _tolerances(report)),
        Section("versions", "Versions, hashes, settings", _versions(report)),
    ]


def _header(report: Report) -> Element:
    passed = report.verdict == "pass"
    sentence = sentences.verdict(report).partition(": ")[2]
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
    rows = [one for one in sentences.ordered(report.results) if one.blocking]
    return [tag("ul", *(_said(report, sentences.failure(report, one), one) for one in rows))] if rows else []


def _said(report: Report, one: sentences.Said, row: Result | None = None) -> Element:
    """A sentence, what to type, and the script that reproduces it."""
    subject: Inside = tag("a", one.subject, href=f"#{sentences.slug(row)}") if row else one.subject
    steps = [tag("li", f"{word}: ", tag("code", command)) for word, command in one.steps]
    script = row and sentences.script(report, row)
    if row and script:
        link = tag("a", tag("code", script), href=f"reproduce/{sentences.slug(row)}.py")
        steps.append(tag("li", "This alone: ", link))
    return tag("li", tag("strong", subject), f": {one.text}", tag("ul", *steps) if steps else None)


def _notes(report: Report) -> list[Inside]:
    tie = sentences.ties(report)
    said = [
        *sentences.warnings(report),
        *sentences.overrides(report),
        *([tie] if tie else []),
        *sentences.unproved(report),
    ]
    rows = {one.name: one for one in report.results}
    found = [_said(report, one, rows.get(one.subject)) for one in said]
    if tie is None:
        found.append(tag("li", "No golden input is a tie: PyTorch decides each by more than its noise floor."))
    if report.baseline:
        one = report.baseline
        text = f"{one.path}, of {one.created}, checkpoint {one.checkpoint_sha256[:12]}."
        found.append(tag("li", tag("strong", "compared with"), f": {text}"))
    return [tag("ul", *found)]


def _matrix(report: Report) -> list[Inside]:
    """Runtimes down, in groups by target; precisions across, for each is judged alike in all runtimes."""
    targets, precisions = pictures.kinds(report)
    groups = [_group(report, target, precisions) for target in targets]
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in ("runtime", *precisions))))
    matrix = tag("table", head, *groups, class_="matrix")
    legend = [
        tag("span", f"{MARKS['pass']} within tolerance", class_="pass"),
        tag("span", f"{MARKS['tight']} within, with a warning", class_="tight"),
        tag("span", f"{MARKS['fail']} failed or no result", class_="fail"),
        tag("span", f"{MARKS['none']} not run or refused, and accepted", class_="none"),
    ]
    note = tag("p", "SQNR against PyTorch in dB, and how much of the tightest tolerance is left.", class_="quiet")
    return [note, scrolling("Matrix", matrix), tag("p", *legend, class_="legend")]


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
    figures, name = sentences.figures(result), kind(result)
    numbers: list[Inside] = [f"{MARKS[name]} {figures.sqnr or figures.status}"]
    if figures.headroom:
        numbers += [tag("small", f"{figures.headroom} left")]
    return tag("td", tag("a", *numbers, href=f"#{sentences.slug(result)}", title=result.name), class_=name)


def _depth(localisation: Localisation) -> list[Inside]:
    said = sentences.culprit(localisation)
    layers = [
        (
            " + ".join(one.modules),
            one.operator,
            one.tensor,
            sentences.number(one.sqnr_db, ".1f"),
            sentences.number(one.damage, ".2g"),
            "" if one.steps is None else f"{one.steps:.3g}",
        )
        for one in localisation.layers
    ]
    head = ("module", "operator", "tensor", "SQNR, dB", "damage", "steps")
    listed = tag("details", tag("summary", f"{len(layers)} layers"), table(f"Layers of {said.subject}", head, layers))
    picture = pictures.depth(localisation)
    framed = None if picture is None else scrolling(said.subject, picture)
    return [tag("p", tag("strong", said.subject), f": {said.text}"), framed, listed if layers else None]


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
                tag("li", f"{word} that passed: ", tag("a", one.name, href=f"#{sentences.slug(one)}"), f"{text}.")
            )
    said.append(tag("li", "Emulated processors and GPUs drawn in software are slower than what they stand for."))
    return [tag("div", *charts, class_="charts"), tag("p", *legend, class_="legend"), tag("ul", *said)]


def _rows(report: Report) -> list[Inside]:
    """What the terminal shows, and how the differences of each row are spread on one axis."""
    ends = pictures.span(report.results)
    spread = f"differences, {ends[0]:.0e} to {ends[1]:.0e}" if ends else "differences"
    names = ["artifact", "runtime", "status", "SQNR, dB", "max |d|", "agree", sentences.metric_name(report)]
    head = [*names, "ms", "MB", "room", spread]
    body = []
    for one in sentences.ordered(report.results):
        figures = sentences.figures(one)
        picture = pictures.strip(one.outputs[0], ends) if one.outputs and ends else None
        body.append(
            tag(
                "tr",
                tag("th", tag("a", figures.artifact, href=f"#{sentences.slug(one)}"), scope="row"),
                tag("td", figures.where),
                tag("td", f"{MARKS[kind(one)]} {figures.status}", class_=kind(one)),
                *(tag("td", text, class_="number") for text in _numbers(figures)),
                tag("td", picture),
            )
        )
    for prepared in sentences.prepared(report):
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
    return [wide("All rows", [tag("th", one, scope="col") for one in head], body, "rows")]


def _numbers(one: sentences.Figures) -> list[str]:
    return [one.sqnr, one.difference, one.agreement, one.metric, one.latency, one.size, one.headroom]


def _prepared(report: Report) -> list[Inside]:
    found = [(one, one.from_file) for one in sentences.ordered(report.results) if one.from_file]
    rows = [(one.name, *_from_file(row)) for one, row in found]
    head = ("row", "status", "language", "samples", "input, steps of 1/255", "SQNR, dB", "probe, dB")
    note = "Image files, prepared by an app's own means as the manifest says, against training's preparation."
    return [tag("p", note, class_="quiet"), table("Preparation", head, rows)] if rows else []


def _probes(report: Report) -> list[Inside]:
    names = list(dict.fromkeys(probe.name for one in report.results for probe in one.probes))
    rows = [(one.name, *(cells.get(name, "") for name in names)) for one, cells in sentences.probed(report)]
    note = (
        "Floats may be as many noise floors off as on golden, the floor being the probe's own: what rounding alone "
        "leads to there. Integers, which leave the ranges of calibration, have to be finite and must not collapse."
    )
    return [tag("p", note, class_="quiet"), table("Probes", ("row", *names), rows)] if rows else []


def _integers(report: Report) -> list[Inside]:
    rows = [
        (
            name,
            f"{one.calibration_samples}",
            "" if one.halves_sqnr_db is None else f"{one.halves_sqnr_db:.1f}",
            f"{len(one.keep_float)}",
            "" if one.size_without is None else f"{one.size_without / 1e6:.2f} MB",
        )
        for name, one in sentences.quantized(report)
    ]
    head = ("artifact", "calibration samples", "two halves, dB apart", "layers in float32", "size without")
    note = (
        "Ranges were set by training images, none of which is golden. Models quantized with "
        "either half of them lie this far apart: little, if there are enough."
    )
    kept = [(name, ", ".join(one.keep_float)) for name, one in sentences.quantized(report) if one.keep_float]
    floats = table("Layers in float32", ("artifact", "layers in float32"), kept) if kept else None
    return [tag("p", note, class_="quiet"), table("Integers", head, rows), floats] if rows else []


def _phones(report: Report) -> list[Inside]:
    """What delegates take of the TFLite files, in figures and in words."""
    rows = [
        (
            lint.artifact,
            f"{lint.operators}",
            f"{lint.in_xnnpack}",
            f"{lint.parts}",
            f"{lint.on_gpu_list}",
            *(f"{count or ''}" for count in (lint.flex, lint.custom, lint.int64, lint.many_axes)),
        )
        for lint in report.lints
    ]
    head = (
        "artifact",
        "operators",
        "in XNNPACK",
        "parts",
        "on the GPU's list",
        "Flex",
        "custom",
        "int64",
        "above 4 axes",
    )
    runtimes = ", ".join(dict.fromkeys(lint.runtime for lint in report.lints))
    note = (
        f"XNNPACK, which apps get on the CPU, was asked in {runtimes}. The GPU delegate cannot run here: what it takes "
        "is by its published list. What a delegate leaves runs in LiteRT's plain kernels, and each change between them "
        "costs time."
    )
    said = [
        tag("li", tag("strong", lint.artifact), tag("ul", *(tag("li", sentence) for sentence in lint.sentences)))
        for lint in report.lints
    ]
    return [tag("p", note, class_="quiet"), table("Delegates", head, rows), tag("ul", *said)] if rows else []


def _from_file(one: FromFile) -> tuple[str, ...]:
    within = all(judged.within for judged in one.judgements)
    return (
        f"{MARKS['pass']} pass" if within else f"{MARKS['fail']} fail",
        one.language,
        f"{one.samples}",
        sentences.number(one.input_steps, ".3g"),
        sentences.number(one.sqnr_db, ".1f"),
        sentences.number(one.probe_db, ".1f"),
    )


def _tolerances(report: Report) -> list[Inside]:
    """Each with its reason; a source that many share is written once, below."""
    found: dict[tuple[str, str], list[Judgement]] = {}
    for result in report.results:
        for one in sentences.judgements(result):
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
            id=tolerance_id(precision, measure),
        )
        for (precision, measure), rows in found.items()
    ]
    names = ("precision", "measure", "allowed", "by default", "reason", "source")
    head = [tag("th", one, scope="col") for one in names]
    listed = tag("ol", *(tag("li", one) for one in sources), class_="quiet")
    return [wide("Tolerances", head, body, "tolerances"), tag("h3", "Sources"), listed] if body else []


def _range(rows: Sequence[Judgement]) -> str:
    """What is allowed depends on the row where it is in noise floors, or one sample of few."""
    word, limits = "at most" if rows[0].upper else "at least", sorted({f"{one.allowed:.4g}" for one in rows}, key=float)
    return f"{word} {limits[0]}" if len(limits) == 1 else f"{word} {limits[0]} to {limits[-1]}"


def _versions(report: Report) -> list[Inside]:
    runtimes = dict.fromkeys((one.where, one.runtime_version) for one in report.results if one.runtime_version)
    artifacts = {
        sentences.artifact(one): (f"{(one.size_bytes or 0) / 1e6:.2f}", tag("code", one.artifact_sha256))
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
        facts({**model, **machine}),
        table("Runtimes", ("runtime", "version"), list(runtimes)),
        table("Artifacts", ("artifact", "MB", "sha256"), [(name, *rest) for name, rest in artifacts.items()]),
        tag("h3", "Settings"),
        facts(settings),
    ]
