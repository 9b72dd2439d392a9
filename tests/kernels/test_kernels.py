"""Kernels of TensorFlow.js: right, or wrong as the list says; and what is wrong is written otherwise and then right."""

import re
from pathlib import Path

import pytest

from tests.kernels import conformance
from tests.kernels.cases import BINARY, table
from tests.kernels.conformance import Made

FOREIGN = ("made",)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return conformance.make(tmp_path_factory.mktemp("kernels"), table())


def listed(made: Made) -> Made:
    """The cases of operators that something is known of: one may be wrong only after another of its kind."""
    operators = {operator for kernel in conformance.known() for operator in kernel.operators} - set(BINARY)
    kernels = conformance.known()
    names = {case["name"] for case in made.cases}
    met = {name for name in names if any(kernel.meets(name) for kernel in kernels)}
    return made.named(met | {name for name in names if name.partition(" ")[0] in operators})


@pytest.mark.parametrize("backend", conformance.IN_NODE)
@pytest.mark.parametrize("model", ["plain", "mended"])
def test_every_operator_is_right_in_node_or_wrong_as_listed(made: Made, model: str, backend: str) -> None:
    verdicts = conformance.measured(made, model, backend)
    assert len(verdicts) > 800
    assert conformance.surprises(verdicts, backend, model) == []


@pytest.mark.nightly
@pytest.mark.parametrize("backend", conformance.IN_CHROMIUM)
def test_what_is_listed_is_right_in_chromium_as_we_write_it(made: Made, backend: str) -> None:
    cases = listed(made)
    verdicts = conformance.measured(cases, "mended", backend)
    assert len(verdicts) == len(cases.cases) > 100
    assert conformance.surprises(verdicts, backend, "mended") == []


@pytest.mark.nightly
@pytest.mark.parametrize("backend", conformance.IN_CHROMIUM)
def test_every_operator_as_we_write_it_is_right_in_chromium_or_wrong_as_listed(made: Made, backend: str) -> None:
    verdicts = conformance.measured(made, "mended", backend)
    assert len(verdicts) > 800
    assert conformance.surprises(verdicts, backend, "mended") == []


@pytest.mark.parametrize("place", ["old", pytest.param("chromium", marks=pytest.mark.nightly)])
def test_wasm_is_right_without_simd_and_with_threads(made: Made, place: str) -> None:
    numbers = made.named({case["name"] for case in made.cases if not case["name"].endswith(" special")})
    verdicts = conformance.measured(numbers, "mended", "wasm", place)
    assert len(verdicts) > 800
    assert conformance.surprises(verdicts, "wasm", "mended") == []


@pytest.mark.nightly
@pytest.mark.parametrize("backend", conformance.IN_CHROMIUM)
def test_what_is_listed_is_wrong_in_chromium_still(made: Made, backend: str) -> None:
    verdicts = conformance.measured(listed(made), "plain", backend)
    assert conformance.surprises(verdicts, backend, "plain") == []


def test_every_entry_of_the_list_is_about_a_case() -> None:
    names = [case.name for case in table()]
    for kernel in conformance.known():
        assert any(kernel.meets(name) for name in names), kernel
        assert set(kernel.backends.values()) <= {"wrong", "refused"}
        assert set(kernel.backends) <= {*conformance.IN_NODE, *conformance.IN_CHROMIUM}


def test_docs_tell_every_entry_of_the_list() -> None:
    text = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text()
    for kernel in conformance.known():
        assert re.search(rf"^\| {kernel.operators[0]}\b.*\| {re.escape(kernel.condition)} \|", text, re.MULTILINE), (
            kernel
        )


def test_a_spatial_transformer_is_wrong_on_wasm_and_mended(made: Made) -> None:
    names = {case["name"] for case in made.cases if case["name"].startswith("SpatialTransformer")}
    transformers = made.named(names)
    plain = conformance.measured(transformers, "plain", "wasm").values()
    assert [verdict.outcome for verdict in plain] == ["right", "wrong", "wrong"]  # batches of 1, 2 and 5
    mended = conformance.measured(transformers, "mended", "wasm").values()
    assert {verdict.outcome for verdict in mended} == {"right"}


def test_what_cannot_be_written_otherwise_says_which_backends_to_use(made: Made) -> None:
    everywhere = "refused on cpu and refused on wasm and refused on webgl and refused on webgpu: no backend computes it"
    wants = "always: it wants executeAsync, which would slow down all of the model"
    assert list(made.findings) == [
        "DivNoNan (5 axes and more) is refused on webgl and refused on webgpu: use cpu or wasm",
        f"Einsum (an axis named twice of one factor) is {everywhere}",
        *(f"NonMaxSuppressionV{version} ({wants}) is {everywhere}" for version in (4, 2, 3, 5)),
        f"Where ({wants}) is {everywhere}",
    ]
