"""Run the networks that have no row yet, one after the other, and write the table."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.zoo import row as rows
from benchmarks.zoo.measure import measure
from benchmarks.zoo.networks import NETWORKS, Network, named
from benchmarks.zoo.row import Row, judged
from benchmarks.zoo.table import render, status

PAGE = Path("docs/zoo.md")


def main(
    only: Annotated[str, typer.Option(help="Networks, with commas. Default: all.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Run also those that have a row.")] = False,
    red: Annotated[bool, typer.Option("--red", help="Run also those whose row is not green.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the runs of green networks, too: gigabytes.")] = False,
    work: Annotated[Path, typer.Option(help="Where runs, logs and rows are kept.")] = Path("runs/zoo"),
    page: Annotated[Path, typer.Option(help="The table.")] = PAGE,
) -> None:
    """Export and validate every network of the zoo, and write docs/zoo.md; to another page, those that are named."""
    try:
        wanted = named(only)
    except KeyError as error:
        raise typer.BadParameter(
            f"{error.args[0]}: no such network. Those there are: benchmarks/zoo/networks.py."
        ) from error
    shown = wanted if page != PAGE else NETWORKS
    work.mkdir(parents=True, exist_ok=True)
    for network in wanted:
        place = work / "rows" / f"{network.name}.json"
        if place.exists() and not force and not (red and not rows.read(place).green):
            continue
        print(f"{network.name} …", flush=True)
        row = attempted(network, work)
        rows.write(row, place)
        print(f"{network.name}: {status(row)}", flush=True)
        if row.green and not keep:
            shutil.rmtree(work / "runs" / network.name)
        write_page(work, page, shown)
    print(write_page(work, page, shown))


def attempted(network: Network, work: Path) -> Row:
    """Return the network's row, whatever goes wrong."""
    try:
        return measure(network, work)
    except Exception as error:  # noqa: BLE001  # one network's failure is its row, and the others' turn
        lost = f"zoo: {type(error).__name__}: {error}"
        return judged(Row(network.name, network.source, network.size, problems=(lost,)))


def write_page(work: Path, page: Path, networks: Sequence[Network]) -> str:
    """Write the table of the networks' rows that are there; → how many are green."""
    places = [work / "rows" / f"{network.name}.json" for network in networks]
    found = [rows.read(place) for place in places if place.exists()]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(found, len(networks)))
    return f"{sum(row.green for row in found)} of {len(found)} green: {page}"


if __name__ == "__main__":
    typer.run(main)
