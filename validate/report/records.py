"""The report: what was compared, how far it lies apart, what was allowed, and the verdict.

    write(report, Path("runs/digits/report/report.json"))
    report.exit_status                     # 0 only if everything expected was run and is within tolerance

`report.schema.json` beside this file is its JSON Schema, generated from these records.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from records.errors import BadInput, Exit, room_for, shortened
from records.schema import read_json
from validate.runtimes.job import Latency

_STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null", allow_inf_nan=False)
SCHEMA = Path(__file__).with_name("report.schema.json")
SCHEMA_VERSION: Literal[8] = 8

Status = Literal["pass", "fail", "error", "refused", "not_run"]
Outcome = Literal["pass", "tight", "blocking", "excused"]
Language = Literal["python", "node", "chromium"]
Number = Annotated[float | None, Field(description="null: not a number")]


@dataclass(frozen=True)
class Judgement:
    """One measured value against its tolerance."""

    __pydantic_config__ = _STRICT

    measure: str
    """max_absolute, sqnr_db, agreement or metric_fall; probe_absolute; of files input_steps, file_db or probe_db."""
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
    """The task's metric on the golden samples, and on further ones."""

    __pydantic_config__ = _STRICT

    name: str
    golden: float
    actual: float
    change: float
    """actual − golden."""
    judgement: Judgement
    """Of the least that the fall is, with 95 % confidence."""
    needed: int | None = None
    """Samples that would tell whether more is lost than allowed; None: these do."""


@dataclass(frozen=True)
class Agreement:
    """Share of samples, golden and further ones, whose decision equals PyTorch's."""

    __pydantic_config__ = _STRICT

    share: float
    """Of all samples but those ties that fell otherwise."""
    ties: int
    """Samples that golden itself decides by less than what is allowed may turn over."""
    judgement: Judgement


@dataclass(frozen=True)
class Decided:
    """How often golden decided so and the artifact so."""

    __pydantic_config__ = _STRICT

    golden: str
    """In the task's words: a label."""
    actual: str
    """Likewise; `none`, where a value is no number."""
    count: int


@dataclass(frozen=True)
class Sample:
    """One golden sample and how far its outputs lie apart."""

    __pydantic_config__ = _STRICT

    index: int
    """Among the golden samples."""
    difference: Number
    """The greatest absolute one of all its outputs."""
    label: str
    """What is right, in the task's words; of more than one decision the shares: `cat 61 %, dog 39 %`."""
    golden: str
    """What golden decides."""
    actual: str
    agreement: float
    """Share of its decisions that are golden's."""


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
class Probe:
    """One output on one pattern, an input unlike golden's, against PyTorch's."""

    __pydantic_config__ = _STRICT

    name: str
    """black, white, checkerboard, noise or shifted; `96×160`: golden samples at that height and width."""
    output: str
    sqnr_db: Number
    max_absolute: Number
    noise_floor: float
    """What rounding alone leads to here: on an image all alike it may be far more than on golden."""
    judgement: Judgement | None
    """None: of integers, which have to be finite and must not collapse."""


@dataclass(frozen=True)
class Attempt:
    """One model in integers that a repair tried, measured on calibration samples that set none of its ranges."""

    __pydantic_config__ = _STRICT

    ranges: str
    """The method that set them."""
    keep_16: int
    """Layers whose activations had 16 bits."""
    keep_float: int
    """Layers in float32."""
    sqnr_db: Number
    """As the tolerance measures it; None: it could not be had, or a value was no number."""
    agreement: float
    size_bytes: int
    latency_ms: Number
    """Median of one sample in one thread, where it was converted."""


@dataclass(frozen=True)
class Repair:
    """What `anywhere export --auto` tried, in order."""

    __pydantic_config__ = _STRICT

    layers: int
    """Of the model."""
    samples: int
    """That the last attempt was measured on."""
    ships: int
    """Index in `curve` of the model that the artifact is; 0: the one without a repair."""
    meets: bool
    """Whether that met the tolerance."""
    curve: list[Attempt]


@dataclass(frozen=True)
class Further:
    """Held-out samples beyond golden (`--decisions`), on which agreement and metric are judged, too: all or none."""

    __pydantic_config__ = _STRICT

    samples: int
    """That the decisions were judged on beside golden; 0: all would have taken too long."""
    offered: int
    """All that there were."""
    seconds: float
    """That they took; of none, that all would have taken by golden's own time."""
    fast: str = ""
    """Of none: a runtime of the same artifact that took them; empty: none did."""
    differ: int | None = None
    """Golden inputs that this row decides otherwise than that runtime."""


@dataclass(frozen=True)
class Quantization:
    """How the integers of an artifact came about, as its manifest says."""

    __pydantic_config__ = _STRICT

    calibration_samples: int
    """All of this checkpoint's calibration; none of them is golden."""
    halves_sqnr_db: Number
    """SQNR between the models of two halves of the calibration: whether its samples are enough."""
    keep_float: list[str]
    """Layers that stay in float32."""
    keep_16: list[str]
    """Layers whose activations have 16 bits."""
    repair: Repair | None
    """None: none was asked for."""


