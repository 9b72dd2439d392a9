"""README's picture: the top of the latest report's page, as Chromium draws it.

python -m tests.picture         # after `make train export validate`; writes docs/report.png
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from validate.runtimes import programs

PICTURE = Path(__file__).parents[1] / "docs" / "report.png"
WIDTH, HEIGHT = 912, 838
"""In pixels: the verdict and the first of the matrix, as wide as a README is shown."""
LIMIT_S = 120
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    f"--window-size={WIDTH},{HEIGHT}",
)


def latest() -> Path:
    """Return the newest page in `runs/`. Ends the program with a sentence where there is none."""
    pages = Path("runs").glob("*/report/report.html")
    newest = max(pages, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        sys.exit("runs/*/report/report.html: there is none. Make one first: make train export validate")
    return newest


def draw(page: Path, picture: Path, chromium: str) -> None:
    """Write the top of a page as a PNG. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, *FLAGS, f"--user-data-dir={profile}", f"--screenshot={picture}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)


def main() -> None:
    """Write docs/report.png."""
    chromium = programs.path("chromium")
    if chromium is None:
        sys.exit(f"chromium is not on this machine. Get it: {programs.PROGRAMS['chromium'].get}.")
    page = latest()
    draw(page, PICTURE, chromium)
    print(f"docs/{PICTURE.name}: the top of {page}, {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
