"""Names the PyTorch module at which a runtime failed, where it said which of its operators that was.

    results = explained(run, results, registry.find())
    results[3].reason     # "… Node number 8 (DIV) failed to invoke. That operator computes head.norm (…)."

A row's message says it, or its log: LiteRT.js goes on after an operator that failed, and gives what was in memory. The
artifact is read only then, once for all its rows, by its target's file in readers/. What cannot be found is not said.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from export.graphs.layers import Twin
from export.graphs.stopped import Operator, find_stop, names_operator
from export.run import Run
from export.target import constants
from records.errors import BadInput
from validate.localise.localise import LIMIT_S, ONNX, SAVED_MODEL, Start, in_its_own_process, readable
from validate.report.records import Result, Status
from workers.toolchain import Toolchain
from workers.worker import WorkerFailed

FAILED: frozenset[Status] = frozenset({"error", "refused", "fail"})
LOGGED = re.compile(r"(?:Node number \d+ \(\w+\) failed to|Didn't find op for builtin opcode).*$", re.MULTILINE)
"""What LiteRT.js says in its log alone. Other words of a log may name an operator in passing."""


def explained(
    run: Run, results: Sequence[Result], toolchains: Mapping[str, Toolchain], start: Start = in_its_own_process
) -> list[Result]:
    """Return the rows, those with the module whose runtime named an operator of a known one."""
    texts = [_words(run, result) if result.status in FAILED else "" for result in results]
    named = dict.fromkeys(f"{row.target}/{row.precision}" for row, text in zip(results, texts, strict=True) if text)
    artifacts = {name: _operators(run, name, toolchains, start) for name in named}
    return [
        _explained(run, row, text, artifacts[f"{row.target}/{row.precision}"]) if text else row
        for row, text in zip(results, texts, strict=True)
    ]


def _words(run: Run, result: Result) -> str:
    """Return what a runtime said of an operator: the reason, or else the last such line of the log; empty: nothing."""
    if result.status != "fail" and names_operator(result.reason):
        return result.reason
    try:
        log = (run.folder / result.log).read_text(errors="replace") if result.log else ""
    except OSError:
        return ""
    return next(iter(reversed(LOGGED.findall(log))), "")


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


def _explained(run: Run, result: Result, text: str, operators: Sequence[Operator]) -> Result:
    stop = find_stop(text, operators, _known(run, result.target)) if operators else None
    if stop is None:
        return result
    said = result.reason if text == result.reason else f"{_sentence(result.reason)} Its log: {text}"
    return dataclasses.replace(result, reason=f"{_sentence(said)} {stop.sentence}", stopped_in=list(stop.modules))


def _known(run: Run, target: str) -> dict[str, Twin]:
    """Return the modules of the tensors inside a target's artifacts, as manifests have them."""
    try:
        if target == "onnx":
            return {name: Twin(name, None, place.module) for name, place in run.artifact(ONNX).places.items()}
        return run.artifact(SAVED_MODEL).twins
    except BadInput:
        return {}


def _sentence(text: str) -> str:
    text = text.rstrip()
    return text if not text or text[-1] in ".!?" else f"{text}."
