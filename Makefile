# Every target makes .venv itself: a machine with Python 3.11 and make is enough.
# A torch build of your own (CPU only, another CUDA): PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint format bench

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[pipelines,onnx,dev]'
	touch $@

demo: $(READY)  ## three rounds on generated scenes, with table, registered model and report
	$(BIN)/python -m pipelines demo

test: $(READY)  ## all tests but the long ones: those without Ray on all cores, then those with it, which mostly wait, two at a time
	$(BIN)/python -m pytest -m "not long and not ray" --numprocesses=auto --dist=worksteal
	$(BIN)/python -m pytest -m "not long and ray" --numprocesses=2 --dist=loadgroup --no-loadscope-reorder

test-long: $(READY)  ## the long tests: full counts
	$(BIN)/python -m pytest -m long

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)  ## put the style right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## every engine benchmark, as one table
	$(BIN)/python -m benchmarks engine all
