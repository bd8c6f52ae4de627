# Each command sets up what it needs first: a virtual environment with the versions of constraints.txt.
# Another interpreter: make test PYTHON=python3.12 (it gets an environment of its own).
PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests of the bench compare bits, and processes: they need programs compiled as in a user's run.
BENCH_TESTS := tests/bench tests/faults tests/oracles tests/test_extending.py tests/test_readme.py dlkit/bench
PYTEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: demo test test-browser test-long test-faults test-slow lint fix docs pictures gallery bench bench-quick clean help

help:
	@echo "make demo   compare six optimizers on three problems and write a report"
	@echo "make test   run the tests, but for those that take long"
	@echo "make test-browser  the report in a headless Chromium, with axe-core for accessibility"
	@echo "make test-long  the tests of a few seconds each that make test leaves out"
	@echo "make test-slow  those of a minute and more, and the primitives compiled as in a user's program"
	@echo "make test-faults  kills and interruptions, all of them"
	@echo "make lint   format check, lint, types"
	@echo "make fix    format, and correct what the linter can"
	@echo "make docs   the documentation, in docs/_build/index.html"
	@echo "make gallery    the same, with reports of experiments beside it, a few minutes"
	@echo "make pictures   the demo's picture in the README, drawn again"
	@echo "make bench  time per step against the loops of other libraries"
	@echo "make bench-quick  what got slower than the committed ratios of this kind of machine"
	@echo "PYTHON=python3.12 selects an interpreter"

.DEFAULT_GOAL := help

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dlkit needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench,dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/dlkit run experiments/quickstart/spec.toml

test: $(READY)
	QUICK_COMPILATION=1 $(PYTEST) -m "not slow and not long" $(BENCH_TESTS:%=--ignore=%)
	$(PYTEST) -m "not slow and not long" $(BENCH_TESTS)

# Chromium drives nothing but files of this machine; axe-core (a package of npm) goes to a folder that is not committed.
AXE := build/axe/node_modules/axe-core/axe.min.js

test-browser: $(READY)
	@$(BIN)/python -c 'import sys; from tests.browser.chromium import executable; sys.exit(executable() is None)' || \
		{ echo "no Chromium: apt-get install chromium, or name one: make test-browser CHROMIUM=/path"; exit 1; }
	@test -f $(AXE) || command -v npm >/dev/null || { echo "no npm to fetch axe-core with: apt-get install npm"; exit 1; }
	@test -f $(AXE) || npm install --prefix build/axe --no-save --no-audit --no-fund --silent axe-core@4
	AXE=$(AXE) CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest --numprocesses 0 -m "not slow" tests/browser

test-long: $(READY)
	QUICK_COMPILATION=1 $(PYTEST) -m "long and not slow" $(BENCH_TESTS:%=--ignore=%)
	$(PYTEST) -m "long and not slow" $(filter-out tests/faults,$(BENCH_TESTS))

test-faults: $(READY)
	$(PYTEST) -m "slow or not slow" tests/faults

test-slow: $(READY)
	NEW_EXAMPLES=1 $(PYTEST) -m slow
	NEW_EXAMPLES=1 $(PYTEST) $(BENCH_TESTS:%=--ignore=%)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.docs-ready
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build
	@echo "docs/_build/index.html"

$(VENV)/.docs-ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

# What a picture or a report of the documentation shows is an experiment's run: made if missing, else as it is.
pictures: demo
	$(BIN)/python -m docs.pictures runs/quickstart

gallery: docs
	mkdir -p docs/_build/gallery
	for name in quickstart quadratic_deep activations; do \
		$(BIN)/dlkit run experiments/$$name/spec.toml --no-report && \
		$(BIN)/dlkit report runs/$$name --output docs/_build/gallery/$$name.html || exit 1; done

bench: $(READY)
	$(BIN)/python -m benchmarks.step_speed

bench-quick: $(READY)
	$(BIN)/python -m benchmarks.speed_watch

clean:
	rm -rf .venv* build dist docs/_build docs/reference .pytest_cache .mypy_cache .ruff_cache .hypothesis
