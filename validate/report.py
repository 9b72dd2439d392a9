"""The report: what was compared, how far it lies apart, what was allowed, and the verdict.

    write(report, Path("runs/digits/report/report.json"))
    report.exit_status                     # 0 only if everything expected was run and is within tolerance

`report.schema.json` beside this file is its JSON Schema, generated from these records.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from export.artifact import BadInput, room_for

_STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null")
SCHEMA = Path(__file__).with_name("report.schema.json")
SCHEMA_VERSION = 3

Status = Literal["pass", "fail", "error", "refused", "not_run"]
Language = Literal["python", "node", "chromium"]
Number = Annotated[float | None, Field(description="null: not a number")]


@dataclass(frozen=True)
class Judgement:
    """One measured value against its tolerance."""

    __pydantic_config__ = _STRICT

    measure: str
    """max_absolute, sqnr_db, agreement or metric_change."""
    measured: Number
    allowed: float
    upper: bool
    """Whether `allowed` is the greatest (true) or the least (false) value allowed."""
    headroom: Number
    """1 − measured ÷ allowed; negative: beyond."""
    within: bool
    reason: str
    """Why this much is allowed."""
    source: str
    """What `allowed` was measured on, or who asked for it."""
    by_default: float | None
    """What the table allows, where the configuration says otherwise."""


@dataclass(frozen=True)
class Histogram:
    """How many values lie how far from golden."""

    __pydantic_config__ = _STRICT

    edges: list[float]
    """Of the bins, in the output's unit: one more than counts. What is nearer than the first is in the first bin."""
    counts: list[int]


@dataclass(frozen=True)
class Output:
    """One output tensor against golden."""

    __pydantic_config__ = _STRICT

    name: str
    max_absolute: Number
    mean_absolute: Number
    max_relative: Number
    """Greatest absolute difference ÷ greatest absolute golden value."""
    sqnr_db: Number
    """Signal to quantization noise ratio; 300 stands for equal arrays."""
    cosine: Number
    not_finite: int
    """Values that are NaN or infinite."""
    worst: list[int]
    """Index of the greatest difference."""
    noise_floor: float
    """Greatest absolute difference between golden (float32) and the oracle (float64)."""
    histogram: Histogram | None
    """Of absolute differences; None where a value is no number."""
    judgements: list[Judgement]


@dataclass(frozen=True)
class Metric:
    """The task's metric on the golden samples."""

    __pydantic_config__ = _STRICT

    name: str
    golden: float
    actual: float
    change: float
    """actual − golden."""
    judgement: Judgement


@dataclass(frozen=True)
class Agreement:
    """Share of samples whose decision equals golden's."""

    __pydantic_config__ = _STRICT

    share: float
    """Of all samples but those ties that fell otherwise."""
    ties: int
    """Samples that golden itself decides by less than its noise floor."""
    judgement: Judgement


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call with one sample, after warm-up."""

    __pydantic_config__ = _STRICT

    median: float
    p90: float
    calls: int
    batch: int
    threads: int


@dataclass(frozen=True)
class Decided:
    """How many samples golden decided so and the artifact so."""

    __pydantic_config__ = _STRICT

    golden: int
    """Index of the label."""
    actual: int
    """Index of the label; -1: none, for a value is no number."""
    count: int


@dataclass(frozen=True)
class Sample:
    """One golden sample and how far its outputs lie apart."""

    __pydantic_config__ = _STRICT

    index: int
    """Among the golden samples."""
    difference: Number
    """The greatest absolute one of all its outputs."""
    label: int
    golden: int
    """What golden decides: the index of a label."""
    actual: int


@dataclass(frozen=True)
class FromFile:
    """Image files, prepared as the manifest says by an app's own means, against training's preparation."""

    __pydantic_config__ = _STRICT

    language: Language
    """In which it was decoded, resized and laid out."""
    samples: int
    input_steps: Number
    """Greatest difference of the inputs, in steps of 1/255."""
    sqnr_db: Number
    """Of the outputs against those of the same artifact on training's inputs."""
    probe_db: Number
    """SQNR of the outputs on the asymmetric probe against PyTorch's."""
    judgements: list[Judgement]


@dataclass(frozen=True)
class Layer:
    """One PyTorch module's output in an artifact."""

    __pydantic_config__ = _STRICT

    module: str
    """Path in the model, such as `features.4.block.2`."""
    operator: str
    """What the artifact computes it with."""
    tensor: str
    """What the artifact calls it."""
    sqnr_db: Number
    """Against PyTorch's; 300 stands for equal arrays."""
    steps: float | None
    """Greatest difference in quantization steps; None: no integers."""
    damage: Number
    """Noise that came in here: noise ÷ signal at this output less the greatest of those before it, at least 0."""


