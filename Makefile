# Each command sets up what it needs first. `make setup` costs well under a second when all is there.

# The system's own Python first: it is built with profile-guided optimisation, those of version managers mostly are not.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
BIN := .venv/bin
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: help setup demo test test-long lint format bench image docs clean

help:
	@echo 'make setup       fetch and build everything that is missing (the first time takes minutes)'
	@echo 'make demo        start Outrider with two real clusters; Ctrl-C stops them'
	@echo 'make test        run the tests; ARGS="-k name" chooses'
	@echo 'make test-long   run the tests that take minutes too'
	@echo 'make lint        style, types, layers, generated files'
	@echo 'make format      bring the code into the style that lint asks for'
	@echo 'make bench       run the benchmarks, or one: make bench BENCH=proxy'
	@echo "make image       build the agent's image without a container engine; prints the tar file's path"
	@echo 'make docs        build the documentation into site/'
	@echo 'make clean       remove what was built in this checkout; caches and data stay'

setup:
	@$(PYTHON) -m tools.setup

demo: setup
	@$(RUN) outrider up --demo 2

test: setup
	@$(RUN) python -m tools.tests -m 'not long' $(ARGS)

test-long: setup
	@$(RUN) python -m pytest --timeout=3600 $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(RUN) python -m pytest -q tests/unit/repo
	$(BIN)/python tools/generate.py --check

format: setup
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: setup
	@$(RUN) python -m tools.bench $(BENCH)

image: setup
	@$(BIN)/python -m tools.image agent

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .tools site dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
