# Everything happens in .venv, made from the first Python >= 3.11 found. `make demo` is the place to start.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
CORES := -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test test-slow test-page screenshots world chaos crash-points operator vectors fuzz check bench setup clean

demo: setup  ## four hospitals compute together; ARGS=--once ends by itself
	@$(BIN)/hansa demo $(ARGS)

setup: .venv/installed  ## make .venv and install Hansa into it

test: .venv/developing  ## every test but those that drive a browser, and further histories of the same
	@$(BIN)/pytest $(CORES) -m "not browser and not slow" $(ARGS)

test-slow: .venv/developing  ## further histories of what `make test` plays once
	@$(BIN)/pytest $(CORES) -m slow $(ARGS)

test-page: .venv/developing  ## the page in headless Chromium
	@$(BIN)/pytest -m browser $(ARGS)

screenshots: .venv/developing  ## every page, light and dark, at 1280 and 390 pixels, into docs/pictures
	@$(BIN)/python -m tests.end_to_end.screens $(or $(ARGS),docs/pictures)

world: .venv/developing  ## thousands of schedules in a world that lies; ARGS="--schedules 20000 --seed 7"
	@$(BIN)/python -m tests.world $(or $(ARGS),--schedules 5000)

chaos: .venv/developing  ## kill -9 of real processes and brokers, then a count; ARGS="--kills 2000 --seed 7"
	@$(BIN)/python -m tests.chaos $(ARGS)

crash-points: .venv/developing  ## a party dies at every durable write of a job; ARGS="--stride 10 --database sqlite"
	@$(BIN)/python -m tests.crash_points $(ARGS)

operator: .venv/developing  ## who finds what a hub's operator changes, and in which words; ARGS="consent --all"
	@$(BIN)/python -m tests.operator $(ARGS)

vectors: .venv/developing  ## test vectors of whole runs, from seeds; ARGS=--anew draws encapsulations anew
	@$(BIN)/python -m tests.run_vectors $(ARGS)

fuzz: .venv/developing  ## every parser under atheris; ARGS="--seconds 600 --only plan"
	@$(BIN)/pip install --quiet --disable-pip-version-check --only-binary :all: -e '.[fuzz]' 2>/dev/null || true
	@$(BIN)/python -m tests.fuzz $(ARGS)

check: .venv/developing  ## style, types, import contracts, migrations, tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest $(CORES) -m "not browser and not slow" $(ARGS)

bench: .venv/developing  ## measure, and print ratios taken in one run
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv build dist

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Hansa needs Python 3.11 or newer; none was found" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "installing into .venv (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[all]'
	@touch $@

.venv/developing: pyproject.toml .venv/installed
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	@touch $@
