# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
SPCONV ?= auto
DATA ?=
WORK_DIR ?=
RUN = .venv/bin/python
SOURCES = ssal3d tools tests configs

.PHONY: demo test setup check lint format types clean

demo: setup  ## S-SSAL end to end on simulated streets, or on real frames: make demo DATA=<folder in KITTI layout>
	@$(RUN) tools/demo.py $(if $(DATA),--data "$(DATA)") $(if $(WORK_DIR),--work-dir "$(WORK_DIR)") $(ARGS)

test: setup  ## every test; set SSAL3D_TEST_DATA to include those on real frames
	@$(RUN) -m pytest $(ARGS)

setup:  ## .venv with everything in it; idempotent, safe to interrupt
	@$(PYTHON) tools/setup_env.py --spconv $(SPCONV)

check: lint types test  ## what continuous integration runs

lint: setup
	@.venv/bin/ruff check $(SOURCES)
	@.venv/bin/ruff format --check $(SOURCES)

format: setup
	@.venv/bin/ruff check --fix $(SOURCES)
	@.venv/bin/ruff format $(SOURCES)

types: setup
	@.venv/bin/mypy

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache
