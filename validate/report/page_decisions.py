"""What the page says of decisions: golden inputs that are worth a look, and which class became which."""

import base64
from collections import Counter
from collections.abc import Mapping
from xml.etree.ElementTree import Element

from validate.report import sentences
from validate.report.html import Inside, table, tag, wide
from validate.report.records import Decided, Report, Result

CLASSES = 20
"""Of which the whole confusion is shown; of more, the changes alone."""
PAIRS = 15
"""Changes of decision that are listed."""
SAMPLES = 24
"""Golden inputs that are shown as images: the rest are named by their index."""


def chosen(report: Report) -> list[int]:
    """Golden inputs worth an image: those most rows decide otherwise, then those most rows are farthest off on."""
    changed, named = Counter[int](), Counter[int]()
    for result in report.results:
        for sample in result.worst:
            named[sample.index] += 1
            changed[sample.index] += sample.golden != sample.actual
    return sorted(named, key=lambda index: (-changed[index], -named[index], index))[:SAMPLES]


def samples(report: Report, images: Mapping[int, bytes]) -> list[Inside]:
    """The chosen ones, as pictures. images: golden inputs as PNG, by their index."""
    found = [_sample(report, index, images.get(index)) for index in chosen(report)]
    note = "Golden inputs that rows decide otherwise, then those on which they lie farthest from PyTorch."
    return [tag("p", note, class_="quiet"), tag("div", *found, class_="samples")] if found else []


def _sample(report: Report, index: int, image: bytes | None) -> Element:
    rows = [(one, sample) for one in sentences.ordered(report.results) for sample in one.worst if sample.index == index]
    sample = rows[0][1]
    label, golden = decision(report, sample.label), decision(report, sample.golden)
    others = [f"{decision(report, one.actual)} by {row.name}" for row, one in rows if one.actual != one.golden]
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


def decision(report: Report, index: int) -> str:
    """A label; what has none says so."""
    labels = report.model.labels
    return labels[index] if 0 <= index < len(labels) else "none" if index < 0 else str(index)


def changes(report: Report) -> list[Inside]:
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
        (decision(report, before), decision(report, after), f"{count}", f"{rows[before, after]}")
        for (before, after), count in counts.most_common(PAIRS)
    ]
    more = f"{len(counts) - PAIRS} more pairs are in report.json." if len(counts) > PAIRS else None
    head = ("PyTorch", "became", "times", "rows")
    note = "The whole confusion of each row is among its details."
    return [table("Changes", head, listed, "counts"), tag("p", note, more and f" {more}", class_="quiet")]


def _changed(result: Result) -> list[Decided]:
    return [one for one in result.decisions if one.golden != one.actual]


def confusion(report: Report, result: Result) -> Inside:
    """Golden down, actual across; of many classes the changes alone."""
    if not result.decisions:
        return None
    if len(report.model.labels) > CLASSES:
        pairs = sorted(_changed(result), key=lambda one: -one.count)[:PAIRS]
        rows = [(decision(report, one.golden), decision(report, one.actual), f"{one.count}") for one in pairs]
        if not rows:
            return tag("p", f"All {result.samples} decisions are PyTorch's.")
        return table("Decisions that changed", ("PyTorch", "became", "times"), rows, "counts")
    counts = {(one.golden, one.actual): one.count for one in result.decisions}
    down = range(len(report.model.labels))
    across = [*down, *([-1] if any(actual == -1 for _, actual in counts) else [])]
    body = [
        tag(
            "tr",
            tag("th", decision(report, before), scope="row"),
            *(_count(counts.get((before, after)), before == after) for after in across),
        )
        for before in down
    ]
    corner = tag("th", "PyTorch ↓ here →", scope="col")
    head = [corner, *(tag("th", decision(report, after), scope="col") for after in across)]
    return wide("Confusion", head, body, "confusion")


def _count(count: int | None, same: bool) -> Element:
    return tag("td", f"{count}", class_="same" if same else "changed") if count else tag("td")