@dataclass(frozen=True)
class Culprit:
    """The first layer, in graph order, whose difference jumps."""

    __pydantic_config__ = _STRICT

    module: str
    operator: str
    tensor: str
    before_db: Number
    """Least SQNR of the layers before it; 300: it is the first."""
    after_db: Number


@dataclass(frozen=True)
class Localisation:
    """An artifact, layer by layer."""

    __pydantic_config__ = _STRICT

    artifact: str
    """`tflite/int8`."""
    runtime: str
    """What gave the layers' values, with its version."""
    samples: int
    layers: list[Layer]
    """In graph order."""
    culprit: Culprit | None
    """None: nothing jumps."""
    problem: str
    """Why there are no layers; empty: there are."""


@dataclass(frozen=True)
class Model:
    """Which model it is: two reports can be compared where these are equal."""

    __pydantic_config__ = _STRICT

    name: str
    """As in the configuration: mobilenet_v3_small."""
    labels: list[str]
    inputs: dict[str, list[int | str]]
    """Shapes by name."""
    outputs: dict[str, list[int | str]]


@dataclass(frozen=True)
class Baseline:
    """The earlier report that this one was compared with."""

    __pydantic_config__ = _STRICT

    path: str
    created: str
    checkpoint_sha256: str


@dataclass(frozen=True)
class Result:
    """One artifact in one runtime."""

    __pydantic_config__ = _STRICT

    target: str
    precision: str
    runtime: str
    backend: str
    """How the runtime computed it; empty where it has one way only."""
    runtime_version: str | None
    status: Status
    """fail: not within tolerance. error: no result. refused: the runtime says that it cannot run this artifact."""
    settled: bool
    """Whether the verdict may be a pass with it: it passed, its refusal is accepted, or it was not run and need not."""
    reason: str
    """Empty for a pass; else what is wrong."""
    flags: list[str]
    """Red flags: signs of a broken artifact that numbers alone may hide. Each is a failure."""
    warnings: list[str]
    """What a pass should not hide: little headroom, worse than the baseline."""
    outputs: list[Output]
    agreement: Agreement | None
    metric: Metric | None
    from_file: FromFile | None
    decisions: list[Decided]
    worst: list[Sample]
    """The samples with the greatest differences, and those decided otherwise, worst first."""
    latency_ms: Latency | None
    size_bytes: int | None
    samples: int
    """Golden inputs that were compared."""
    artifact_sha256: str | None
    command: str
    """Runs this row alone once more."""
    log: str | None
    """What the runtime printed; relative to the run's folder."""

    @property
    def name(self) -> str:
        """`tflite/int8 in litert xnnpack`."""
        return f"{self.target}/{self.precision} in {self.where}"

    @property
    def where(self) -> str:
        """`litert xnnpack`."""
        return f"{self.runtime} {self.backend}".rstrip()

    @property
    def headroom(self) -> float | None:
        """The least of all its judgements but those on image files, which are a row of their own."""
        judgements = [one for output in self.outputs for one in output.judgements]
        judgements += [one.judgement for one in (self.agreement, self.metric) if one]
        return _least_headroom(judgements)


@dataclass(frozen=True)
class Report:
    """All of it."""

    __pydantic_config__ = _STRICT

    schema_version: Literal[3]
    run: str
    verdict: Literal["pass", "fail"]
    checkpoint_sha256: str
    model: Model
    task: str
    created: str
    """UTC, ISO 8601."""
    machine: dict[str, str | int | None]
    settings: dict[str, Any]
    """What was asked for: the section `[validate]`."""
    warnings: list[str]
    """Of the whole, such as golden decisions that are all one class."""
    baseline: Baseline | None
    results: list[Result]
    localisations: list[Localisation]

    @property
    def exit_status(self) -> int:
        """0: pass. 1: fail."""
        return 0 if self.verdict == "pass" else 1


def _least_headroom(judgements: list[Judgement]) -> float | None:
    known = [one.headroom for one in judgements if one.headroom is not None]
    return min(known) if known else None


def verdict(results: list[Result]) -> Literal["pass", "fail"]:
    """Nothing compared is no pass."""
    compared = any(result.status == "pass" for result in results)
    return "pass" if compared and all(result.settled for result in results) else "fail"


@cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)


def schema() -> dict[str, Any]:
    """The JSON Schema of report.json."""
    found = _adapter().json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "report.json of Anywhere", **found}


def write(report: Report, path: Path) -> None:
    """As JSON, beside its place and renamed. Raises NoRoom."""
    with room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(_adapter().dump_json(report, indent=1))
        new.replace(path)


