"""Writes report.html: one file to open before a release, without a network or a script, in any light and on paper.

    Path("report.html").write_text(render(report, {10: png}), encoding="utf-8")

It goes from the verdict down to each row. Labels, reasons and names are shown as text, whatever is in them; and a
Content-Security-Policy forbids everything but the file's own style and images.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from xml.etree.ElementTree import Element

from validate.report import pictures, sentences
from validate.report.drawn import Drawn
from validate.report.html import Inside, facts, html, scrolling, table, tag, wide
from validate.report.page_decisions import changes, samples
from validate.report.page_row import MARKS, detail, kind, tolerance_id
from validate.report.records import FromFile, Judgement, Localisation, Repair, Report, Result

STYLE = Path(__file__).with_name("page.css")


def render(
    report: Report, images: Mapping[int, bytes], drawn: Mapping[str, Sequence[Drawn]] = MappingProxyType({})
) -> str:
    """Return the page. images: golden inputs as PNG, by index. drawn: the worst samples of each row, by its name."""
    style = STYLE.read_text(encoding="utf-8")
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
    sections = [section for section in _sections(report, images, drawn) if section.content]
    body = tag("body", _header(report), _contents(sections), tag("main", *(section.element for section in sections)))
    return "<!doctype html>\n" + html(tag("html", head, body, lang="en")) + "\n"


def frame(report: Report) -> str:
    """Return the page, without images, in a frame whose style touches nothing around it."""
    return html(tag("iframe", srcdoc=render(report, {}), width="100%", height="560", style="border: 0"))


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; left out if it has no content."""

    id: str
    title: str
    content: Sequence[Inside]

    @property
    def element(self) -> Element:
        """Return the section with its heading, as an element."""
        heading = tag("h2", self.title, id=f"{self.id}-title")
        return tag("section", heading, *self.content, id=self.id, aria_labelledby=f"{self.id}-title")


def _sections(report: Report, images: Mapping[int, bytes], drawn: Mapping[str, Sequence[Drawn]]) -> list[Section]:
    rows = [detail(report, result, drawn.get(result.name, ())) for result in sentences.ordered(report.results)]
    return [
        Section("failures", "What failed, and what to type next", _failures(report)),
        Section("notes", "What else to know", _notes(report)),
        Section("matrix", "Every target in every runtime", _matrix(report)),
        Section(
            "depth",
            "Where the numbers go wrong",
            [part for localisation in report.localisations for part in _depth(localisation)],
        ),
        Section("costs", "Accuracy, size and latency", _costs(report)),
        Section("rows", "All rows, worst first", _rows(report)),
        Section("samples", "Worst samples", samples(report, images)),
        Section("decisions", "Decisions that changed", changes(report)),
        Section("prepared", "Preparation from image files", _prepared(report)),
        Section("probes", "Probes: inputs unlike golden's", _probes(report)),
        Section("integers", "How the integers came about", _integers(report)),
        Section("phones", "What runs on the fast path of a phone", _phones(report)),
        Section("details", "Each row", rows),
        Section("tolerances", "Tolerances, their reasons and sources", _tolerances(report)),
        Section("versions", "Versions, hashes, settings", _versions(report)),
    ]


def _header(report: Report) -> Element:
    passed = report.verdict == "pass"
    sentence = sentences.verdict(report).partition(": ")[2]
    classes = f", {len(report.model.labels)} classes" if report.model.labels else ""
    return tag(
        "header",
        tag("p", f"{MARKS['pass' if passed else 'fail']} {report.verdict}", class_="verdict"),
        tag("h1", report.run),
        tag("p", sentence[:1].upper() + sentence[1:]),
        tag(
            "p",
            f"{report.task}, {report.model.name}{classes} · {report.created} · checkpoint ",
            tag("code", report.checkpoint_sha256[:12]),
            class_="quiet",
        ),
        class_=report.verdict,
    )


def _contents(sections: Iterable[Section]) -> Element:
    links = [tag("li", tag("a", section.id.capitalize(), href=f"#{section.id}")) for section in sections]
    return tag("nav", tag("ul", *links), aria_label="Contents")


