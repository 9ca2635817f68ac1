PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo

.PHONY: setup test demo docs lint type check bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

test: lint
	$(BIN)/python -m pytest

demo: setup
	$(BIN)/maskvd sweep demo --results $(DEMO)/results

docs: setup
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --site-dir build/docs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup
	$(BIN)/pyright

check: type test

bench: setup
	$(BIN)/python benchmarks/heatmap.py --json benchmarks/heatmap.json
	$(BIN)/python benchmarks/commands.py --json benchmarks/commands.json
	$(BIN)/python benchmarks/backbone.py --json benchmarks/backbone.json

clean:
	rm -rf $(DEMO) build dist .pytest_cache .ruff_cache .hypothesis