def read(path: Path) -> Report:
    """What `write` wrote. Raises BadInput for what is no report, or one of another schema version."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not JSON"
        raise BadInput(
            f"report {path}: cannot be read ({reason}). Give a report.json of `anywhere validate`."
        ) from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise BadInput(
            f"report {path}: schema version {version}, this version reads {SCHEMA_VERSION}. Validate that run again: "
            "anywhere validate."
        )
    try:
        return _adapter().validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise BadInput(
            f"report {path}: was truncated or altered ({where}: {problem['msg']}). Validate that run again: anywhere "
            "validate."
        ) from error


STYLES: dict[Status, str] = {
    "pass": "green",
    "fail": "bold red",
    "error": "bold red",
    "refused": "red",
    "not_run": "red",
}


def render(report: Report) -> RenderableType:
    """The table, and a sentence for each row that is no pass; fits 100 columns."""
    metric = next((result.metric.name for result in report.results if result.metric), "metric")
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("artifact", "runtime", "status"):
        rows.add_column(name, no_wrap=True)
    for name in ("SQNR", "max |d|", "agree", metric, "ms", "MB", "room"):
        rows.add_column(name, justify="right", no_wrap=True)
    for result in report.results:
        rows.add_row(*_cells(result))
    for language in get_args(Language):
        prepared = [one.from_file for one in report.results if one.from_file and one.from_file.language == language]
        if prepared:
            rows.add_row(*_file_cells(language, prepared))
    return Group(rows, *_sentences(report), _verdict(report))


def _sentences(report: Report) -> list[Text]:
    """Why each row is no pass. Rows that were not run and need not are one sentence for each reason."""
    found, optional = [], dict[str, list[Result]]()
    for result in report.results:
        if result.status == "not_run" and result.settled:
            optional.setdefault(result.reason, []).append(result)
        elif result.status != "pass":
            log = f" Log: runs/{report.run}/{result.log}" if result.log else ""
            accepted = " Accepted by the configuration." if result.settled else ""
            found.append(Text.assemble((f"{result.name}: ", "bold"), result.reason + accepted + log))
    for reason, rows in optional.items():
        places = ", ".join(dict.fromkeys(row.where for row in rows))
        found.append(Text.assemble((f"not run in {places}: ", "bold"), reason))
    return found


def _cells(result: Result) -> list[str | Text]:
    worst = min(result.outputs, key=lambda output: -1e9 if output.sqnr_db is None else output.sqnr_db, default=None)
    metric, latency = result.metric, result.latency_ms
    style = "yellow" if result.settled and result.status != "pass" else STYLES[result.status]
    return [
        f"{result.target}/{result.precision}",
        result.where,
        Text(result.status.replace("_", " "), style),
        _number(worst.sqnr_db, ".1f") if worst else "",
        _number(worst.max_absolute, ".1e") if worst else "",
        f"{result.agreement.share:.4f}" if result.agreement else "",
        f"{metric.actual:.4f}" if metric else "",
        f"{latency.median:.2f}" if latency else "",
        f"{result.size_bytes / 1e6:.2f}" if result.size_bytes is not None else "",
        "" if result.headroom is None else f"{result.headroom:.0%}",
    ]


def _file_cells(language: str, prepared: list[FromFile]) -> list[str | Text]:
    """Of all artifacts that were fed from image files in a language the worst: the outputs' SQNR, the inputs' steps."""
    judgements = [judgement for one in prepared for judgement in one.judgements]
    status: Status = "pass" if all(one.within for one in judgements) else "fail"
    room = _least_headroom(judgements)
    return [
        "image files",
        f"in {language}",
        Text(status, STYLES[status]),
        _worst([one.sqnr_db for one in prepared], min, ".1f"),
        _worst([one.input_steps for one in prepared], max, ".0f") + "/255",
        *[""] * 4,
        "" if room is None else f"{room:.0%}",
    ]


def _worst(values: list[float | None], choose: Callable[[list[float]], float], form: str) -> str:
    known = [value for value in values if value is not None]
    return _number(choose(known) if len(known) == len(values) else None, form)


def _number(value: float | None, form: str) -> str:
    return "NaN" if value is None else format(value, form)


def _verdict(report: Report) -> Text:
    results = report.results
    passed = sum(result.status == "pass" for result in results)
    failed = sum(not result.settled for result in results)
    sampled = sorted({result.samples for result in results if result.samples})
    samples = (
        "nothing was run"
        if not sampled
        else f"{sampled[0]} golden inputs"
        if len(sampled) == 1
        else f"{sampled[0]} to {sampled[-1]} golden inputs"
    )
    if report.verdict == "fail":
        return Text(f"fail: {failed} of {len(results)} did not pass ({samples}).", "bold red")
    threads = max(result.latency_ms.threads for result in results if result.latency_ms)
    others = [
        f"{count} {what}"
        for what, count in (
            ("refused and accepted", sum(result.status == "refused" for result in results)),
            ("not run", sum(result.status == "not_run" for result in results)),
        )
        if count
    ]
    rest = f" ({', '.join(others)})" if others else ""
    return Text(
        f"pass: {passed} of {len(results)} within tolerance{rest} on {samples}; latency of one image with up to "
        f"{threads} threads.",
        "green",
    )


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n")