def _failures(report: Report) -> list[Inside]:
    results = [result for result in sentences.ordered(report.results) if result.blocking]
    return (
        [tag("ul", *(_sentence(report, sentences.failure(report, result), result) for result in results))]
        if results
        else []
    )


def _sentence(report: Report, sentence: sentences.Sentence, result: Result | None = None) -> Element:
    """Return a sentence as a list item, with what to type and the script that reproduces its row."""
    subject: Inside = tag("a", sentence.subject, href=f"#{sentences.slug(result)}") if result else sentence.subject
    script = result and sentences.script(report, result)
    steps = [tag("li", f"{word}: ", tag("code", command)) for word, command in sentence.steps if command != script]
    if result and script:
        link = tag("a", tag("code", script), href=f"reproduce/{sentences.slug(result)}.py")
        steps.append(tag("li", "This alone: ", link))
    return tag("li", tag("strong", subject), f": {sentence.text}", tag("ul", *steps) if steps else None)


def _notes(report: Report) -> list[Inside]:
    tie = sentences.ties(report)
    notes = [
        *sentences.warnings(report),
        *sentences.slow(report),
        *sentences.overrides(report),
        *([tie] if tie else []),
        *sentences.unproved(report),
    ]
    results = {result.name: result for result in report.results}
    items = [_sentence(report, note, results.get(note.subject)) for note in notes]
    if tie is None and any(result.agreement for result in report.results):
        items.append(tag("li", "No golden input is a tie: PyTorch decides each by more than noise that is allowed."))
    if report.baseline:
        baseline = report.baseline
        text = f"{baseline.path}, of {baseline.created}, checkpoint {baseline.checkpoint_sha256[:12]}."
        items.append(tag("li", tag("strong", "compared with"), f": {text}"))
    return [tag("ul", *items)]


