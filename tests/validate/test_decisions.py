"""Decisions on further held-out samples: whose they are, what they turn over, and who takes none."""

import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors.numpy import save_file
from torch import nn

from export.run import Run
from export.target import find, plan
from pipeline import config as configs
from pipeline import further
from pipeline.adopt import Wanted, adopt
from pipeline.checkpoint import CONFIG, Checkpoint
from pipeline.config import DataConfig
from pipeline.data import load
from pipeline.torchvision_sets import downloaded
from pipeline.train import settle, train
from records.errors import BadInput
from records.golden import INPUT, Actual, Further, Golden, Proof, flat
from records.sealed import fingerprints
from records.tensor import Array, Tensor
from tests.conftest import TINY, Said, scans
from tests.kept import bring
from tests.validate.judge.test_judge import CLASSES, artifact, measured, noisy
from tests.validate.report import reports
from validate.further import NO_INTEGERS, answered
from validate.judge import fast
from validate.judge.judge import result_of
from validate.measure import Measurement
from validate.plan import Row
from validate.report import reproduce, sentences
from validate.report.records import Further as RecordedFurther
from validate.report.records import Report, Result
from validate.report.terminal import render
from validate.runtimes.job import Budget, Job, Taken
from validate.runtimes.runner import Session
from workers import registry

REPORT = Path("runs/tiny/report/report.json")


# Judging


