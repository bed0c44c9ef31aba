# make demo    train cells on Japanese Vowels, from a fresh checkout
# make numpy   train an LSTM in NumPy alone
# make zoo     train every shipped cell for a moment; writes docs/zoo-training.md
# make test    style, types and the everyday tests
# make test-all  the slow tests too
# make random  prove the passes on CELLS random cells
# make docs    regenerate docs/ops.md, docs/zoo.md and the pictures
# make bench   compare emitted code and compiled kernels with what there is otherwise
# make bench-gpu  kernels on a CUDA device beside cuDNN; in under eight minutes

PYTHON ?= python3
BIN := .venv/bin
# Two threads of one product for each of several tests at a time wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo numpy zoo test test-all random docs bench bench-gpu format clean

demo: .venv/demo
	$(BIN)/python examples/japanese_vowels.py

numpy: .venv/demo
	OMP_NUM_THREADS=1 $(BIN)/python examples/numpy_lstm.py

zoo: .venv/demo
	$(BIN)/python examples/zoo.py

test: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow" --durations=20

test-all: .venv/dev
	$(PYTEST)

CELLS ?= 2000
random: .venv/dev
	CELLC_RANDOM_CELLS=$(CELLS) $(PYTEST) tests/test_properties.py -k many

docs: .venv/dev
	$(BIN)/python docs/generate.py

bench: .venv/dev
	$(BIN)/python benchmarks/speed.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/numpy_speed.py
	$(BIN)/python benchmarks/gradient.py
	$(BIN)/python benchmarks/scan.py --write
	$(BIN)/python benchmarks/diagonals.py --write
	$(BIN)/python benchmarks/compile_time.py
	$(BIN)/python benchmarks/drawing.py
	$(BIN)/python benchmarks/kernels.py --inductor

bench-gpu: .venv/dev
	$(BIN)/python benchmarks/gpu.py --json benchmarks/results/gpu.json --markdown benchmarks/results/gpu.md

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/cellc fmt specs/*.cell

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e ".[demo]"
	touch $@

.venv/dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e ".[dev,demo]"
	touch $@
