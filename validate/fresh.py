"""Makes inputs anew for one validation, which no file can have known, and has PyTorch say what they lead to.

    inputs, warnings = answered(run, proof.golden, seed, registry.find(), 2)      # raises BadInput for false golden

A file that remembers golden's outputs is right on golden and nowhere else. So some inputs are mixed of golden's by a
seed that the report states, and the checkpoint's own program answers for them in PyTorch, in a process of its own. It
answers for the sample that sets golden's noise floor, too: whoever moves the oracle would widen every tolerance.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from export.run import Run
from measures import tasks
from measures.distance import floor_of
from records.errors import AGAIN, BadInput
from records.golden import INPUT, ORACLE, OUTPUT, RIVAL, Fresh, Golden, flat, part
from records.sealed import fingerprints
from records.tensor import Array, Arrays
from workers.toolchain import Toolchain
from workers.worker import WorkerFailed

SAMPLES = 6
"""Inputs made anew, of which a slow runtime takes fewer."""
CHECKED = 1
"""Golden samples that PyTorch computes again, the first ones, beside those that set a noise floor."""
EXPLAINED = 16.0
"""Noise floors that another processor's summation may lie from golden: as many as an artifact may."""
CONFIRMED = 4.0
"""Times that the noise floor may be what it is found to be again: in float32, the order of sums decides the rest."""
LIMIT_S = 300.0
HARNESS = Path(__file__).with_name("reference.py")
KEPT = 4
"""Answers that are kept."""


def seed_of(asked: int) -> int:
    """Return the seed that was asked for; for 0 another one each time."""
    return asked or secrets.randbelow(2**31 - 1) + 1


def made(golden: Golden, seed: int, count: int = SAMPLES) -> dict[str, Array]:
    """Make inputs (K, …) of golden's: floats are interpolated between two samples, shifted and at times mirrored,
    integers and booleans are chosen from two. All inputs of a sample are made of the same two.
    """
    random = np.random.default_rng(seed)
    number = len(next(iter(golden.inputs.values())))
    pairs = [random.choice(number, 2, replace=number < 2) for _ in range(count)]
    shares = random.uniform(0.25, 0.75, count)
    moves = random.integers(1, 4, (count, 2))
    mirrored = random.random(count) < 0.5

    def mixed(values: Array) -> Array:
        rows = []
        for (first, second), share, move, mirror in zip(pairs, shares, moves, mirrored, strict=True):
            one, other = values[first], values[second]
            if not np.issubdtype(values.dtype, np.floating):
                rows.append(np.where(random.random(one.shape) < share, one, other))
                continue
            row = share * one.astype(np.float64) + (1 - share) * other
            if row.ndim == 3:  # an image: channels, height, width
                row = np.roll(row, tuple(move), (1, 2))
                row = row[:, :, ::-1] if mirror else row
            rows.append(row)
        return np.ascontiguousarray(np.stack(rows).astype(values.dtype))

    return {name: mixed(values) for name, values in golden.inputs.items()}


def answered(
    run: Run, golden: Golden, seed: int, toolchains: Mapping[str, Toolchain], threads: int
) -> tuple[Fresh | None, list[str]]:
    """Return inputs made anew with PyTorch's outputs, and warnings where there are none.

    Raises BadInput where golden is not what the checkpoint's program gives.
    """
    chosen = _chosen(golden)
    again = _rows(golden.inputs, chosen)
    new, count = made(golden, seed), SAMPLES
    inputs = {name: np.concatenate([new[name], again[name]]) for name in new}
    known: Arrays = {}
    try:
        known, problem = _answers(run, inputs, count, toolchains, threads)
    except (WorkerFailed, OSError) as error:
        problem = str(error).partition("\n")[0]
    if problem:
        return None, [f"nothing was proved on inputs made anew, for PyTorch gave no outputs for them: {problem}"]
    outputs, rivals = part(known, OUTPUT), part(known, RIVAL)
    # Or a floor would be as wide as two boxes are apart.
    oracle = _in_order(run, part(known, ORACLE), outputs, rivals)
    confirmed = (
        _in_order(run, _rows(each, slice(count, None)), _rows(reference, chosen), _rows(rivals, slice(count, None)))
        for each, reference in ((outputs, golden.outputs), (oracle, golden.oracle))
    )
    _check(run, golden, chosen, *confirmed)
    answers, exact, near = (_rows(each, slice(count)) for each in (outputs, oracle, rivals))
    return Fresh(new, answers, exact, seed, near), []


