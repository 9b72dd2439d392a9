"""What an artifact decides is drawn beside what PyTorch does, the worst first, on a page that stays small."""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import anywhere
from export.run import Run
from records.golden import Golden
from tests.mutants import finders
from tests.mutants.finding import write_pictures
from tests.validate.report.test_page import Read
from validate import parity
from validate.measure import Options, outputs_file
from validate.report import drawn, page, publish
from validate.report.records import Report
from validate.runtimes import runner

FOREIGN = ("masked",)


@dataclasses.dataclass(frozen=True)
class Masked:
    """A segmentation model's run with a report."""

    run: Run
    report: Report
    golden: Golden

    @property
    def file(self) -> Path:
        """The only row's outputs."""
        (result,) = self.report.results
        assert result.log
        return outputs_file(self.run, result.log)


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Masked]:
    """In ONNX; the folder with `runs/` is the current one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("masked"))
        write_pictures(Path("pictures"), "segmentation", 48)
        run = anywhere.adopt(
            finders.segmenter(), images=Path("pictures"), task="segmentation", size=(finders.SIDE, finders.SIDE),
            labels=finders.BEFORE, run="masked", golden=16, calibration=8, tell=lambda _: None,
        )  # fmt: skip
        run.export(to=["onnx"], precision=["float32"], tell=lambda _: None)
        opened = Run.open("masked")
        only = [one for one in runner.find() if one.runtime == "onnxruntime"]
        report = parity.check(opened, only, Options(1, timed=1))
        yield Masked(opened, report, opened.checkpoint.golden())


@contextmanager
def put_back(file: Path) -> Iterator[float]:
    """Give the time at which a file was written, and put it back as it was."""
    whole, then = file.read_bytes(), file.stat().st_mtime
    try:
        yield then
    finally:
        file.write_bytes(whole)
        os.utime(file, (then, then))


def test_a_good_row_has_its_worst_samples_in_a_folded_section(masked: Masked) -> None:
    (result,) = masked.report.results
    publish.publish(masked.report, masked.run)
    found = Read((masked.run.folder / "report" / "report.html").read_text())
    pairs = [one for one in found.all("img") if (one["src"] or "").startswith("data:image/jpeg")]
    assert [one["alt"] and one["alt"].partition(":")[0] for one in pairs] == [
        f"sample {sample.index}, {whose}" for sample in result.worst[: drawn.EACH] for whose in ("PyTorch", "here")
    ]
    assert all("%" in (one["alt"] or "") for one in pairs)  # shares of classes, for who cannot see them
    assert not [one for one in found.all("details") if "open" in one]


def test_what_an_artifact_decides_otherwise_is_seen(masked: Masked) -> None:
    arrays = load_file(masked.file)
    with put_back(masked.file) as then:
        save_file({**arrays, "golden.logits": np.roll(arrays["golden.logits"], 1, axis=1)}, masked.file)
        os.utime(masked.file, (then, then))
        (pairs,) = drawn.draw(masked.report, masked.run, masked.golden).values()
    assert len(pairs) == drawn.EACH
    for pair in pairs:
        assert pair.golden != pair.actual
        assert pair.words[0] != pair.words[1]


def test_a_page_has_room_for_so_many_and_each_row_for_its_worst(
    masked: Masked, monkeypatch: pytest.MonkeyPatch
) -> None:
    (result,) = masked.report.results
    rows = [dataclasses.replace(result, backend=f"b{number}") for number in range(4)]
    report = dataclasses.replace(masked.report, results=rows)
    (size,) = {each.size for (each, *_) in drawn.draw(report, masked.run, masked.golden).values()}
    monkeypatch.setattr(drawn, "BYTES", 4 * size)
    pairs = drawn.draw(report, masked.run, masked.golden)
    assert {name: len(each) for name, each in pairs.items()} == {row.name: 1 for row in rows}
    assert 4 * size < len(page.render(report, {}, pairs)) - len(page.render(report, {})) < 6 * size + 4_000


@pytest.mark.parametrize("what", ["gone", "half", "other samples", "newer"])
def test_outputs_that_are_not_the_reports_are_not_drawn(masked: Masked, what: str) -> None:
    with put_back(masked.file) as then:
        if what == "gone":
            masked.file.unlink()
        elif what == "half":
            masked.file.write_bytes(masked.file.read_bytes()[:999])
        elif what == "other samples":
            save_file({"golden.logits": np.zeros((1, 2, 3), np.float32)}, masked.file)
        if masked.file.exists():
            time = then + 60 if what == "newer" else then
            os.utime(masked.file, (time, time))
        assert drawn.draw(masked.report, masked.run, masked.golden) == {}
    assert drawn.draw(masked.report, masked.run, masked.golden)


def test_a_task_that_draws_nothing_has_no_pictures(shown: Run, made: Report) -> None:
    assert drawn.draw(made, shown, shown.checkpoint.golden()) == {}
