# Needs only make and Python 3.11 or newer; everything else goes into .venv.
#   make demo       predict Llama-3.1-8B on one H100 and draw out/roofline.png
#   make test       run the test suite
#   make check      style, types, committed schemas
#   make check-all  the above, the slow tests and the benchmark
#   make bench      speed, memory and start-up times
#   make docs       example pictures, notebooks and schemas
#   make accuracy   docs/accuracy.md from the data sets in DATA
SHELL := /bin/bash
VENV ?= .venv
# the first interpreter that runs and is new enough
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := $(VENV)/bin
WORKERS ?= 2
export MPLBACKEND := Agg
export OMP_NUM_THREADS ?= 1
# byte code on disk is what makes the second start fast
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check check-all bench docs accuracy clean

demo: $(BIN)/.installed
	@mkdir -p out
	$(BIN)/perfmodel run llama-3.1-8b --on h100-sxm5 --batch 32 --input 1024 --output 1024 -o out/roofline.png
	@echo "picture: out/roofline.png"

test: $(BIN)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) $(ARGS)

check: $(BIN)/.installed-dev
	$(BIN)/ruff check perfmodel tests benchmarks notebooks
	$(BIN)/mypy
	$(BIN)/perfmodel schema --check

check-all: check
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)
	$(BIN)/python benchmarks/bench.py

bench: $(BIN)/.installed-dev
	$(BIN)/python benchmarks/bench.py $(ARGS)

docs: $(BIN)/.installed-dev
	$(BIN)/perfmodel schema --write
	$(BIN)/python docs/build.py

DATA ?= $(PERFMODEL_SHARED)/data

accuracy: $(BIN)/.installed-dev
	$(BIN)/python -m perfmodel.validation.accuracy $(DATA) -o docs/accuracy.md --plots

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "perfmodel needs Python 3.11 or newer on the PATH (or make PYTHON=...)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing numpy, scipy, matplotlib ... into $(VENV): about a minute"
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(BIN)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@ $(BIN)/.installed
