# `make help` lists the targets. A target does only what is not done yet.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
WAREHOUSE ?= build/warehouse
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPING := build/typing/genremill
DEMO := build/demo/tracks.csv
TRACKS ?= $(DEMO)
AUDIO_ROOT ?= $(if $(filter $(DEMO),$(TRACKS)),$(dir $(DEMO)))

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## Make .venv and install genremill with its pinned dependencies

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v[:2] not in ((3, 11), (3, 12)) and f"Python 3.11 or 3.12 is needed, found {v[0]}.{v[1]}: make setup PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/python -m genremill.udfs.compiled
	$(BIN)/genremill doctor
	touch $(READY)

run: $(READY) $(if $(filter $(DEMO),$(TRACKS)),$(DEMO)) ## Tag a demo catalog, or your own table: make run TRACKS=tracks.csv
	$(BIN)/genremill nightly --tracks $(TRACKS) $(if $(AUDIO_ROOT),--audio-root $(AUDIO_ROOT)) --warehouse $(WAREHOUSE)

$(DEMO): $(READY) jobs/demo.py jobs/demo_clips.py
	$(BIN)/python -m genremill.jobs.demo --out $(DEMO)

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests jobs udfs models infra

check: $(READY) $(TYPING) ## Lint, check the format and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPING)/*/ tests

$(TYPING): # mypy sees genremill.<folder> through these links, as the package mapping has it
	mkdir -p $@
	for folder in jobs udfs models infra; do ln -sfn ../../../$$folder $@/$$folder; done

bench: $(READY) ## Measure speed and accuracy; prints tables
	for file in tests/bench/bench_*.py; do $(BIN)/python -m tests.bench.$$(basename $$file .py) || exit 1; done

clean: ## Remove the venv and everything built
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache *.egg-info