def _rows(arrays: Arrays, which: slice | list[int]) -> dict[str, Array]:
    return {name: values[which] for name, values in arrays.items()}


def _in_order(run: Run, values: Arrays, reference: Arrays, rivals: Arrays) -> Arrays:
    """Return outputs (N, …), what is found in each sample in a reference's order."""
    return tasks.in_order(tasks.load(run.checkpoint.task), values, reference, run.checkpoint.decoding, rivals)


def _chosen(golden: Golden) -> list[int]:
    """Return the samples that are computed again: of each output the one farthest from the oracle, and the first."""
    farthest = []
    for name, values in golden.outputs.items():
        apart = np.abs(values.astype(np.float64) - golden.oracle[name]).reshape(len(values), -1)
        farthest.append(int(apart.max(axis=1).argmax()))
    return list(dict.fromkeys([*farthest, *range(min(CHECKED, len(values)))]))


def _check(run: Run, golden: Golden, chosen: list[int], outputs: Arrays, oracle: Arrays) -> None:
    """Check that golden and oracle are what the program gives. Raises BadInput."""
    for name, values in golden.outputs.items():
        if not np.issubdtype(values.dtype, np.floating):
            continue
        own = floor_of(outputs[name], oracle[name])
        apart = float(np.abs(values[chosen].astype(np.float64) - outputs[name]).max())
        if not apart <= EXPLAINED * own:
            raise BadInput(
                f"golden of run {run.name}: {name} lies {apart:.3g} from what this checkpoint's program gives, which "
                f"rounding does not explain ({EXPLAINED * own:.3g} allowed). {AGAIN}."
            )
        floor, confirmed = floor_of(values, golden.oracle[name]), max(own, floor_of(values[chosen], oracle[name]))
        if not floor <= CONFIRMED * confirmed:
            raise BadInput(
                f"golden of run {run.name}: {name}'s oracle lies {floor:.3g} from it, and this checkpoint's program "
                f"gives {confirmed:.3g}: every tolerance would be {floor / confirmed:.0f} times as wide. {AGAIN}."
            )


def _answers(
    run: Run, inputs: Arrays, anew: int, toolchains: Mapping[str, Toolchain], threads: int
) -> tuple[Arrays, str]:
    """Return PyTorch's outputs, the oracle and rivals by flat names, and why there are none.

    anew: samples that were made anew, the first ones. Raises WorkerFailed, OSError, BadInput.
    """
    key = run.checkpoint.sha256, "".join(mark for name in inputs for mark in fingerprints(inputs[name]))
    if key not in _ANSWERS:
        while len(_ANSWERS) >= KEPT:
            del _ANSWERS[next(iter(_ANSWERS))]
        _ANSWERS[key] = _asked(run, inputs, anew, toolchains, threads)
    return _ANSWERS[key]


def _asked(
    run: Run, inputs: Arrays, anew: int, toolchains: Mapping[str, Toolchain], threads: int
) -> tuple[Arrays, str]:
    log, chain = run.log("validate", "reference"), toolchains["torch"]
    given = run.folder / "report" / "actual" / "reference.inputs"
    out = given.with_suffix(".safetensors")
    for place in (log, given):
        place.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    try:
        save_file(flat({INPUT: dict(inputs)}), given)
        chain.build()
        with chain.start(log, [HARNESS], {"OMP_NUM_THREADS": str(threads)}) as worker:
            places = {"checkpoint": run.checkpoint.folder, "inputs": given, "out": out}
            arguments = {name: str(place.absolute()) for name, place in places.items()}
            done = worker.call(HARNESS, "outputs", {**arguments, "anew": anew, "threads": threads}, log, LIMIT_S)
        if done.value["problem"]:
            return {}, str(done.value["problem"])
        arrays = load_file(out)
    finally:
        given.unlink(missing_ok=True)
        out.unlink(missing_ok=True)
    return arrays, ""


_ANSWERS: dict[tuple[str, str], tuple[Arrays, str]] = {}
"""By checkpoint and inputs: several validations of one process may ask alike."""