def _matrix(report: Report) -> list[Inside]:
    """Return the matrix: runtimes down, grouped by target; precisions across, for each is judged alike everywhere."""
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
    """Return the rows of a target's runtimes."""
    results = [result for result in report.results if result.target == target]
    cells = {(result.where, result.precision): result for result in results}
    title = tag("tr", tag("th", target, scope="rowgroup", colspan=len(precisions) + 1), class_="group")
    rows = [
        tag("tr", tag("th", where, scope="row"), *(_cell(cells.get((where, precision))) for precision in precisions))
        for where in dict.fromkeys(result.where for result in results)
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
    sentence = sentences.culprit(localisation)
    layers = [
        (
            " + ".join(layer.modules),
            layer.operator,
            layer.tensor,
            sentences.number(layer.sqnr_db, ".1f"),
            sentences.number(layer.damage, ".2g"),
            "" if layer.steps is None else f"{layer.steps:.3g}",
        )
        for layer in localisation.layers
    ]
    head = ("module", "operator", "tensor", "SQNR, dB", "damage", "steps")
    listed = tag(
        "details", tag("summary", f"{len(layers)} layers"), table(f"Layers of {sentence.subject}", head, layers)
    )
    picture = pictures.depth(localisation)
    framed = None if picture is None else scrolling(sentence.subject, picture)
    return [tag("p", tag("strong", sentence.subject), f": {sentence.text}"), framed, listed if layers else None]


def _costs(report: Report) -> list[Inside]:
    """Return what a row costs, as two pictures, and the extremes in words."""
    charts = pictures.costs(report)
    if not charts:
        return []
    targets, precisions = pictures.kinds(report)
    legend = [tag("span", pictures.sign(number, "plain"), target) for number, target in enumerate(targets)]
    legend += [
        tag("span", pictures.sign(0, f"c{number % pictures.COLOURS}"), precision)
        for number, precision in enumerate(precisions)
    ]
    passed = [
        result for result in report.results if result.status == "pass" and result.latency_ms and result.size_bytes
    ]
    items = []
    if passed:
        fastest = min(passed, key=lambda result: result.latency_ms.median if result.latency_ms else 0)
        least = min(
            passed, key=lambda result: (result.size_bytes or 0, result.latency_ms.median if result.latency_ms else 0)
        )
        for word, result in (("Fastest", fastest), ("Smallest", least)):
            time = result.latency_ms.median if result.latency_ms else 0
            text = f" at {time:.2f} ms, {(result.size_bytes or 0) / 1e6:.2f} MB"
            items.append(
                tag("li", f"{word} that passed: ", tag("a", result.name, href=f"#{sentences.slug(result)}"), f"{text}.")
            )
    items.append(tag("li", "Emulated processors and GPUs drawn in software are slower than what they stand for."))
    return [tag("div", *charts, class_="charts"), tag("p", *legend, class_="legend"), tag("ul", *items)]


def _rows(report: Report) -> list[Inside]:
    """Return the table of the terminal and, for each row, how its differences are spread, on one axis for all."""
    ends = pictures.span(report.results)
    spread = f"differences, {ends[0]:.0e} to {ends[1]:.0e}" if ends else "differences"
    head = ["artifact", "runtime", "status", *sentences.heads(report, "SQNR, dB"), spread]
    body = []
    for result in sentences.ordered(report.results):
        figures = sentences.figures(result)
        picture = pictures.strip(result.outputs[0], ends) if result.outputs and ends else None
        body.append(
            tag(
                "tr",
                tag("th", tag("a", figures.artifact, href=f"#{sentences.slug(result)}"), scope="row"),
                tag("td", figures.where),
                tag("td", f"{MARKS[kind(result)]} {figures.status}", class_=kind(result)),
                *(tag("td", text, class_="number") for text in sentences.numbers(report, figures)),
                tag("td", picture),
            )
        )
    for prepared in sentences.prepared(report):
        figures, name = prepared.figures, "pass" if prepared.within else "fail"
        cells = [tag("td", text, class_="number") for text in sentences.numbers(report, figures)]
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
    return [wide("All rows", [tag("th", name, scope="col") for name in head], body, "rows")]


def _prepared(report: Report) -> list[Inside]:
    prepared_results = [(result, result.from_file) for result in sentences.ordered(report.results) if result.from_file]
    rows = [(result.name, *_from_file(files)) for result, files in prepared_results]
    head = ("row", "status", "language", "samples", "input, steps of 1/255", "SQNR, dB", "probe, dB")
    note = "Image files, prepared by an app's own means as the manifest says, against training's preparation."
    return [tag("p", note, class_="quiet"), table("Preparation", head, rows)] if rows else []


def _probes(report: Report) -> list[Inside]:
    names = list(dict.fromkeys(probe.name for result in report.results for probe in result.probes))
    rows = [(result.name, *(cells.get(name, "") for name in names)) for result, cells in sentences.probed(report)]
    note = (
        "Floats may be as many noise floors off as on golden, the floor being the probe's own: what rounding alone "
        "leads to there. Integers, which leave the ranges of calibration, have to be finite and must not collapse. "
        "What is made anew are mixtures of golden samples that no file can have known: --seed "
        f"{report.settings.get('seed', 0)} makes the same again."
    )
    return [tag("p", note, class_="quiet"), table("Probes", ("row", *names), rows)] if rows else []


def _integers(report: Report) -> list[Inside]:
    rows = []
    for name, integers in sentences.quantized(report):
        without = sentences.size_without(integers)
        rows.append(
            (
                name,
                f"{integers.calibration_samples}",
                "" if integers.halves_sqnr_db is None else f"{integers.halves_sqnr_db:.1f}",
                f"{len(integers.keep_16)}",
                f"{len(integers.keep_float)}",
                "" if without is None else f"{without / 1e6:.2f} MB",
            )
        )
    head = (
        "artifact",
        "calibration samples",
        "two halves, dB apart",
        "layers of 16 bits",
        "layers in float32",
        "size without",
    )
    note = (
        "Ranges were set by training images, none of which is golden. Models quantized with "
        "either half of them lie this far apart: little, if there are enough."
    )
    kept = [
        (name, what, ", ".join(layers))
        for name, integers in sentences.quantized(report)
        for what, layers in (("16 bits", integers.keep_16), ("float32", integers.keep_float))
        if layers
    ]
    listed = table("Layers kept", ("artifact", "kept in", "layers"), kept) if kept else None
    repairs = [part for name, integers in sentences.quantized(report) for part in _repair(name, integers.repair)]
    return [tag("p", note, class_="quiet"), table("Integers", head, rows), listed, *repairs] if rows else []


def _repair(name: str, repair: Repair | None) -> list[Inside]:
    """Return what a repair tried, as a picture and in figures; none where there was nothing to try."""
    if repair is None or len(repair.curve) < 2 or not any(step.size_bytes for step in repair.curve):
        return []
    rows = [
        (
            f"{number}{', ships' if number == repair.ships else ''}",
            step.ranges,
            f"{step.keep_16}",
            f"{step.keep_float}",
            sentences.number(step.sqnr_db, ".1f"),
            f"{step.agreement:.4f}",
            f"{step.size_bytes / 1e6:.2f}",
            sentences.number(step.latency_ms, ".2f"),
        )
        for number, step in enumerate(repair.curve)
    ]
    head = ("attempt", "ranges by", "16 bits", "float32", "SQNR, dB", "agreement", "size, MB", "latency, ms")
    note = (
        f"What --auto tried for {name}, of {repair.layers} layers, on {repair.samples} calibration samples that set no "
        "range; one thread, where it was converted."
        + ("" if repair.meets else " None of them meets the tolerance, so the artifact is the first.")
    )
    listed = tag("details", tag("summary", f"{len(rows)} attempts"), table(f"Repair of {name}", head, rows))
    return [tag("p", note, class_="quiet"), scrolling(f"Repair of {name}", pictures.repair(name, repair)), listed]


def _phones(report: Report) -> list[Inside]:
    """Return what delegates take of the TFLite files, in figures and in words."""
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
    items = [
        tag("li", tag("strong", lint.artifact), tag("ul", *(tag("li", sentence) for sentence in lint.sentences)))
        for lint in report.lints
    ]
    return [tag("p", note, class_="quiet"), table("Delegates", head, rows), tag("ul", *items)] if rows else []


def _from_file(files: FromFile) -> tuple[str, ...]:
    within = all(judgement.within for judgement in files.judgements)
    return (
        f"{MARKS['pass']} pass" if within else f"{MARKS['fail']} fail",
        files.language,
        f"{files.samples}",
        sentences.number(files.input_steps, ".3g"),
        sentences.number(files.sqnr_db, ".1f"),
        sentences.number(files.probe_db, ".1f"),
    )


def _tolerances(report: Report) -> list[Inside]:
    """Return the tolerances, each with its reason; a source that several share is written once, below."""
    groups: dict[tuple[str, str], list[Judgement]] = {}
    for result in report.results:
        for judgement in sentences.judgements(result):
            groups.setdefault((result.precision, judgement.measure), []).append(judgement)
    sources = list(dict.fromkeys(row.source for rows in groups.values() for row in rows))
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
        for (precision, measure), rows in groups.items()
    ]
    names = ("precision", "measure", "allowed", "by default", "reason", "source")
    head = [tag("th", name, scope="col") for name in names]
    listed = tag("ol", *(tag("li", source) for source in sources), class_="quiet")
    return [wide("Tolerances", head, body, "tolerances"), tag("h3", "Sources"), listed] if body else []


def _range(rows: Sequence[Judgement]) -> str:
    """Return what is allowed: several limits where it depends on the row, in noise floors or as one sample of few."""
    word, limits = "at most" if rows[0].upper else "at least", sorted({f"{row.allowed:.4g}" for row in rows}, key=float)
    return f"{word} {limits[0]}" if len(limits) == 1 else f"{word} {limits[0]} to {limits[-1]}"


def _versions(report: Report) -> list[Inside]:
    runtimes = dict.fromkeys(
        (result.where, result.runtime_version) for result in report.results if result.runtime_version
    )
    artifacts = {
        sentences.artifact(result): (f"{(result.size_bytes or 0) / 1e6:.2f}", tag("code", result.artifact_sha256))
        for result in report.results
        if result.artifact_sha256
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
        table("Artifacts", ("artifact", "MB", "sha256"), [(name, *cells) for name, cells in artifacts.items()]),
        tag("h3", "Settings"),
        facts(settings),
    ]
