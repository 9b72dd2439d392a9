# make train export validate    train the default model, export every target, prove parity
# make test                     run the tests that every change has to pass
#
# Each target sets up what it needs. Arguments: make train ARGS="--epochs 3", make export ARGS="--to onnx".

SHELL := /bin/bash
.DEFAULT_GOAL := help

LOCK := toolchains/torch/requirements.txt
# Further libraries of models: make setup EXTRAS=timm,transformers
EXTRAS ?=
COMMA := ,
READY := .venv/.ready$(if $(EXTRAS),-$(subst $(COMMA),-,$(EXTRAS)))
BIN := .venv/bin
# uv from the PATH, or else installed into the checkout.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
COMPILE := $(CURDIR)/$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
    --no-emit-find-links --custom-compile-command "make lock"
# Lanes of tests side by side, each with one thread: threads of two trainings beside each other wait for one another.
LANES ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(LANES) --dist loadfile --no-loadscope-reorder
NPM_LOCK := --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --loglevel=error

.PHONY: help setup train export validate quick test nightly mutants benchmark integers zoo kernels lint types format lock readme picture schema ci clean
.NOTPARALLEL:

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Install everything into .venv

train: $(READY) ## Train: runs/RUN/checkpoint
	@$(BIN)/anywhere train $(ARGS)

export: $(READY) ## Export every target: runs/RUN/artifacts
	@$(BIN)/anywhere export $(ARGS)

validate: $(READY) ## Prove parity in every runtime: runs/RUN/report
	@$(BIN)/anywhere validate $(ARGS)

quick: $(READY) ## Run the tests that start no toolchain: a minute or so
	@$(PYTEST) -m "not slow and not nightly" $(ARGS)

test: $(READY) ## Run the tests that every change has to pass
	@$(PYTEST) -m "not nightly" $(ARGS)

nightly: $(READY) ## Run all tests from an empty cache, with coverage; takes hours
	@cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && \
	    ANYWHERE_CACHE="$$cache" $(PYTEST) --cov --cov-report=term:skip-covered $(ARGS)

mutants: $(READY) ## Examine the validator: artifacts broken on purpose, and good ones; takes long
	@$(BIN)/python -m tests.mutants $(ARGS)

benchmark: $(READY) ## Time and memory of export, beside the plain chain of converters
	@$(BIN)/python -m benchmarks.export $(ARGS)

integers: $(READY) ## int8 by every tool beside ours, of runs that are there: make integers ARGS="digits"
	@$(BIN)/python -m benchmarks.integers $(ARGS)

zoo: $(READY) ## Networks nobody tuned for, exported and validated: docs/zoo.md; takes hours, goes on where it stopped
	@$(BIN)/python -m benchmarks.zoo $(ARGS)

kernels: $(READY) ## Every operator on every backend of TensorFlow.js; docs/kernels.md
	@$(BIN)/python -m tests.kernels $(ARGS)

lint: $(READY) ## Check style
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: $(READY) ## Check types
	@$(BIN)/mypy

format: $(READY) ## Format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

readme: $(READY) ## Write the tables of README and docs/ anew, from the latest report
	@$(BIN)/python -m tests.readme

picture: $(READY) ## Draw docs/report.png anew, from the latest report
	@$(BIN)/python -m tests.picture

schema: $(READY) ## Write validate/report/report.schema.json anew
	@$(BIN)/python -m validate.report.records

lock: $(READY) ## Write the lock of every toolchain anew
	@$(COMPILE) --extra dev --python-version 3.11 pyproject.toml -o $(LOCK)
	@for folder in $(dir $(wildcard $(addsuffix /*/requirements.in,toolchains tests/toolchains benchmarks/toolchains))); do \
	    (cd $$folder && $(COMPILE) --python-version $$(cat .python-version 2>/dev/null || echo 3.11) \
	        $$([ ! -f overrides.txt ] || echo --overrides overrides.txt) requirements.in -o requirements.txt) || exit 1; \
	done
	@for folder in $(dir $(wildcard toolchains/*/package.json)); do \
	    (cd $$folder && npm install $(NPM_LOCK)) || exit 1; \
	done

ci: lint types test ## What has to pass

clean: ## Remove the environment; runs stay
	rm -rf .venv .uv

.uv/bin/uv:
	@python3 -m venv .uv && .uv/bin/pip install --quiet uv

$(READY): $(LOCK) pyproject.toml | $(filter .uv/bin/uv,$(UV))
	@echo "setting up .venv …"
	@test -x $(BIN)/python || $(UV) venv --quiet .venv
	@VIRTUAL_ENV=$(CURDIR)/.venv $(UV) pip sync --quiet --require-hashes --compile-bytecode $(LOCK)
	@VIRTUAL_ENV=$(CURDIR)/.venv $(UV) pip install --quiet --no-deps --editable .
	@test -z "$(EXTRAS)" || VIRTUAL_ENV=$(CURDIR)/.venv $(UV) pip install --quiet --editable ".[$(EXTRAS)]"
	@touch .venv/.ready $@
