# `make help` prints this list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTABLE := $(VENV)/.testable

.PHONY: help demo test test-all lint lab bench heldout clean

help:  ## print this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@echo "installing into $(VENV) (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embed,llm,notebook]'
	@touch $(READY)

$(TESTABLE): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embed,kafka,llm,local,mlflow,notebook,dev]'
	@touch $(TESTABLE)

demo: $(READY)  ## install, run the whole flow on the sample, write reports/audit-lab-sample.html
	@$(BIN)/audit-lab demo

test: $(TESTABLE)  ## the test suite (under 15 minutes on two cores)
	@$(BIN)/python -m pytest -m "not slow"

test-all: $(TESTABLE)  ## with the slow tests too
	@$(BIN)/python -m pytest

lint: $(TESTABLE)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/mypy

lab: $(READY)  ## JupyterLab on notebooks/
	@$(BIN)/jupyter lab --notebook-dir notebooks

bench: $(TESTABLE)  ## side-by-side ratios against peers
	@for file in benchmarks/bench_*.py; do PYTHONPATH=. $(BIN)/python $$file || exit 1; done

heldout: $(TESTABLE)  ## evaluate once on the later recording; appends to docs/heldout.md
	@$(BIN)/python -m benchmarks.heldout

clean:  ## remove the lab, reports and caches (not the environment)
	@rm -rf lab reports/*.html .pytest_cache .mypy_cache .ruff_cache