def samples(count: int, wrong: int, precision: str, seed: int) -> tuple[Golden, Array]:
    """Samples that PyTorch decides rightly, the first ones by a hair, and an artifact that loses those: a flip is fair,
    and yet the label is lost.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    scores = random.normal(size=(count, CLASSES)).astype(np.float32)
    scores[np.arange(count), labels] += 8
    actual = noisy(scores, 40)
    for sample in range(wrong):
        right, other = labels[sample], (labels[sample] + 1) % CLASSES
        scores[sample] = actual[sample] = 0
        scores[sample, [right, other]] = 8.1, 8.0
        actual[sample, [right, other]] = 8.0, 8.1
    return Golden({}, {"logits": scores}, {"logits": scores.astype(np.float64) + 1e-6}, {"labels": labels}), actual


def row_of(
    first: tuple[Golden, Array],
    then: tuple[Golden, Array] | None,
    precision: str = "int8",
    taken: Taken | None = None,
    given: Array | None = None,
) -> Result:
    golden, actual = first
    few = {"logits": actual[:2]}
    outputs = Actual({"logits": actual}, together=few, again=few, alone=few, last={"logits": actual[:1]})
    more = None
    if then:
        reference, rows = then
        more = Further((), reference.outputs, reference.truth)
        taken = taken or Taken(more.count, 1.5)
        if taken.samples:
            outputs = dataclasses.replace(outputs, further={"logits": rows if given is None else given})
    row = Row(artifact(precision), "onnx", precision, "test", "", "anywhere validate")
    return result_of(row, measured(len(actual), further=taken), outputs, Proof(golden, further=more))


@pytest.mark.parametrize(("wrong", "outcome"), [(0, "pass"), (40, "blocking")])
def test_what_golden_is_too_few_to_tell_all_samples_tell(wrong: int, outcome: str) -> None:
    """Two of 128 lost may be chance; two and forty of 2,128 are not."""
    first = samples(128, 2, "int8", 0)
    alone = row_of(first, None)
    assert (alone.outcome, alone.metric and alone.metric.needed is not None) == ("tight", True)
    result = row_of(first, samples(2000, wrong, "int8", 1))
    assert result.outcome == outcome, result.reason
    assert ("accuracy" in result.reason) is (outcome == "blocking")
    assert (result.samples, result.decided, result.further and result.further.samples) == (128, 2128, 2000)
    assert result.metric
    assert result.metric.golden == 1.0
    assert result.metric.actual == pytest.approx(1 - (2 + wrong) / 2128)
    assert sum(pair.count for pair in result.decisions) == 2128
    assert result.metric.needed is None


def test_a_tight_row_says_how_many_further_samples_would_tell() -> None:
    (warning,) = row_of(samples(128, 2, "int8", 0), None).warnings
    metric = row_of(samples(128, 2, "int8", 0), None).metric
    assert metric
    assert metric.needed
    assert f"{metric.needed} would (--decisions {metric.needed - 128}, or data.golden)" in warning


def test_a_row_that_was_offered_them_and_took_none_is_not_told_to_ask_for_them() -> None:
    result = row_of(samples(128, 2, "int8", 0), samples(400, 0, "int8", 1), taken=Taken(0, 95.0))
    assert result.metric
    assert result.warnings[-1].endswith(f"{result.metric.needed} would (data.golden)")


def test_agreement_is_of_all_samples_and_sqnr_is_goldens() -> None:
    first, (reference, actual) = samples(128, 0, "int8", 0), samples(400, 0, "int8", 1)
    turned = actual.copy()
    turned[:12] = np.roll(actual[:12], 1, axis=1)  # by a wide margin, which no allowed noise explains
    result = row_of(first, (reference, turned))
    assert "12 of 528 decisions differ from golden's: agreement 0.9773" in result.reason
    assert result.outputs[0] == row_of(first, None).outputs[0]


def test_worst_samples_are_goldens_for_golden_alone_is_shown() -> None:
    reference, actual = samples(400, 40, "int8", 1)
    assert {sample.index for sample in row_of(samples(128, 2, "int8", 0), (reference, actual)).worst} <= set(range(128))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows[:-1], "further samples: logits: none was run, or another shape was given"),
        (lambda rows: np.where(np.arange(len(rows))[:, None] == 7, np.nan, rows), "logits: 4 values are NaN or inf"),
    ],
)
def test_further_outputs_that_cannot_be_right_fail(change: Callable[[Array], Array], sentence: str) -> None:
    """One NaN among a thousand decisions would be within agreement."""
    reference, actual = samples(1000, 0, "int8", 1)
    result = row_of(samples(128, 0, "int8", 0), (reference, actual), given=change(actual))
    assert result.outcome == "blocking"
    assert sentence in result.reason


def test_a_harness_that_is_silent_about_them_fails() -> None:
    golden, actual = samples(128, 0, "int8", 0)
    few = {"logits": actual[:2]}
    outputs = Actual({"logits": actual}, together=few, again=few, alone=few, last={"logits": actual[:1]})
    row = Row(artifact("int8"), "onnx", "int8", "test", "", "anywhere validate")
    proof = Proof(golden, further=Further((), golden.outputs, golden.truth))
    assert "further samples: logits: none was run" in result_of(row, measured(128), outputs, proof).reason


def test_floats_are_judged_on_golden_alone() -> None:
    golden, _ = samples(128, 0, "float32", 0)
    exact = golden, golden.outputs["logits"].copy()
    result = row_of(exact, samples(400, 40, "float32", 1), "float32", Taken(0, 0.0))
    assert (result.outcome, result.decided) == ("pass", 128)


def test_a_class_that_is_missing_on_golden_is_not_excused_by_one_further_decision() -> None:
    golden, actual = samples(128, 0, "int8", 0)
    never = actual.copy()
    never[:, 3] = -20
    result = row_of((golden, never), samples(400, 0, "int8", 1))
    assert "class dog is never decided for; golden decides for it 32 times" in result.flags


def slow_beside(change: Callable[[Array], Array], tmp_path: Path) -> Result:
    """A row that took none beside one that did, of the same artifact."""
    first, then = samples(128, 0, "int8", 0), samples(400, 0, "int8", 1)
    quick = row_of(first, then)
    rows = change(first[1])
    slow = dataclasses.replace(row_of((first[0], rows), then, taken=Taken(0, 95.0)), runtime="slow")
    places = [tmp_path / "quick.safetensors", tmp_path / "slow.safetensors"]
    for place, outputs in zip(places, (first[1], rows), strict=True):
        save_file(Actual({"logits": outputs}).arrays(), place)
    measurements = [Measurement(measured(128), place) for place in places]
    return fast.compared("classification", [quick, slow], measurements, Proof(first[0]))[1]


def turned(rows: Array) -> Array:
    changed = rows.copy()
    changed[:3] = np.roll(changed[:3], 1, axis=1)
    return changed


@pytest.mark.parametrize(
    ("change", "differ", "sentence"),
    [
        (lambda rows: rows, 0, "its decisions on those are test's, which took them."),
        (turned, 3, "3 of its decisions on those are not test's, which took them."),
    ],
)
def test_a_slow_row_says_whether_it_decides_as_the_fast_one(
    change: Callable[[Array], Array], differ: int, sentence: str, tmp_path: Path
) -> None:
    result = slow_beside(change, tmp_path)
    assert result.further
    assert (result.decided, result.further.fast, result.further.differ) == (128, "test", differ)
    assert sentences._slow(result, result.further).endswith(sentence)
    assert "would take 95 s" in sentences._slow(result, result.further)


# Running


def session(calls: list[int]) -> Session:
    def infer(inputs: Any) -> Any:
        calls.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    return Session(infer, (Tensor("x", "float32", ("batch", 3)),), (Tensor("y", "float32", ("batch", 3)),))


@pytest.mark.parametrize(("each_s", "taken"), [(0.001, 100), (1.0, 0)])
def test_a_runtime_that_would_take_too_long_takes_none(each_s: float, taken: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((100, 3)).astype(np.float32)
    files = (tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    for file, part in zip(files, (values[:60], values[60:]), strict=True):
        save_file(flat({INPUT: {"x": part}}), file)
    here, calls = Path(), list[int]()
    job = Job(here, here, {}, here, here, 1, 1, further=files, further_samples=100, budget=Budget(further_s=10.0))
    outputs, told = session(calls).beyond(job, each_s)
    assert told
    assert told.samples == taken
    assert sum(calls) == taken
    if taken:
        assert (outputs["y"] == values * 2).all()
    else:
        assert (outputs, told.seconds) == ({}, 100.0)
    assert Job.read(json.loads(json.dumps(job.record()))).further == tuple(file.absolute() for file in files)


# Reading


def read(checkpoint: Checkpoint, count: int) -> tuple[Array, Array, list[str]]:
    """Images (N, 3, H, W), labels (N,), findings."""
    reader = further.of(checkpoint, count)
    batches = list(reader.batches())
    images = np.concatenate([batch.inputs["image"].numpy() for batch in batches])
    return images, np.concatenate([batch.truth["labels"].numpy() for batch in batches]), reader.findings()


def test_they_are_held_out_and_neither_golden_calibration_nor_training(workplace: Path) -> None:
    checkpoint = Run.open("tiny").checkpoint
    loaded = load(configs.read(checkpoint.folder / CONFIG))
    images, labels, findings = read(checkpoint, 10_000)
    marks = fingerprints(images)
    assert len(set(marks)) == len(marks)
    trained = set(fingerprints(loaded.train.plain()[number][0].numpy() for number in range(len(loaded.train))))
    golden, ranges = checkpoint.golden(), checkpoint.calibration()
    assert not set(marks) & {*trained, *fingerprints(golden.inputs["image"]), *fingerprints(ranges["image"])}
    held_out = {mark: int(label) for mark, label in _labelled(loaded.test)}
    assert [held_out[mark] for mark in marks] == labels.tolist()
    assert f"{len(marks)} further samples are all that dataset digits holds out beyond golden; 10,000" in findings[0]
    assert len(marks) > 280
    few, _, silent = read(checkpoint, 20)
    assert (few == images[:20]).all()
    assert silent == []


def _labelled(split: Any) -> list[tuple[str, Any]]:
    return [(fingerprints([split[number][0].numpy()])[0], split[number][1]) for number in range(len(split))]


def test_no_module_that_the_run_names_is_imported(workplace: Path) -> None:
    checkpoint = Run.open("tiny").checkpoint
    Path("evil.py").write_text("open('imported', 'w')\n", encoding="utf-8")
    place = checkpoint.folder / CONFIG
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace('name = "simple_cnn"', 'name = "./evil.py:Net"'), encoding="utf-8")
    assert "evil" in place.read_text(encoding="utf-8")
    assert len(read(checkpoint, 5)[0]) == 5
    assert not Path("imported").exists()


def test_a_data_set_that_is_not_there_is_not_downloaded(tmp_path: Path) -> None:
    config = DataConfig("mnist", cache=str(tmp_path / "cache"), download=False)
    with pytest.raises(BadInput, match="could not be read from"):
        downloaded(config, "MNIST", train={"train": True}, test={"train": False})
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def of_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`runs/mine`, trained for an epoch on `images/train` and `images/val`, of which 24 are golden."""
    place = tmp_path_factory.mktemp("folder")
    scans(place / "all", 40)
    for file in sorted((place / "all").glob("*/*.png")):
        split = "train" if int(file.stem) < 24 else "val"
        (place / "images" / split / file.parent.name).mkdir(parents=True, exist_ok=True)
        file.rename(place / "images" / split / file.parent.name / file.name)
    values = {
        "data.dataset": "folder", "data.folder": "images", "data.image_size": 16, "data.golden": 24,
        "data.calibration": 32, "model.name": "simple_cnn", "train.epochs": 1,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train(settle(configs.read(None, values)), place / "runs" / "mine", None, Console(quiet=True))
    return place


@pytest.fixture
def mine(of_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """The checkpoint of `runs/mine`, in a folder of its own, the current one."""
    shutil.copytree(of_folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return Checkpoint.open(Path("runs/mine/checkpoint"))


def test_all_of_a_folders_val_that_is_not_golden_is_taken(mine: Checkpoint) -> None:
    images, labels, findings = read(mine, 24)
    assert (len(images), findings) == (24, [])
    assert set(labels.tolist()) == {0, 1, 2}


def _gone(mine: Checkpoint) -> None:
    shutil.rmtree("images")


def _altered(mine: Checkpoint) -> None:
    """One of golden's pictures is another: of 24 of 48, some are among the first half."""
    for file in sorted(Path("images/val").glob("*/*.png"))[:24]:
        Image.open(file).rotate(90).save(file)


def _relabelled(mine: Checkpoint) -> None:
    shutil.move("images/val/digit0", "images/val/other")
    shutil.move("images/val/digit1", "images/val/digit0")
    shutil.move("images/val/other", "images/val/digit1")


def _swapped(mine: Checkpoint) -> None:
    """Training and held-out pictures change places, golden's excepted."""
    files = sorted(Path("images/val").glob("*/*.png"))
    for number in further._trained(mine).others:
        held_out, trained = files[number], Path("images/train", files[number].parent.name, f"{number % 16}.png")
        content = trained.read_bytes()
        trained.write_bytes(held_out.read_bytes())
        held_out.write_bytes(content)


def _added(mine: Checkpoint) -> None:
    shutil.copy("images/val/digit1/30.png", "images/val/digit1/99.png")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            _gone,
            r"the data that this checkpoint was made with cannot be read \(dataset folder images: no such folder\)",
        ),
        (_altered, r"not what this checkpoint was made with any more \(\d+ of 24 golden samples have other image\)"),
        (_relabelled, r"\(\d+ of 24 golden samples have other (image|labels)\)"),
        (_swapped, r"\(\d+ of 32 calibration samples have other image\)"),
        (_added, r"\(\d+ of 24 golden samples have other image\)"),
    ],
)
def test_data_that_have_changed_are_refused(
    mine: Checkpoint, change: Callable[[Checkpoint], None], sentence: str
) -> None:
    change(mine)
    with pytest.raises(BadInput, match=sentence) as refused:
        read(mine, 10)
    assert str(refused.value).endswith("or leave --decisions out.")


