# Two commands on a bare machine with python3 and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
INSTALLED := $(VENV)/.installed

# Where pytest-benchmark keeps baselines, one folder per system and Python.
KERNELS := bench/kernels --benchmark-storage=file://bench/kernels/baseline --benchmark-columns=min,median,rounds

.PHONY: help install demo test lint bench bench-baseline clean

help:
	@echo "make demo   create the environment and run the main job (pictures and numbers in $(OUT)/)"
	@echo "make test   create the environment and run the whole test suite"
	@echo "make lint   style and types"
	@echo "make bench  time our own kernels and compare them with the baseline (bench-baseline saves a new one)"
	@echo "make clean  remove the environment and build outputs"

install: $(INSTALLED)

# The stamp makes the second run quick; a change of either file installs again.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cvxrobust needs Python 3.11 or later; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(VENV)/bin/cvxrobust demo --out $(OUT)

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest

bench: $(INSTALLED)
	$(VENV)/bin/python -m pytest $(KERNELS) --benchmark-compare

bench-baseline: $(INSTALLED)
	$(VENV)/bin/python -m pytest $(KERNELS) --benchmark-save=kernels

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
