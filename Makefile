# `make demo` and `make test` do everything on a fresh machine; `make` alone lists the targets.
PYTHON ?= python3
TORCH ?= auto
SPCONV ?= auto
OPS ?= auto
DATA ?=
WORK_DIR ?=
JOBS ?= auto
RUN = .venv/bin/python
SOURCES = ssal3d tools tests configs docs
# One thread per process: the tests run in as many processes as there are cores.
THREADS = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help demo test coverage setup check lint format types docs test-oldest test-numpy2 clean
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Options of the set-up: TORCH=cpu|cu126|2.11.0 SPCONV=cpu|cu126|none OPS=lite|compiled PYTHON=python3.11"

demo: setup  ## S-SSAL from start to report on simulated streets; DATA=<folder in KITTI layout> for real frames
	@$(RUN) tools/demo.py $(if $(DATA),--data "$(DATA)") $(if $(WORK_DIR),--work-dir "$(WORK_DIR)") $(ARGS)

test: setup  ## every test, on all cores; SSAL3D_TEST_DATA=<folder> includes those on real frames
	@$(THREADS) $(RUN) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

# Kernels are compiled, and what is compiled is not counted: their tests run once more as plain Python, on made-up data.
PURE = active annotation bank cpsp evaluation predictions
KERNELS = bank/test_cutting bank/test_paste cpsp/test_refine evaluation/test_kitti_ap evaluation/test_lidar_ap \
          evaluation/test_right_detections evaluation/test_waymo_ap
coverage: setup  ## lines of the rooms of pure functions that their tests reach
	@$(THREADS) $(RUN) -m coverage run -m pytest -m 'not slow' $(PURE:%=tests/%) $(PURE:%=ssal3d/%) tests/properties
	@env -u SSAL3D_TEST_DATA $(THREADS) NUMBA_DISABLE_JIT=1 $(RUN) -m coverage run --append -m pytest $(KERNELS:%=tests/%.py)
	@$(THREADS) $(RUN) -m coverage run --append tools/faults/whole_experiment.py
	@$(RUN) -m coverage report --skip-covered

setup:  ## .venv with everything in it; can be interrupted and run again
	@$(PYTHON) tools/setup_env.py --torch $(TORCH) --spconv $(SPCONV) --ops $(OPS)

check: lint types test  ## what continuous integration runs

lint: setup  ## style and formatting
	@.venv/bin/ruff check $(SOURCES)
	@.venv/bin/ruff format --check $(SOURCES)

format: setup  ## mend style and formatting
	@.venv/bin/ruff check --fix $(SOURCES)
	@.venv/bin/ruff format $(SOURCES)

types: setup  ## type check
	@.venv/bin/mypy

docs: setup  ## the documentation as a site in site/: pages, Python interface, tutorial; checked
	@$(RUN) tools/build_docs.py $(ARGS)

test-oldest:  ## every test with the oldest dependencies that setup.cfg allows, in .venv-oldest
	@$(PYTHON) tools/setup_env.py --dependencies oldest --torch $(TORCH)
	@$(THREADS) .venv-oldest/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-numpy2: setup  ## every test with NumPy 2, which is what `make setup` installs
	@$(RUN) -c "import numpy; assert numpy.__version__ > '2', numpy.__version__"
	@$(MAKE) --no-print-directory test

clean:  ## remove the environments and caches
	rm -rf .venv .venv-oldest build site *.egg-info .pytest_cache .ruff_cache .mypy_cache
