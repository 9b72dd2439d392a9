"""README and docs/ are true: their commands run, their tables are what the program says, what they link to is there."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from export.target import find, plan
from tests import picture, readme
from tests.conftest import scans
from validate.runtimes import programs, runner
from workers.emulation import QEMU

ROOT = readme.ROOT
TEXT = readme.README.read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [readme.README, *DOCS]
ANEW = "run: make readme"


def test_readme_is_read_to_its_end() -> None:
    assert len(TEXT.splitlines()) <= 150, "move something to docs/"


def test_every_field_of_the_configuration_is_listed() -> None:
    assert readme.part(readme.CONFIGURATION.read_text(), "config") == readme.fields(), ANEW


def test_every_tolerance_is_listed_with_its_reason() -> None:
    assert readme.part(readme.TOLERANCES.read_text(), "tolerances") == readme.tolerances(), ANEW


def test_the_table_shows_every_target_in_every_runtime() -> None:
    whole = readme.part(readme.REPORT.read_text(), "table")
    rows = [row.split() for row in re.findall(r"^(\w+/\w+ .*?) +pass  ", whole, re.M)]
    expected = [
        [conversion.name, one.runtime, *backend.split()]
        for conversion in plan(find())
        for one in runner.find()
        for backend in one.backends
        if one.target == conversion.target.name
    ]
    assert sorted(rows) == sorted(expected)


def test_readme_shows_eight_rows_of_the_table() -> None:
    shown = readme.part(TEXT, "rows")
    assert shown == readme.excerpt(readme.part(readme.REPORT.read_text(), "table")), ANEW
    assert len(re.findall(r"^\w+/\w+ .* pass ", shown, re.M)) == len(readme.EXCERPT) == 8


def test_the_matrix_has_every_target_and_runtime() -> None:
    assert readme.part(TEXT, "matrix") == readme.matrix(), ANEW
    for one in runner.find():
        assert re.search(rf"\| {one.runtime}\b", readme.matrix())


@pytest.mark.parametrize("page", [readme.README, ROOT / "docs" / "targets.md"], ids=lambda page: page.name)
def test_the_list_of_targets_is_the_one_of_the_folder(page: Path) -> None:
    lines = page.read_text().splitlines()
    for target in find().values():
        (row,) = [line for line in lines if line.startswith(f"| `{target.name}` |")]
        assert all(precision in row for precision in target.sources)


def anchors(page: Path) -> set[str]:
    """What a link to a heading of that page may end with, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_leads_to_every_page_of_docs() -> None:
    assert {f"docs/{page.name}" for page in DOCS} <= set(re.findall(r"\]\(([^)]+)\)", TEXT))


def test_the_picture_is_a_small_png() -> None:
    image = picture.PICTURE.read_bytes()
    assert image.startswith(b"\x89PNG")
    assert len(image) < 300_000


def test_without_a_report_the_picture_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="make train export validate"):
        picture.latest()


@pytest.mark.slow
def test_a_page_is_drawn(tmp_path: Path) -> None:
    chromium = programs.path("chromium")
    assert chromium, programs.PROGRAMS["chromium"].get
    (tmp_path / "report.html").write_text("<h1>pass</h1>")
    picture.draw(tmp_path / "report.html", tmp_path / "report.png", chromium)
    with Image.open(tmp_path / "report.png") as drawn:
        assert drawn.size == (picture.WIDTH, picture.HEIGHT)
        assert np.ptp(np.asarray(drawn)) > 0


def environment(**values: str) -> dict[str, str]:
    """This one, without what a make that runs these tests was given: it would reach the make that they run."""
    given = ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL")
    return {name: value for name, value in os.environ.items() if name not in given} | values


def commands(pages: Sequence[Path]) -> list[str]:
    """Those of some pages, in order; those of docs/ use what README's left."""
    blocks = [block for page in pages for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S)]
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What git would give to a user, with this checkout's environment."""
    # Brought up to date here: make in the copy would tie it to the copy.
    subprocess.run(["make", "setup"], cwd=ROOT, capture_output=True, check=True)
    place = tmp_path / "anywhere"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)  # with its time: make goes by it
    (place / ".venv").symlink_to(ROOT / ".venv")
    return place


def programs_but(name: str, folder: Path) -> Path:
    """Fill a folder with links to all programs on the PATH but one, and return it."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if program.name != name and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "pages", [PAGES[:1], pytest.param(PAGES, marks=pytest.mark.nightly)], ids=["readme", "readme-and-docs"]
)
def test_every_command_runs(pages: list[Path], checkout: Path, tmp_path: Path) -> None:
    scans(checkout / "my_images", 30)
    # Stands in for the download of --pretrained: torchvision takes what lies in its cache.
    weights = torchvision.models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "torch" / "hub" / "checkpoints" / weights)
    users = environment(
        # As on a machine without an emulator and Chromium: what runs there has its own tests, and takes minutes.
        PATH=f"{ROOT / '.venv' / 'bin'}:{programs_but(QEMU, tmp_path / 'bin')}",
        ANYWHERE_CHROMIUM="/no/such",
        TORCH_HOME=str(tmp_path / "torch"),
    )
    ran: dict[str, int] = {}
    for line in commands(pages):
        if line == "make test":  # is what runs this
            continue
        # At 224×224, TensorFlow.js' cpu backend takes a quarter of a minute per image.
        shorter = line.replace("--epochs 20", "--epochs 2 --image-size 32")
        began = time.monotonic()
        done = subprocess.run(["bash", "-c", shorter], cwd=checkout, capture_output=True, text=True, env=users)
        print(f"{time.monotonic() - began:5.0f} s  {line}")  # what to look at where this takes long
        # 90 images are too few to promise that int8 agrees; the verdict is checked against the report instead.
        allowed = (0, 1) if line.startswith("anywhere validate mine") else (0,)
        assert done.returncode in allowed, f"{line}\n{done.stdout}\n{done.stderr}"
        ran[line] = done.returncode
    assert next(iter(ran)) == "make train export validate"
    assert len(ran) >= (10 if pages == PAGES[:1] else 13)
    (default,) = checkout.glob("runs/digits-*")
    assert json.loads((default / "report" / "report.json").read_text())["verdict"] == "pass"
    checkpoint = json.loads((default / "checkpoint" / "checkpoint.json").read_text())
    assert checkpoint["metrics"]["test_accuracy"] >= 0.99
    mine = json.loads((checkout / "runs" / "mine" / "report" / "report.json").read_text())
    assert (mine["verdict"] == "pass") == (ran["anywhere validate mine"] == 0)
    assert (checkout / "runs" / "mine" / "report" / "report.html").stat().st_size < 2e6


@pytest.mark.slow
def test_make_export_twice_converts_nothing(checkout: Path, exported: Path) -> None:
    shutil.copytree(exported / "runs", checkout / "runs")
    done = subprocess.run(
        ["make", "export"], cwd=checkout, capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout.count("unchanged") == len(plan(find()))
