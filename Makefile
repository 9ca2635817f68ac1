PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo
LOCK   := requirements/dev.lock
WORKERS ?= logical
# uv installs in a fraction of pip's time; `make setup UV=` does without it.
UV     := $(shell uv --version >/dev/null 2>&1 && echo uv)

# Without compiled modules every start of Python would compile all of torch's anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup lock test demo docs lint type check bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(LOCK)
ifneq ($(UV),)
	test -x $(BIN)/python || $(UV) venv --quiet --seed --python "$$(command -v $(PYTHON))" $(VENV)
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -c $(LOCK) --editable '.[dev]'
else
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c $(LOCK) --editable '.[dev]'
endif
	touch $@

# Pins for every supported Python and system; keeps what is pinned unless UPGRADE=--upgrade is given.
lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev --extra energy --extra hf --extra tracks \
	  --constraints requirements/torch.txt --output-file $(LOCK) --quiet $(UPGRADE)

# One process per core, one thread each: many small tensors gain nothing from more.
test: export OMP_NUM_THREADS = 1
test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal

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
	$(BIN)/python benchmarks/rfdetr.py --json benchmarks/rfdetr.json

clean:
	rm -rf $(DEMO) build dist .pytest_cache .ruff_cache .hypothesis
