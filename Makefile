PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo

.PHONY: setup test demo lint type check bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

test: lint
	$(BIN)/python -m pytest

demo: setup $(DEMO)/kitti
	$(BIN)/maskvd heatmap --dataset kitti --root $(DEMO)/kitti -o $(DEMO)/heatmap.npz
	$(BIN)/maskvd mask $(DEMO)/heatmap.npz --keep-rate 0.3 -o $(DEMO)/mask.npz
	$(BIN)/maskvd sweep recipes/demo.yaml --results $(DEMO)/results --quiet
	$(BIN)/maskvd report $(DEMO)/results
	@echo "pictures: $(DEMO)/heatmap.png $(DEMO)/mask.png"

$(DEMO)/kitti: | setup
	$(BIN)/maskvd synth -o $@ --clips 10 --frames 120 --seed 0 --no-images

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
