"""What crosses to a harness comes back the same; a wrong answer is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from validate.runtimes import runner
from validate.runtimes.job import Budget, Files, Job, Latency, Measured

ANSWER: dict[str, Any] = {
    "runtime_version": "1",
    "samples": 4,
    "latency_ms": {"median": 1.0, "p90": 2.0, "calls": 3, "batch": 1, "threads": 1},
    "from_file": {"samples": 5, "input_steps": None},
}


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = Job(tmp_path / "runner.py", tmp_path / "model", {"inputs": []}, tmp_path / "golden", tmp_path / "out", 8, 2)
    for one in (job, Job(**{**job.__dict__, "probes": tmp_path / "probes", "budget": Budget(timed=3)})):
        assert Job.read(json.loads(json.dumps(one.record()))) == one


def test_an_answer_is_read_and_a_number_that_is_none_is_none() -> None:
    assert Measured.read(ANSWER) == Measured("1", 4, Latency(1.0, 2.0, 3, 1, 1), Files(5, None))
    assert Measured.read({key: value for key, value in ANSWER.items() if key != "from_file"}).from_file is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": "many"}, "samples: "),
        ({"latency_ms": {"median": 1.0}}, "latency_ms.p90: "),
        ({"runtime_version": None}, "runtime_version: "),
    ],
)
def test_an_answer_with_anything_missing_is_said(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Measured.read(ANSWER | change)
    with pytest.raises(ValueError, match="the harness's answer is none"):
        Measured.read(None)


def test_a_runtime_takes_all_of_golden_unless_its_file_names_fewer() -> None:
    samples = {one.name: one.samples for one in runner.find()}
    assert set(samples["onnx_in_onnxruntime"].values()) == {runner.ALL}
    assert set(samples["tflite_in_litert"].values()) == {runner.ALL}
    assert set(samples["tflite_in_litert_arm64"].values()) == {16}
