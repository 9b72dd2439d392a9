"""The pictures of a report: differences, SQNR along depth, what each row costs, and golden inputs as PNG.

    page.append(histogram(output))

SVG without a colour of its own: classes, which page.css paints for light, dark and paper. What a picture shows is told
to those who cannot see it by its label, and stands in a table beside it.
"""

import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

from measures import tolerance
from records.tensor import Array
from validate.report.html import Inside, tag
from validate.report.records import Histogram, Localisation, Output, Repair, Report, Result
from validate.report.sentences import EQUAL_DB

THUMBNAIL = 96
"""Pixels of a golden input's longer side, at most."""
LARGE = 320
"""Pixels of the longer side of a picture with something drawn on it, at most."""
QUALITY = 85
"""Of a JPEG file, 0 to 95."""
SHAPES = ("circle", "square", "triangle", "diamond", "hexagon", "fall", "cross", "star")
"""Of targets in a scatter plot."""
COLOURS = 7
"""Of precisions: classes c0, c1 …"""


@dataclass(frozen=True)
class Scale:
    """Numbers to places along an axis."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value on the axis; a value beyond an end has the place of that end."""
        low, high, value = (self._warped(number) for number in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def _warped(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.logarithmic else value

    @property
    def ticks(self) -> list[float]:
        """Return round numbers on the axis: powers of ten (a few of many), or steps of equal size."""
        if self.logarithmic:
            first, last = math.floor(math.log10(self.low) + 1e-9), math.ceil(math.log10(self.high) - 1e-9)
            factors, every = ((1, 2, 5), 1) if last - first < 4 else ((1,), max(1, (last - first + 2) // 5))
            numbers = [factor * 10.0**power for power in range(first, last + 1, every) for factor in factors]
            return [number for number in numbers if self.low * 0.999 <= number <= self.high * 1.001]
        step = _round_step((self.high - self.low) / 4)
        return [step * count for count in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1)]


def _round_step(about: float) -> float:
    """Return the least of 1, 2 or 5 times a power of ten that is not below `about`."""
    power = 10.0 ** math.floor(math.log10(about or 1.0))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * 0.999)


def decades(least: float, greatest: float, start: float, end: float) -> Scale:
    """Return a logarithmic scale from one power of ten to another, around the numbers from least to greatest."""
    low, high = 10.0 ** math.floor(math.log10(least)), 10.0 ** math.ceil(math.log10(greatest))
    return Scale(low, high if high > low else low * 10, start, end, logarithmic=True)


def _svg(width: float, height: float, label: str, *inside: Inside, class_: str = "") -> Element:
    return tag("svg", *inside, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, class_=class_)


def _label(x: float, y: float, text: str, anchor: str = "middle", class_: str | None = None) -> Element:
    return tag("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=class_)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    return tag("line", x1=round(x1, 1), y1=round(y1, 1), x2=round(x2, 1), y2=round(y2, 1), class_=class_)


def _number(value: float) -> str:
    """Return a number in few letters: 0.1, 1000, 1e-6."""
    return f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.0e}".replace("e-0", "e-")


def _axes(x: Scale, y: Scale, what_x: str, what_y: str) -> list[Element]:
    """Return grid, ticks and titles of both axes; y's start is the bottom."""
    elements = [_line(x.start, y(tick), x.end, y(tick), "grid") for tick in y.ticks]
    elements += [_label(x.start - 4, y(tick) + 3, _number(tick), "end") for tick in y.ticks]
    elements += [_line(x(tick), y.start, x(tick), y.start + 3, "axis") for tick in x.ticks]
    elements += [_label(x(tick), y.start + 13, _number(tick)) for tick in x.ticks]
    elements.append(_line(x.start, y.start, x.end, y.start, "axis"))
    elements.append(_label((x.start + x.end) / 2, y.start + 27, what_x, class_="what"))
    elements.append(_label(2, y.end - 8, what_y, "start", "what"))
    return elements


def span(results: Iterable[Result]) -> tuple[float, float] | None:
    """Return the least and greatest edge of all histograms, so that rows can share one axis; None: there are none."""
    edges = [edge for result in results for output in result.outputs for edge in _edges(output)]
    return (min(edges), max(edges)) if edges else None


def _edges(output: Output) -> list[float]:
    has_bars = output.histogram and output.max_absolute
    return [output.histogram.edges[0], output.histogram.edges[-1]] if has_bars and output.histogram else []


def strip(output: Output, ends: tuple[float, float]) -> Element | None:
    """Return a small histogram on an axis that all rows share; None: there is nothing to draw."""
    if not _edges(output) or output.histogram is None:
        return None
    x = decades(*ends, 0, 120)
    return _svg(
        120,
        18,
        f"differences up to {output.max_absolute:.1e}",
        *(_line(x(tick), 0, x(tick), 18, "grid") for tick in x.ticks),
        tag("path", d=_steps(output.histogram, x, Scale(0, max(output.histogram.counts), 18, 1)), class_="bars"),
        class_="strip",
    )


def _steps(histogram: Histogram, x: Scale, y: Scale) -> str:
    """Return the outline of bars as an SVG path."""
    moves = [f"M{x(histogram.edges[0]):.1f} {y(0):.1f}"]
    for right, count in zip(histogram.edges[1:], histogram.counts, strict=True):
        moves.append(f"V{y(count):.1f}H{x(right):.1f}")
    return "".join(moves) + f"V{y(0):.1f}Z"


def histogram(output: Output) -> Element | None:
    """Return an output's histogram of differences with its noise floor and, if judged, the greatest one allowed."""
    bars = output.histogram
    if not _edges(output) or bars is None:
        return None
    limit = next((judgement.allowed for judgement in output.judgements if judgement.measure == "max_absolute"), None)
    marks = [(output.noise_floor, "noise floor", "floor"), (limit or 0.0, "allowed", "limit")]
    marks = [mark for mark in marks if mark[0] > 0]
    values = [bars.edges[0], bars.edges[-1], *(value for value, _, _ in marks)]
    x = decades(min(values), max(values), 38, 340)
    y = Scale(0, max(bars.counts), 132, 26)
    drawn: list[Inside] = [*_axes(x, y, f"|difference| of {output.name}", "values")]
    drawn.append(tag("path", d=_steps(bars, x, y), class_="bars"))
    for height, (value, name, style) in enumerate(marks):
        side = "end" if x(value) > 250 else "start"
        drawn.append(_line(x(value), 16, x(value), 132, style))
        drawn.append(_label(x(value) + (-3 if side == "end" else 3), 24 + 11 * height, name, side, style))
    return _svg(360, 164, f"Histogram of the differences of {output.name}", *drawn, class_="chart")


def depth(localisation: Localisation) -> Element | None:
    """Return SQNR layer by layer with the culprit marked; None: there are no layers."""
    layers = localisation.layers
    if not layers:
        return None
    values = [min(layer.sqnr_db or 0.0, EQUAL_DB) for layer in layers]
    top = max((value for value in values if value < EQUAL_DB), default=EQUAL_DB)
    x, y = Scale(0, max(len(layers) - 1, 1), 34, 704), Scale(min(0.0, *values), max(top, 10.0), 190, 22)
    places = [(x(at), y(value)) for at, value in enumerate(values)]
    drawn: list[Inside] = [*_axes(x, y, "layer, in graph order", "SQNR, dB")]
    drawn.append(tag("path", d="M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places), class_="depth"))
    for layer, (a, b) in zip(layers, places, strict=True):
        text = f"{layer.module} ({layer.operator}): {'NaN' if layer.sqnr_db is None else f'{layer.sqnr_db:.1f} dB'}"
        drawn.append(tag("circle", tag("title", text), cx=round(a, 1), cy=round(b, 1), r=2.5, class_="layer"))
    culprit = localisation.culprit
    place = next((at for at, layer in enumerate(layers) if culprit and layer.tensor == culprit.tensor), None)
    if culprit and place is not None:
        a, b = places[place]
        side, away = ("end", -8) if a > 360 else ("start", 8)
        drawn.append(tag("circle", cx=round(a, 1), cy=round(b, 1), r=5.5, class_="culprit"))
        drawn.append(_label(a + away, max(b - 6, 32), culprit.module, side, "limit"))
    return _svg(720, 224, f"SQNR along the depth of {localisation.artifact}", *drawn, class_="wide chart")


KINDS = ("8 bits, other ranges", "layers of 16 bits", "layers in float32")
"""Attempts of a repair, each with a shape and a colour of its own."""
HIGH_DB = 60.0
"""SQNR that is drawn as the top of a repair: with all layers in float32 it would be 300."""


def repair(name: str, tried: Repair) -> Element:
    """Return SQNR over size of every model that a repair of an artifact tried, with the one that ships marked."""
    steps = [(number, step) for number, step in enumerate(tried.curve) if step.size_bytes]
    sizes = [step.size_bytes / 1e6 for _, step in steps]
    values = [min(step.sqnr_db or 0.0, HIGH_DB) for _, step in steps]
    room, least = 0.1 * ((max(sizes) - min(sizes)) or min(sizes)), tolerance.INTEGER_DB
    x = Scale(min(sizes) - room, max(sizes) + room, 34, 704)
    y = Scale(min(0.0, *values), max(*values, 1.2 * least), 190, 34)
    drawn: list[Inside] = [*_axes(x, y, "size, MB", f"SQNR on calibration samples, dB, {HIGH_DB:.0f} at most")]
    drawn.append(_line(x.start, y(least), x.end, y(least), "limit"))
    drawn.append(_label(x.start + 2, y(least) - 4, "tolerance", "start", "limit"))
    for (number, step), size, value in zip(steps, sizes, values, strict=True):
        kind = 2 if step.keep_float else 1 if step.keep_16 else 0
        words = f"{step.keep_16} layers of 16 bits, {step.keep_float} in float32, ranges by {step.ranges}"
        time = "" if step.latency_ms is None else f", {step.latency_ms:.2f} ms"
        ratio = "NaN" if step.sqnr_db is None else f"{step.sqnr_db:.1f} dB"
        drawn.append(shape(kind, f"c{kind}", x(size), y(value), tag("title", f"{words}: {ratio}{time}")))
        if number == tried.ships:
            drawn.append(tag("circle", cx=round(x(size), 1), cy=round(y(value), 1), r=8, class_="ships"))
    for kind, text in enumerate(KINDS):
        place = 240 + 150 * kind
        drawn += [shape(kind, f"c{kind}", place, 11), _label(place + 9, 14, text, "start")]
    return _svg(720, 224, f"SQNR over size of what a repair of {name} tried", *drawn, class_="wide chart")


def costs(report: Report) -> list[Element]:
    """Return two pictures over latency: what each row loses of the metric, and its size; none without such rows."""
    rows = [result for result in report.results if result.latency_ms and result.metric and result.size_bytes]
    if not rows:
        return []
    mark = marker(report)
    metric = rows[0].metric.name if rows[0].metric else ""
    changes = [100 * result.metric.change for result in rows if result.metric]
    allowed = min(100 * result.metric.judgement.allowed for result in rows if result.metric)
    ends = min(-1.2 * allowed, *changes), max(1.2 * allowed, *changes)
    sizes = [result.size_bytes / 1e6 for result in rows if result.size_bytes]
    return [
        _scatter(rows, mark, changes, Scale(*ends, 196, 26), f"change in {metric}, points", f"Change in {metric}"),
        _scatter(rows, mark, sizes, Scale(0, 1.08 * max(sizes), 196, 26), "size, MB", "Size"),
    ]


def _scatter(
    rows: Sequence[Result],
    mark: Callable[[Result, float, float], Element],
    values: Sequence[float],
    y: Scale,
    what: str,
    label: str,
) -> Element:
    times = [row.latency_ms.median for row in rows if row.latency_ms]
    x = Scale(min(times) / 1.3, max(times) * 1.3, 38, 352, logarithmic=True)
    drawn = _axes(x, y, "median latency of one image, ms", what)
    if y.low < 0:
        drawn.append(_line(x.start, y(0), x.end, y(0), "axis"))
    points = zip(rows, times, values, strict=True)
    drawn += [mark(row, x(time), y(value)) for row, time, value in points]
    return _svg(360, 232, f"{label} against latency; the numbers are in the table of all rows", *drawn, class_="chart")


def marker(report: Report) -> Callable[[Result, float, float], Element]:
    """Return the function that draws a row's mark: its target's shape in its precision's colour."""
    targets, precisions = kinds(report)

    def mark(row: Result, x: float, y: float) -> Element:
        time = f"{row.latency_ms.median:.2f} ms, " if row.latency_ms else ""
        metric = f"{row.metric.name} {row.metric.actual:.4f}, " if row.metric else ""
        title = tag("title", f"{row.name}: {time}{metric}{(row.size_bytes or 0) / 1e6:.2f} MB")
        return shape(targets.index(row.target), f"c{precisions.index(row.precision) % COLOURS}", x, y, title)

    return mark


def kinds(report: Report) -> tuple[list[str], list[str]]:
    """Return targets and precisions in the order of the rows."""
    targets = dict.fromkeys(result.target for result in report.results)
    return list(targets), list(dict.fromkeys(result.precision for result in report.results))


def shape(which: int, colour: str, x: float, y: float, *inside: Inside) -> Element:
    """Return the shape of `SHAPES` with that number, around a point."""
    corners = {
        "square": "M-4-4H4V4H-4Z",
        "triangle": "M0-5L5 4H-5Z",
        "diamond": "M0-5.5L5.5 0L0 5.5L-5.5 0Z",
        "hexagon": "M-2.7-4.6H2.7L5.3 0L2.7 4.6H-2.7L-5.3 0Z",
        "fall": "M0 5L5-4H-5Z",
        "cross": "M-5-2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z",
        "star": "M0-6L1.6-1.8L6-1.8L2.4.9L3.7 5.2L0 2.6L-3.7 5.2L-2.4.9L-6-1.8L-1.6-1.8Z",
    }
    name = SHAPES[which % len(SHAPES)]
    if name == "circle":
        return tag("circle", *inside, cx=round(x, 1), cy=round(y, 1), r=4.5, class_=f"mark {colour}")
    return tag("path", *inside, d=corners[name], transform=f"translate({x:.1f} {y:.1f})", class_=f"mark {colour}")


def sign(which: int, colour: str) -> Element:
    """Return a mark by itself, for a legend."""
    return tag("svg", shape(which, colour, 7, 7), viewBox="0 0 14 14", aria_hidden="true", class_="sign")


def pixels(image: Array) -> Array:
    """Return an image (3, H, W) float32 RGB in [0, 1] as (H, W, 3) uint8."""
    return np.round(np.clip(np.moveaxis(image, 0, 2), 0, 1) * 255).astype(np.uint8)


def png(pixels: Array, longest: int = THUMBNAIL) -> bytes:
    """Return a picture (H, W, 3) uint8 as a PNG file, reduced to so many pixels on its longer side."""
    return _file(pixels, longest, "PNG", optimize=True)


def jpeg(pixels: Array, longest: int = LARGE) -> bytes:
    """Return a picture (H, W, 3) uint8 as a JPEG file, reduced likewise; thin lines keep their colours."""
    return _file(pixels, longest, "JPEG", optimize=True, quality=QUALITY, subsampling=0)


def _file(pixels: Array, longest: int, kind: str, **options: bool | int) -> bytes:
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
