# `make demo` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export OMP_WAIT_POLICY = PASSIVE

.PHONY: demo test lint tables clean

$(BIN)/eorestore: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $(BIN)/eorestore

$(BIN)/pytest: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(BIN)/eorestore $(BIN)/pytest

demo: $(BIN)/eorestore
	$(BIN)/eorestore demo --out demo --overwrite

lint: $(BIN)/pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 -q

tables: $(BIN)/eorestore
	$(BIN)/python -m eorestore.reports.tables README.md docs/results-*.md results

clean:
	rm -rf $(VENV) demo dist build