def test_training_pictures_among_the_held_out_ones_are_left_out(mine: Checkpoint) -> None:
    source = further._trained(mine)
    files = sorted(Path("images/val").glob("*/*.png"))
    double = [files[number] for number in source.others[:3]]
    for file in double:
        shutil.copy(sorted((Path("images/train") / file.parent.name).glob("*.png"))[0], file)
    images, _, findings = read(mine, 100)
    assert len(images) == 21
    assert "3 held-out images of dataset folder images are left out of the further samples" in findings[1]


def test_golden_that_is_all_there_is_leaves_none(of_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    shutil.copytree(of_folder / "images", tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    values = {
        "data.dataset": "folder", "data.folder": "images", "data.image_size": 16, "model.name": "simple_cnn",
        "train.epochs": 1,
    }  # fmt: skip
    checkpoint = train(settle(configs.read(None, values)), tmp_path / "runs" / "all", None, Console(quiet=True))
    with pytest.raises(BadInput, match="no held-out samples beyond the 48 of golden"):
        read(checkpoint, 10)


class Adopted(nn.Module):
    """Three classes of a picture's mean and spread."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 3))

    def forward(self, image: Any) -> Any:
        return self.layers(image)


def adopted(place: Path, **wanted: Any) -> Checkpoint:
    asked = Wanted(size=(16, 16), golden=20, calibration=32, **wanted)
    return adopt(Adopted(), asked, place / "runs" / "adopted", "adopted", lambda _: None)


@pytest.mark.parametrize(("folder", "left"), [("images", 28), ("images/train", 20)])
def test_an_adopted_models_labelled_pictures_are_taken(
    mine: Checkpoint, tmp_path: Path, folder: str, left: int
) -> None:
    """Of `train/` and `val/` the latter alone; without them all that is neither golden nor calibration."""
    checkpoint = adopted(tmp_path, images=Path(folder))
    images, labels, findings = read(checkpoint, 500)
    assert len(images) == left
    assert len(findings) == 1
    marks = set(fingerprints(images))
    assert len(marks) == left
    taken = {*fingerprints(checkpoint.golden().inputs["image"]), *fingerprints(checkpoint.calibration()["image"])}
    assert not marks & taken
    assert set(labels.tolist()) == {0, 1, 2}
    shutil.rmtree(folder)
    with pytest.raises(BadInput, match="cannot be read"):
        read(checkpoint, 500)


def _arrays(place: Path) -> Checkpoint:
    random = np.random.default_rng(0)
    images = random.random((80, 3, 16, 16)).astype(np.float32)
    return adopted(place, inputs={"image": images, "labels": np.arange(80) % 3})


def _unlabelled(place: Path) -> Checkpoint:
    for number, file in enumerate(sorted(Path("images").rglob("*.png"))):
        (place / "flat").mkdir(exist_ok=True)
        shutil.copy(file, place / "flat" / f"{number}.png")
    return adopted(place, images=place / "flat")


@pytest.mark.parametrize("given", [_arrays, _unlabelled])
def test_a_model_that_was_adopted_without_labelled_pictures_is_refused(
    mine: Checkpoint, tmp_path: Path, given: Callable[[Path], Checkpoint]
) -> None:
    checkpoint = given(tmp_path)
    with pytest.raises(BadInput, match="adopted without labelled images, so nobody says what is right"):
        further.of(checkpoint, 10)


# The command


def validated(command: Callable[..., Said], *arguments: str) -> Said:
    return command("validate", "tiny", "--calls", "1", *arguments)


def test_pytorch_answers_for_them_in_another_process(workplace: Path) -> None:
    run = Run.open("tiny")
    row = Row(None, "onnx", "int8", "test", "", "anywhere validate")
    with answered(run, [row], 300, registry.find(), 1) as (more, told):
        assert more
        assert len(more.files) == 2
        assert all(file.is_file() for file in more.files)
        assert more.count == len(more.truth["labels"]) == len(more.outputs["logits"]) < 300
        assert (more.outputs["logits"].argmax(1) == more.truth["labels"]).mean() > 0.8
    assert not more.files[0].parent.exists()
    assert "300 were asked for" in told[0]
    with answered(run, [dataclasses.replace(row, precision="float32")], 300, registry.find(), 1) as (more, told):
        assert (more, told) == (None, [NO_INTEGERS])
    with answered(run, [row], 0, registry.find(), 1) as (more, told):
        assert (more, told) == (None, [])


def results(rows: Sequence[Any]) -> dict[str, Any]:
    return {f"{row['target']}/{row['precision']} in {row['runtime']} {row['backend']}".rstrip(): row for row in rows}


@pytest.mark.slow
def test_every_row_of_integers_is_judged_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Said]
) -> None:
    chosen = [
        one
        for one in plan(find(), ["onnx", "tflite"], ["int8"])
        if one.precision == "int8" or one.target.name == "onnx"
    ]
    monkeypatch.chdir(bring("tiny", TINY, tmp_path, chosen))
    said = validated(command, "--decisions", "100", "--leave-out", "* in litert_arm64")
    assert said.status == 0, said.out + said.err
    assert "decisions of integers on up to 164 held-out ones" in said.out
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    assert report["settings"]["decisions"] == 100
    rows = results(report["results"])
    taken = {name for name, row in rows.items() if row["further"] and row["further"]["samples"] == 100}
    assert {"onnx/int8 in onnxruntime", "tflite/int8 in litert xnnpack", "tflite/int8 in tflite_runtime"} <= taken
    for name, row in rows.items():
        if row["status"] == "pass" and row["precision"] == "int8":
            assert row["command"].endswith(" --decisions 100"), name
            assert sum(pair["count"] for pair in row["decisions"]) == 164, name
        elif row["status"] == "pass":
            assert row["further"] is None, name
            assert "--decisions" not in row["command"], name
    page = Path("runs/tiny/report/report.html").read_text(encoding="utf-8")
    assert "of golden and 100 further samples" in page


@pytest.mark.slow
def test_a_row_that_would_take_too_long_is_judged_on_golden_and_says_so(
    at_home: Path, command: Callable[..., Said]
) -> None:
    Path("my.toml").write_text("[validate]\ndecisions = 50\ndecisions_s = 1e-9\n", encoding="utf-8")
    said = validated(command, "--config", "my.toml", "--only", "onnx/int8 in onnxruntime")
    assert said.status == 0, said.out + said.err
    assert "judged on 64 golden inputs alone, for the 50 further samples would take 0 s" in said.out
    assert "held-out ones" not in said.out


def test_what_is_to_be_typed_next_asks_for_them_again(shown: Run, made: Report) -> None:
    (row,) = [one for one in reports.passed(made) if one.precision == "int8"]
    told = RecordedFurther(50, 50, 1.0)
    lost = dataclasses.replace(reports.beyond(row), further=told, command=f"{row.command} --decisions 50")
    report = dataclasses.replace(
        made, verdict="fail", results=[lost], settings={**made.settings, "only": [row.name], "decisions": 50}
    )
    commands = [step for _, step in sentences.steps(report, lost)]
    assert commands[0] == f'anywhere validate tiny --localise --only "{row.name}" --decisions 50'
    (script,) = reproduce.scripts(report, shown).values()
    assert "Here golden alone is run; with the 50 further samples:" in " ".join(script.split())
    line = next(line for line in shown_by(report).splitlines() if line.startswith("onnx/int8 "))
    assert f" {row.samples + 50} " in line


def shown_by(report: Report) -> str:
    """What the terminal shows."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(report), soft_wrap=True)
    return console.export_text()


@pytest.mark.slow
def test_a_refusal_is_one_sentence(mine: Checkpoint, command: Callable[..., Said]) -> None:
    assert command("export", "mine", "--to", "onnx", "--precision", "int8").status == 0
    shutil.rmtree("images")
    said = command("validate", "mine", "--calls", "1", "--decisions", "10", "--leave-out", "* in ort_web *")
    assert said.status == 2
    assert said.err.startswith("error: --decisions: the data that this checkpoint was made with cannot be read")
    assert said.err.count("\n") == 1
