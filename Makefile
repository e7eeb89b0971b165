# Everything from nothing: python3.11, make and a C compiler, for test-all C++, are all that a machine needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-all lint fix clean

setup: $(READY) ## the environment, in .venv, from constraints.txt

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY) ## the whole chain on phantoms, under 5 minutes after the installation
	$(BIN)/rcm-cascade demo

test: lint ## ruff, mypy and the fast tests, under 10 minutes
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadfile

test-all: $(READY) ## the slow tests: wheel, notebooks, browser, several processes, real data
	$(BIN)/python -m pytest -m slow --timeout 1800

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(READY) ## what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## removes the environment and caches; runs/ and phantoms/ stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