@dataclass(frozen=True)
class Layer:
    """One PyTorch module's output in an artifact."""

    __pydantic_config__ = _STRICT

    module: str
    """Path in the model, such as `features.4.block.2`."""
    modules: list[str]
    """All it computes since the layer before it: a convolution and the BatchNorm that went into it. The last may be
    `module` itself."""
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
    modules: list[str]
    """All that is computed since the layer before it: it is one of these."""
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
class Lint:
    """What of a TFLite file runs on the fast path of a phone, as its manifest says. Advice: it fails nothing."""

    __pydantic_config__ = _STRICT

    artifact: str
    """`tflite/int8`."""
    runtime: str
    """Whose XNNPACK was asked: `LiteRT 2.3.0`."""
    operators: int
    """Of the file's main graph, but for what is computed from constants alone."""
    in_xnnpack: int
    """Operators that XNNPACK takes, as measured."""
    parts: int
    """In how many pieces; 0: it was not asked, or takes nothing."""
    on_gpu_list: int
    """Operators on the GPU delegate's published list; not measured."""
    flex: int
    """TensorFlow's own operators, which an app has to ship besides."""
    custom: int
    """Operators that an app has to bring itself."""
    int64: int
    """Operators through which integers of 64 bits flow."""
    many_axes: int
    """Operators through which tensors of more than four axes flow."""
    sentences: list[str]
    """The first is about XNNPACK, the second about the GPU delegate."""


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
    outcome: Outcome
    """pass. tight: a pass with little headroom. blocking: it keeps the verdict from being a pass. excused: it has no
    result and need not, for its refusal is accepted, or it was not run and need not be."""
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
    probes: list[Probe]
    """Patterns; a slow runtime takes the first ones, and an older checkpoint has none."""
    quantization: Quantization | None
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
    stopped_in: list[str] = field(default_factory=list)
    """Modules that the operator belongs to at which the runtime stopped: one, or all with that kind of operator where
    the runtime named no more than the kind. Empty: it did not stop, or named none that is known."""
    further: Further | None = None
    """None: there were none for this row."""

    @property
    def decided(self) -> int:
        """Return how many samples agreement, metric and decisions are of: golden's, and further ones."""
        return self.samples + (self.further.samples if self.further else 0)

    @property
    def name(self) -> str:
        """Return the row's name: `tflite/int8 in litert xnnpack`."""
        return f"{self.target}/{self.precision} in {self.where}"

    @property
    def where(self) -> str:
        """Return runtime and backend: `litert xnnpack`."""
        return f"{self.runtime} {self.backend}".rstrip()

    @property
    def blocking(self) -> bool:
        """True if the verdict is no pass because of it."""
        return self.outcome == "blocking"

    @property
    def headroom(self) -> float | None:
        """Return the least headroom of all its judgements but those of image files, which have a row of their own."""
        judgements = [judgement for output in self.outputs for judgement in output.judgements]
        judgements += [probe.judgement for probe in self.probes if probe.judgement]
        judgements += [part.judgement for part in (self.agreement, self.metric) if part]
        return _least_headroom(judgements)


@dataclass(frozen=True)
class Report:
    """All of it."""

    __pydantic_config__ = _STRICT

    schema_version: Literal[8]
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
    lints: list[Lint] = field(default_factory=list)
    """Of TFLite files; a report from before there were any has none."""

    @property
    def exit_status(self) -> Exit:
        """Return the exit status of the command that made the report."""
        return Exit.PASSED if self.verdict == "pass" else Exit.FAILED


def _least_headroom(judgements: list[Judgement]) -> float | None:
    values = [judgement.headroom for judgement in judgements if judgement.headroom is not None]
    return min(values) if values else None


def verdict(results: list[Result]) -> Literal["pass", "fail"]:
    """Return pass if something was compared and no row blocks, else fail."""
    compared = any(result.status == "pass" for result in results)
    return "pass" if compared and not any(result.blocking for result in results) else "fail"


@cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of report.json."""
    properties = _adapter().json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "report.json of Anywhere", **properties}


def write(report: Report, path: Path) -> None:
    """Write a report as JSON, beside its place and renamed into it. Raises NoRoom."""
    with room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(_adapter().dump_json(report, indent=1))
        new.replace(path)


def read(path: Path) -> Report:
    """Return the report that `write` wrote. Raises BadInput for anything else, and for another schema version."""
    values = read_json(path, f"report {path}:", "Give a report.json of `anywhere validate`.")
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise BadInput(
            f"report {path}: schema version {shortened(version)}, this version reads {SCHEMA_VERSION}. Validate that "
            "run again: anywhere validate."
        )
    try:
        return _adapter().validate_json(json.dumps(values))  # of JSON, for it may hold what is no text
    except ValidationError as error:
        problem = error.errors()[0]
        where = shortened(".".join(map(str, problem["loc"])))
        raise BadInput(
            f"report {path}: was truncated or altered ({where}: {shortened(problem['msg'])}). Validate that run again: "
            "anywhere validate."
        ) from error


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
