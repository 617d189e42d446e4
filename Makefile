# Two commands on a bare machine with python3 and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
SITE ?= site
INSTALLED := $(VENV)/.installed
# What `make gpu` brings along: small inputs and small packages, made beforehand by `make gpu-inputs`.
INPUTS ?= gpu-inputs

# Where pytest-benchmark keeps baselines, one folder per system and Python.
KERNELS := bench/kernels --benchmark-storage=file://bench/kernels/baseline --benchmark-columns=min,median,rounds

.PHONY: help install demo test lint gallery docs docs-check bench bench-baseline gpu gpu-inputs gpu-rehearse release-check clean

help:
	@echo "make demo   create the environment and run the main job (pictures and numbers in $(OUT)/)"
	@echo "make test   create the environment and run the whole test suite"
	@echo "make lint   style and types"
	@echo "make docs   build the site in $(SITE)/, every warning an error (docs-check also runs all its code)"
	@echo "make gallery  run the notebooks of docs/gallery again, and write their pages for the site (two minutes)"
	@echo "make bench  time our own kernels and compare them with the baseline (bench-baseline saves a new one)"
	@echo "make gpu    what a GPU is worth to us, in eight minutes, with the PyTorch that $(PYTHON) has (report in OUT)"
	@echo "            (gpu-inputs prepares what it brings along, gpu-rehearse does the same on the CPU, in small)"
	@echo "make release-check  build sdist and wheel, look them over, install and try both on every Python that is here"
	@echo "make clean  remove the environment and build outputs"

install: $(INSTALLED)

# The stamp makes the second run quick; a change of either file installs again.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cvxrobust needs Python 3.11 or later; name one with: make PYTHON=python3.12 ...")'
	@test -e .typepath/cvxrobust || ln -s .. .typepath/cvxrobust  # an sdist cannot hold links to folders
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(VENV)/bin/cvxrobust demo --out $(OUT)

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal

bench: $(INSTALLED)
	$(VENV)/bin/python -m pytest $(KERNELS) --benchmark-compare

bench-baseline: $(INSTALLED)
	$(VENV)/bin/python -m pytest $(KERNELS) --benchmark-save=kernels

# No environment of its own: the machine with the GPU has PyTorch, and may have no network.
gpu: OUT = gpu-run
gpu:
	PYTHONPATH=.typepath:$(INPUTS)/site$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) -m cvxrobust.bench.gpu --out $(OUT) --inputs $(INPUTS)

gpu-inputs: $(INSTALLED)
	$(VENV)/bin/python -m cvxrobust.bench.gpu.inputs --out $(INPUTS)

gpu-rehearse: OUT = gpu-rehearsal
gpu-rehearse: $(INSTALLED)
	$(VENV)/bin/python -m cvxrobust.bench.gpu --rehearse --out $(OUT) --inputs $(INPUTS)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

release-check:
	.ci/release-check

# Pages of the gallery are what its notebooks said when they were last run, which is when one of them has changed.
docs: $(INSTALLED) docs/gallery/index.md
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --site-dir $(abspath $(SITE))
	$(VENV)/bin/python docs/check_site.py $(SITE)

docs/gallery/index.md: docs/build_gallery.py $(wildcard docs/gallery/*.py) | $(INSTALLED)
	$(VENV)/bin/python docs/build_gallery.py

gallery: $(INSTALLED)
	$(VENV)/bin/python docs/build_gallery.py

docs-check: docs
	CVXROBUST_SITE=$(abspath $(SITE)) $(VENV)/bin/python -m pytest tests/docs tests/packaging/test_papers.py \
	    tests/packaging/test_types.py tests/packaging/test_packaging.py

clean:
	rm -rf $(VENV) $(SITE) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
