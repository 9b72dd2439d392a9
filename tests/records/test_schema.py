"""The one door of records: what is no JSON, or not of its type, is one sentence, however long what stands in it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from records.errors import BadInput, unknown
from records.schema import check_schema, read_json
from records.sealed import is_sealed


@dataclass(frozen=True)
class Kind:
    name: str
    counts: dict[str, int]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5_000, b'{"a": 1} b'])
def test_what_is_no_json_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record").write_bytes(content)
    with pytest.raises(BadInput, match=r"^the record was truncated or altered \(.*\)\. Make it again\.$"):
        read_json(tmp_path / "record", "the record", "Make it again.")


def test_a_record_that_is_a_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^the record cannot be read \(Is a directory\)\. Make it again\.$"):
        read_json(tmp_path, "the record", "Make it again.")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"name": 1, "counts": {}}, "name: "),
        ({"name": "x"}, "counts: "),
        ({"name": "x", "counts": {"y" * 9999: "z"}}, f"counts.{'y' * 193}…: "),
        ({"name": "x", "counts": {"line\nline": "z"}}, "counts.line line: "),
        ({"name": "\ud800", "counts": {}}, ""),
        ([], ""),
    ],
)
def test_what_is_not_of_its_type_is_named(record: object, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        check_schema(Kind, record, "the record", "Make it again.")
    assert str(refused.value).startswith(f"the record is malformed: {said}")
    assert len(str(refused.value)) < 600
    assert "\n" not in str(refused.value)


def test_a_name_of_any_length_makes_a_sentence_of_some() -> None:
    assert len(str(unknown("task", "x" * 99_999, ["plain"]))) < 300


def test_lists_within_lists_are_no_seal() -> None:
    record: dict[str, object] = {"sha256": ""}
    for _ in range(100_000):
        record = {"deeper": record}
    assert not is_sealed({"sha256": "", "deeper": record})
