"""Names the PyTorch module at which a runtime failed, where it said which of its operators that was.

    results = explained(run, results, registry.find())
    results[3].reason     # "… Node number 8 (DIV) failed to invoke. That operator computes head.norm (…)."

Only then is the artifact read, once for all its rows, by its target's file in readers/. What cannot be found out is not
said, and the runtime's own sentence stands alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from export.graphs.layers import Twin
from export.graphs.stopped import Operator, find_stop, names_operator
from export.run import Run
from records.constants import constants
from records.errors import BadInput
from validate.localise.localise import LIMIT_S, ONNX, SAVED_MODEL, Start, in_its_own_process, readable
from validate.report.records import Result
from workers.toolchain import Toolchain
from workers.worker import WorkerFailed


def explained(
    run: Run, results: Sequence[Result], toolchains: Mapping[str, Toolchain], start: Start = in_its_own_process
) -> list[Result]:
    """Return the rows, those with the module whose runtime named an operator of a known one."""
    stopped = {row.name: _artifact(row) for row in results if _stopped(row)}
    operators = {name: _operators(run, name, toolchains, start) for name in dict.fromkeys(stopped.values())}
    return [_explained(run, row, operators[stopped[row.name]]) if row.name in stopped else row for row in results]


def _stopped(row: Result) -> bool:
    """True for a row whose runtime may have said at which operator."""
    return row.status in {"error", "refused"} and names_operator(row.reason)


def _artifact(row: Result) -> str:
    """Return `tflite/int8`."""
    return f"{row.target}/{row.precision}"


def _operators(run: Run, name: str, toolchains: Mapping[str, Toolchain], start: Start) -> list[Operator]:
    """Return an artifact's operators in its order; none, where it cannot be read or nothing here can read it."""
    file = readable().get(name.partition("/")[0])
    chain = toolchains.get(constants(file)["TOOLCHAIN"]) if file else None
    if file is None or chain is None or not chain.ready:  # one is not built for a sentence
        return []
    log = run.log("localise", name)
    try:
        path = str(run.artifact(name).path.absolute())
        with start(chain, file, log) as worker:
            return [Operator(**one) for one in worker.call(file, "operators", {"path": path}, log, LIMIT_S).value]
    except (WorkerFailed, BadInput, OSError, TypeError):
        return []


def _explained(run: Run, result: Result, operators: Sequence[Operator]) -> Result:
    stop = find_stop(result.reason, operators, _known(run, result.target)) if operators else None
    if stop is None:
        return result
    reason = result.reason.rstrip()
    reason = reason if reason.endswith(".") else f"{reason}."
    return dataclasses.replace(result, reason=f"{reason} {stop.sentence}", stopped_in=list(stop.modules))


def _known(run: Run, target: str) -> dict[str, Twin]:
    """Return the modules of the tensors inside a target's artifacts, as manifests have them."""
    try:
        if target == "onnx":
            return {name: Twin(name, None, place.module) for name, place in run.artifact(ONNX).places.items()}
        return run.artifact(SAVED_MODEL).twins
    except BadInput:
        return {}
