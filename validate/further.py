"""Has further held-out samples read and answered for by PyTorch: more than golden has, for decisions of integers.

    with answered(run, rows, 1000, registry.find(), 2) as (further, sentences):       # raises BadInput
        further.outputs["logits"]              # (N, K) float32

In a process of its own, which proves that none of them is golden, calibration or training (pipeline/further.py). Their
inputs lie in files for as long as rows are measured.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors.numpy import load_file

from export.run import Run
from measures.tolerance import INTEGERS
from records.errors import BadInput, room_for, shortened
from records.folder import Scratch
from records.golden import Further, Golden
from validate.plan import Row
from workers.toolchain import Toolchain
from workers.worker import WATCHDOG, WorkerFailed

LIMIT_S = 3600.0
"""A folder of a million pictures is decoded as a whole, as before a training."""
HARNESS = Path(__file__).with_name("reference.py")
ANSWERS = "answers.safetensors"
NO_INTEGERS = "no row of integers was asked for, so no further samples were read (--decisions)"


@contextmanager
def answered(
    run: Run, rows: Sequence[Row], count: int, toolchains: Mapping[str, Toolchain], threads: int
) -> Iterator[tuple[Further | None, list[str]]]:
    """Yield `count` further samples at most, and sentences for the report; none where none were asked for, or no row
    of integers is run.

    Raises BadInput where nothing proves that they are held out.
    """
    integers = [row for row in rows if row.precision in INTEGERS and not row.absent]
    if not count or not integers:
        yield None, [NO_INTEGERS] * bool(count)
        return
    with room_for(Path(tempfile.gettempdir())):
        scratch = Scratch()
    with scratch as folder:
        WATCHDOG.keep(str(folder))
        try:
            yield _asked(run, count, folder, toolchains["torch"], threads)
        finally:
            WATCHDOG.forget(str(folder))


def _asked(run: Run, count: int, folder: Path, chain: Toolchain, threads: int) -> tuple[Further, list[str]]:
    log = run.log("validate", "further")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    chain.build()
    places = {"checkpoint": run.checkpoint.folder, "folder": folder, "out": folder / ANSWERS}
    arguments = {**{name: str(place.absolute()) for name, place in places.items()}, "count": count, "threads": threads}
    try:
        with chain.start(log, [HARNESS], {"OMP_NUM_THREADS": str(threads)}) as worker:
            done = worker.call(HARNESS, "further", arguments, log, LIMIT_S)
    except (WorkerFailed, OSError) as error:
        reason, own = str(error), f"{BadInput.__name__}: "
        if reason.startswith(own):
            raise BadInput(reason.removeprefix(own)) from error
        raise BadInput(
            f"--decisions: further samples could not be read ({shortened(reason)}). See {log}, give fewer, or leave "
            "--decisions out."
        ) from error
    answers = Golden.of(load_file(folder / ANSWERS))
    files = tuple(folder / f"{number}.safetensors" for number in range(done.value["files"]))
    return Further(files, answers.outputs, answers.truth, answers.rivals), list(done.value["findings"])
