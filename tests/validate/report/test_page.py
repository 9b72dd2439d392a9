"""report.html: whole in one file, true to the report, and readable on a desk, a phone, at night and on paper."""

import base64
import dataclasses
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.validate.report import reports
from validate.report import page, page_decisions, page_row, pictures, sentences
from validate.report.records import Decided, Quantization, Report
from validate.runtimes import programs
from workers import registry

PNG = pictures.png(np.zeros((8, 8, 3), np.uint8))


class Read(HTMLParser):
    """Elements with their attributes, and all text."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(report: Report) -> Read:
    return Read(page.render(report, dict.fromkeys(page_decisions.chosen(report), PNG)))


def test_names_and_reasons_are_text_whatever_is_in_them(made: Report) -> None:
    found = read(reports.everything(made))
    assert {name for name, _ in found.elements} & {"script", "iframe", "object"} == set()
    assert all(key[:2] != "on" for _, attributes in found.elements for key in attributes)
    assert all((one["src"] or "").startswith("data:image/png;base64,") for one in found.all("img"))
    assert "<script>alert(1)</script> | \"quoted\" 'name' & `code` \ufffd[31m" in found.text
    assert "<img src=x onerror=alert(2)>" in found.text


def test_the_file_needs_nothing_but_itself_and_forbids_the_rest(made: Report) -> None:
    found = read(reports.everything(made))
    links = [one["href"] or "" for name in ("a", "link") for one in found.all(name)]
    assert all(link.startswith(("#", "data:", "reproduce/")) for link in links)
    ids = {attributes["id"] for _, attributes in found.elements if "id" in attributes}
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    (policy,) = [one["content"] or "" for one in found.all("meta") if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    text = page.render(made, {})
    style = re.search(r"<style>(.*)</style>", text, re.S)
    assert style
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy
    assert not re.search(r"\b(url\(|@import|https?://|style=)", text.replace("http://www.w3.org", ""))


def test_every_row_is_there_with_its_numbers(made: Report) -> None:
    report = reports.everything(made)
    found = read(report)
    ids = {attributes.get("id") for name, attributes in found.elements if name == "details"}
    for result in report.results:
        assert sentences.slug(result) in ids
        assert result.name in found.text
        for output in result.outputs[:1]:  # as it was judged: of integers, of most samples
            judged = [one.measured for one in output.judgements if one.measure == "sqnr_db"]
            assert f"{(judged or [output.sqnr_db])[0]:.1f}" in found.text
    assert "anywhere validate tiny --accept" in found.text
    assert "python runs/tiny/report/reproduce/tflite-int8-litert-xnnpack.py" in found.text
    assert report.checkpoint_sha256 in found.text
    for one in sentences.judgements(made.results[0]):
        assert one.reason in found.text
        assert one.source in found.text


def test_a_failed_row_is_open_and_a_colour_is_never_alone(made: Report) -> None:
    report = reports.everything(made)
    found = read(report)
    opened = {one["id"] for one in found.all("details") if "open" in one}
    assert opened == {sentences.slug(one) for one in report.results if one.blocking}
    for result, sign in ((report.results[0], "✓ pass"), (report.results[-1], "✗ not run")):
        assert f"{sign} {result.name}" in " ".join(found.text.split())
    assert {page_row.kind(one) for one in report.results} == {"pass", "tight", "fail", "none"}


def test_many_classes_show_the_changes_instead_of_the_whole_confusion(made: Report) -> None:
    few = reports.passing(made)
    assert page.render(few, {}).count('class="confusion"') == len(few.results)
    labels = [f"class {index}" for index in range(page_decisions.CLASSES + 1)]
    changed = reports.row(made, decisions=[Decided(labels[0], labels[0], 60), Decided(labels[20], labels[3], 4)])
    model = dataclasses.replace(made.model, labels=labels)
    many = page.render(dataclasses.replace(few, model=model, results=[changed]), {})
    assert 'class="confusion"' not in many
    assert many.count("class 20</th><td>class 3</td><td>4</td>") == 2  # over all rows, and the row's own


def test_the_samples_decided_otherwise_are_shown_first(made: Report) -> None:
    report = reports.everything(made)
    assert page_decisions.chosen(report)[0] == 3
    found = read(report)
    first = found.all("img")[0]
    assert first["alt"] == f"golden input 3: label {made.model.labels[1]}, PyTorch {made.model.labels[1]}"
    assert f"{made.model.labels[2]} by tflite/int8 in litert xnnpack" in found.text
    assert len(found.all("img")) <= page_decisions.SAMPLES


def test_fifty_rows_are_not_too_much_for_a_mail(made: Report) -> None:
    rows = [reports.row(made, backend=f"b{number}") for number in range(50)]
    noise = pictures.png(
        np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    )  # no image is worse to compress
    report = dataclasses.replace(reports.passing(made), results=rows)
    assert len(page.render(report, dict.fromkeys(range(page_decisions.SAMPLES), noise))) < 1_500_000


def test_a_report_without_numbers_is_a_page_all_the_same(made: Report) -> None:
    nothing = reports.unmeasured(made, status="error", reason="no result")
    report = dataclasses.replace(made, results=[nothing])
    assert "no result" in read(report).text


def test_a_golden_input_is_shown_as_it_is() -> None:
    image = np.zeros((3, 4, 6), np.float32)
    image[0, 1, 2], image[2, 3, 5] = 1.0, 0.5
    pixels = np.asarray(Image.open(io.BytesIO(pictures.png(pictures.pixels(image)))))
    assert pixels.shape == (4, 6, 3)
    assert pixels[1, 2].tolist() == [255, 0, 0]
    assert pixels[3, 5].tolist() == [0, 0, 128]
    large = Image.open(io.BytesIO(pictures.png(np.zeros((300, 200, 3), np.uint8))))
    assert large.size == (64, 96)


@pytest.mark.parametrize(("low", "high"), [(0.18, 46.0), (1e-9, 10.0), (2.0, 2.6)])
def test_a_logarithmic_axis_has_some_ticks_all_within(low: float, high: float) -> None:
    scale = pictures.Scale(low, high, 0, 300, logarithmic=True)
    assert 1 <= len(scale.ticks) <= 12
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in scale.ticks)
    assert scale(low) == 0
    assert scale(high) == 300
    assert scale((low * high) ** 0.5) == pytest.approx(150)


@pytest.mark.slow
@pytest.mark.parametrize("build", [reports.passing, reports.everything])
def test_a_browser_shows_it_on_a_desk_a_phone_at_night_and_on_paper(
    made: Report, tmp_path: Path, build: type[Report]
) -> None:
    report = build(made)
    program = programs.path("chromium")
    assert program, programs.PROGRAMS["chromium"].get
    file = tmp_path / "report.html"
    file.write_text(page.render(report, dict.fromkeys(page_decisions.chosen(report), PNG)), encoding="utf-8")
    web = registry.find()["web"]
    web.build()
    with web.start(tmp_path / "log") as worker:
        look = {"file": str(file), "program": program}
        found = worker.call(Path(__file__).with_name("browse.mjs"), "look", look, tmp_path / "log", 120).value
    assert {url for url in found["requests"] if not url.startswith("data:")} == {f"file://{file}"}
    assert found["complaints"] == []
    for name, width in (("desk", 1280), ("phone", 375), ("night", 1280), ("paper", 703)):
        one = found[name]
        assert one["width"] == width, name
        assert one["contrast"] >= 4.5, (name, one["faintest"])
        assert one["verdict"].split()[-1].lower() == report.verdict
        assert one["rows"] == len(report.results) + len(sentences.prepared(report))
        assert set(one["details"]) == {result.name for result in report.results}
        assert one["open"] == sum(result.blocking for result in report.results)
        assert one["images"] == len(page_decisions.chosen(report)) > 0
        assert one["scripts"] == 0
    assert found["desk"]["back"] == "rgb(255, 255, 255)" == found["paper"]["back"]
    assert found["night"]["back"] == "rgb(20, 23, 27)"
    assert (found["desk"]["links"], found["paper"]["links"]) == ("block", "none")
    assert found["pdf"] > 10_000


def test_what_delegates_take_of_a_file_is_in_figures_and_in_words(made: Report) -> None:
    report = dataclasses.replace(made, lints=[reports.lint(flex=7), reports.lint("tflite/float32", 65)])
    text = page.render(report, {})
    section = text.partition('<section id="phones"')[2].partition("</section>")[0]
    (row,) = re.findall(r"<tr><th scope=\"row\">tflite/int8_dynamic</th>(.*?)</tr>", section)
    assert re.findall(r"<td>(.*?)</td>", row) == ["65", "61", "3", "62", "7", "", "", "4"]
    for lint in report.lints:
        assert all(sentence in Read(section).text.replace("\ufffd", "\x1b") for sentence in lint.sentences)
    assert "was asked in LiteRT 2.3.0" in section
    assert 'id="phones"' not in page.render(made, {})


def test_a_repair_is_a_picture_and_a_table_of_every_attempt(made: Report) -> None:
    integers = Quantization(32, 40.0, ["a", "b", "c", "d", "e"], [], reports.repair())
    row = dataclasses.replace(made.results[0], target="tflite", precision="int8", quantization=integers)
    found = read(dataclasses.replace(made, results=[row]))
    assert sum(one.get("class") == "ships" for one in found.all("circle")) == 1
    labels = [one.get("aria-label") or "" for one in found.all("svg")]
    assert "SQNR over size of what a repair of tflite/int8 tried" in labels
    assert "4, shipssquares0527.00.98002.151.25" in found.text
    assert "What --auto tried for tflite/int8, of 9 layers, on 64 calibration samples that set no range" in found.text
    assert "0 layers of 16 bits, 5 in float32, ranges by squares: 27.0 dB, 1.25 ms" in found.text
    none = dataclasses.replace(integers, keep_float=[], repair=reports.repair(ships=0))
    text = read(dataclasses.replace(made, results=[dataclasses.replace(row, quantization=none)])).text
    assert "None of them meets the tolerance, so the artifact is the first." in text
    assert "None of them" not in found.text
    needless = dataclasses.replace(none, repair=dataclasses.replace(none.repair, curve=none.repair.curve[:1]))
    empty = dataclasses.replace(
        none.repair, curve=[dataclasses.replace(step, size_bytes=0) for step in none.repair.curve]
    )
    for other in (needless, dataclasses.replace(none, repair=empty)):
        text = read(dataclasses.replace(made, results=[dataclasses.replace(row, quantization=other)])).text
        assert "What --auto tried" not in text
