"""What the page says of decisions: golden inputs that are worth a look, and which class became which."""

from collections import Counter
from collections.abc import Mapping
from xml.etree.ElementTree import Element

from validate.report import sentences
from validate.report.html import Inside, table, tag, url, wide
from validate.report.records import Decided, Report, Result

CLASSES = 20
"""Of which the whole confusion is shown; of more, the changes alone."""
PAIRS = 15
"""Changes of decision that are listed."""
SAMPLES = 24
"""Golden inputs that are shown as images: the rest are named by their index."""


def chosen(report: Report) -> list[int]:
    """Return golden inputs worth an image: first those that most rows decide otherwise, then those farthest off."""
    changed, named = Counter[int](), Counter[int]()
    for result in report.results:
        for sample in result.worst:
            named[sample.index] += 1
            changed[sample.index] += sample.agreement < 1
    return sorted(named, key=lambda index: (-changed[index], -named[index], index))[:SAMPLES]


def samples(report: Report, images: Mapping[int, bytes]) -> list[Inside]:
    """Return the chosen golden inputs as pictures. images: PNG files by index."""
    figures = [_sample(report, index, images.get(index)) for index in chosen(report)]
    note = "Golden inputs that rows decide otherwise, then those on which they lie farthest from PyTorch."
    return [tag("p", note, class_="quiet"), tag("div", *figures, class_="samples")] if figures else []


def _sample(report: Report, index: int, image: bytes | None) -> Element:
    rows = [(row, sample) for row in sentences.ordered(report.results) for sample in row.worst if sample.index == index]
    sample = rows[0][1]
    others = [f"{sample.actual} by {row.name}" for row, sample in rows if sample.agreement < 1]
    text = f"{f'label {sample.label}, ' if sample.label else ''}PyTorch {sample.golden}"
    caption: list[Inside] = [tag("strong", f"#{index}"), f" {text}"]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        caption.append(tag("span", f"{', '.join(others[:3])}{more}", class_="changed"))
    else:
        caption.append(tag("span", f"decided alike; among the farthest off in {len(rows)} rows", class_="quiet"))
    picture = tag("img", src=url(image, "png"), alt=f"golden input {index}: {text}") if image else None
    return tag("figure", picture, tag("figcaption", *caption), id=f"sample-{index}")


def changes(report: Report) -> list[Inside]:
    """Return, over all rows, which decision became which, most often first."""
    counts, rows = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for result in report.results:
        for pair in _changed(result):
            counts[pair.golden, pair.actual] += pair.count
            rows[pair.golden, pair.actual] += 1
    if not any(result.decisions for result in report.results):
        return []
    if not counts:
        return [tag("p", "None: every row decides each of its inputs as PyTorch does.")]
    listed = [
        (before, after, f"{count}", f"{rows[before, after]}") for (before, after), count in counts.most_common(PAIRS)
    ]
    more = f"{len(counts) - PAIRS} more pairs are in report.json." if len(counts) > PAIRS else None
    head = ("PyTorch", "became", "times", "rows")
    note = "The whole confusion of each row is among its details."
    return [table("Changes", head, listed, "counts"), tag("p", note, more and f" {more}", class_="quiet")]


def _changed(result: Result) -> list[Decided]:
    return [pair for pair in result.decisions if pair.golden != pair.actual]


def confusion(report: Report, result: Result) -> Inside:
    """Return golden's decisions down, the row's across; of many names the changes alone."""
    if not result.decisions:
        return None
    counts = {(pair.golden, pair.actual): pair.count for pair in result.decisions}
    down = list(dict.fromkeys([*report.model.labels, *(before for before, _ in counts)]))
    if len(down) > CLASSES:
        pairs = sorted(_changed(result), key=lambda pair: -pair.count)[:PAIRS]
        rows = [(pair.golden, pair.actual, f"{pair.count}") for pair in pairs]
        if not rows:
            return tag("p", f"All {result.decided} decisions are PyTorch's.")
        return table("Decisions that changed", ("PyTorch", "became", "times"), rows, "counts")
    across = list(dict.fromkeys([*down, *(after for _, after in counts)]))
    body = [
        tag(
            "tr",
            tag("th", before, scope="row"),
            *(_count(counts.get((before, after)), before == after) for after in across),
        )
        for before in down
    ]
    corner = tag("th", "PyTorch ↓ here →", scope="col")
    head = [corner, *(tag("th", after, scope="col") for after in across)]
    return wide("Confusion", head, body, "confusion")


def _count(count: int | None, same: bool) -> Element:
    return tag("td", f"{count}", class_="same" if same else "changed") if count else tag("td")
