# make train export validate    train the default model, export every target, prove parity
# make test                     run all tests
#
# Each target sets up what it needs. Arguments: make train ARGS="--epochs 3", make export ARGS="--to onnx".

SHELL := /bin/bash
.DEFAULT_GOAL := help

LOCK := toolchains/torch/requirements.txt
READY := .venv/.ready
BIN := .venv/bin
# uv from the PATH, or else installed into the checkout.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
COMPILE := $(CURDIR)/$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
    --no-emit-find-links --custom-compile-command "make lock"
NPM_LOCK := --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --loglevel=error

.PHONY: help setup train export validate test quick mutants benchmark zoo kernels lint types format lock readme picture schema ci clean
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

test: $(READY) ## Run all tests
	@$(BIN)/pytest --cov --cov-report=term:skip-covered $(ARGS)

quick: $(READY) ## Run the tests that take seconds
	@$(BIN)/pytest -m "not slow" $(ARGS)

mutants: $(READY) ## Examine the validator: artifacts broken on purpose, and good ones; takes long
	@$(BIN)/python -m tests.mutants $(ARGS)

benchmark: $(READY) ## Time and memory of export, beside the plain chain of converters
	@$(BIN)/python -m benchmarks.export $(ARGS)

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
	@touch $@
