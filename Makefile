# `make help` lists the targets. A target skips work that is already done.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Each table has a warehouse of its own: build/warehouse-songs for songs.csv.
WAREHOUSE ?= build/warehouse$(if $(filter $(DEMO),$(TRACKS)),,-$(basename $(notdir $(TRACKS))))
# A Spark version other than the pinned one gets its own venv: make test SPARK=4.0.0
SPARK ?=
VENV := .venv$(if $(SPARK),-spark-$(SPARK))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPING := build/typing/genremill
DEMO := build/demo/tracks.csv
TRACKS ?= $(DEMO)
ARCHIVE := build/genremill-env.tar.gz
TOOLS := build/tools
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
COMMA := ,
WITHOUT_HASHES := sed -n 's/ *\\$$//; /^[^\#]*==/p' requirements.lock
CLUSTER_PORT ?= 7077
CLUSTER_UI_PORT ?= 8080
AUDIO_ROOT ?= $(if $(filter $(DEMO),$(TRACKS)),$(dir $(DEMO)))

.DEFAULT_GOAL := help
.PHONY: help setup lock run test test-long fuzz kills test-cluster check check-deploy bench docs archive release cluster-up cluster-down clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Create .venv and install genremill with its pinned dependencies

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v[:2] not in ((3, 11), (3, 12)) and f"Python 3.11 or 3.12 is needed, found {v[0]}.{v[1]}: make setup PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed '$(if $(SPARK),/^pyspark==/$(COMMA)/[^\\]$$/d)' requirements.lock | $(BIN)/python $(PIP_INSTALL) --require-hashes --no-deps -r /dev/stdin
	$(BIN)/python $(PIP_INSTALL) --editable . $(if $(SPARK),pyspark==$(SPARK))
	$(BIN)/python -m genremill.udfs.compiled
	$(BIN)/genremill doctor
	touch $(READY)

run: $(READY) $(if $(filter $(DEMO),$(TRACKS)),$(DEMO)) ## Tag a demo catalog, or your own table with make run TRACKS=tracks.csv
	@echo "warehouse: $(WAREHOUSE)"
	$(BIN)/genremill nightly --tracks $(TRACKS) $(if $(AUDIO_ROOT),--audio-root $(AUDIO_ROOT)) --warehouse $(WAREHOUSE)

$(DEMO): $(READY) jobs/demo.py jobs/synthetic/catalog.py jobs/synthetic/clips.py
	$(BIN)/python -m genremill.jobs.demo --out $(DEMO)

# One OpenMP thread per process, because pytest's two workers, Spark and torch already share the cores. The files
# run in the order given, the longest first, so that both workers finish at about the same time.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder
FUZZ := tests/fuzz/test_targets.py
FUZZ_MINUTES ?= 60
KILLS ?= 100
SEED ?= 0
LONG_TESTS := $(patsubst %,tests/e2e/test_%.py,month nights s3_warehouse faults interrupts release s3_outcomes cluster feature_sets known_sounds study augmented_training) $(FUZZ)

test: $(READY) ## Run the tests; SPARK=4.0.0 runs them on that Spark version, in its own venv
	$(PYTEST) $(addprefix --ignore=,$(LONG_TESTS)) tests/e2e tests jobs udfs models infra

test-long: $(READY) ## Run the longer tests: a month of nights, S3, faults, a cluster, feature sets, studies
	$(PYTEST) $(LONG_TESTS)

fuzz: $(READY) ## Read new generated files of all kinds for FUZZ_MINUTES=60
	OMP_NUM_THREADS=1 GENREMILL_FUZZ_MINUTES=$(FUZZ_MINUTES) $(BIN)/python -m pytest $(FUZZ)

kills: $(READY) ## Kill nights at KILLS=100 random moments, in a folder and on S3, and check what is left
	$(BIN)/python -m tests.e2e.random_kills --kills $(KILLS) --seed $(SEED)

test-cluster: $(READY) $(ARCHIVE) ## Run all jobs on a cluster of two workers, with the archive
	GENREMILL_TEST_ARCHIVE=$(abspath $(ARCHIVE)) $(BIN)/python -m pytest tests/e2e/test_cluster.py

check: $(READY) $(TYPING) ## Lint, and check formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPING) tests

check-deploy: $(READY) $(DEMO) ## Build and run the image in a folder, and run a night under Airflow
	rm -rf build/image build/airflow-home
	$(BIN)/python -m tests.deploy.image_check build/image
	test -x build/airflow/bin/python || $(PYTHON) -m venv build/airflow
	build/airflow/bin/python -m pip install --quiet --disable-pip-version-check -r tests/deploy/airflow.lock
	build/airflow/bin/python tests/deploy/airflow_nights.py build/airflow-home $(BIN)/genremill $(DEMO)

$(TYPING): # links through which mypy finds the package, as pyproject.toml maps it
	mkdir -p $@
	for folder in jobs udfs models infra; do ln -sfn ../../../$$folder $@/$$folder; done
	ln -sfn ../../../infra/package/__init__.py ../../../infra/package/__main__.py $@

archive: $(ARCHIVE) ## Pack the environment for executors into build/genremill-env.tar.gz

# The kernels are compiled for the CPU of this machine. pyspark is left out, because Spark brings its own.
$(ARCHIVE): pyproject.toml requirements.lock $(shell find jobs udfs models infra -name "*.py" -o -name "*.onnx" -o -name "*.safetensors" -o -name "*.yaml" -o -name "*.j2")
	test -x build/archive/bin/python || $(PYTHON) -m venv build/archive
	rm -rf build/lib build/bdist.*
	$(WITHOUT_HASHES) > build/constraints.txt
	build/archive/bin/python $(PIP_INSTALL) --constraint build/constraints.txt venv-pack2==0.9.2 .
	rm -rf build/lib build/bdist.*
	build/archive/bin/python -m genremill.udfs.compiled
	build/archive/bin/venv-pack --quiet --force --prefix build/archive --output $@ $(foreach unused,pip pyspark tests torch/include torch/test,--exclude '*/$(unused)/*')
	chmod 644 $@

$(TOOLS)/.ready: # in a venv of its own, because the tools need other versions of packages
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python $(PIP_INSTALL) build==1.6.1 cyclonedx-bom==7.5.0 uv==0.13.9
	touch $@

lock: $(TOOLS)/.ready ## Write the hashes of the versions in requirements.lock; edit a version, then run this
	sed -n '/^#/p' requirements.lock > build/requirements.lock
	$(WITHOUT_HASHES) | $(TOOLS)/bin/uv pip compile --quiet --no-deps --generate-hashes --no-header --no-annotate --python-version 3.11 - >> build/requirements.lock
	mv build/requirements.lock requirements.lock

release: $(TOOLS)/.ready ## Build wheel and source archive in dist/, with a CycloneDX SBOM and SHA256SUMS
	rm -rf dist build/lib build/bdist.*
	$(TOOLS)/bin/python -m build --outdir dist
	rm -rf build/lib build/bdist.*
	{ cat requirements.lock; grep -o 'torch==[0-9.]*' pyproject.toml; } | $(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file "$$(ls dist/*.whl | sed 's/-py3.*/.cdx.json/')" -
	cd dist && sha256sum -- * > SHA256SUMS

cluster-up: $(READY) ## Start a standalone Spark master and two workers on 127.0.0.1
	@$(BIN)/python infra/deploy/cluster.py up --port $(CLUSTER_PORT) --ui-port $(CLUSTER_UI_PORT)

cluster-down: ## Stop the standalone cluster
	@test ! -x $(BIN)/python || $(BIN)/python infra/deploy/cluster.py down

docs: $(READY) $(DEMO) ## Run the demo and take the screenshots in docs/images; needs chromium
	rm -rf build/docs-warehouse
	$(BIN)/genremill nightly --tracks $(DEMO) --audio-root $(dir $(DEMO)) --warehouse build/docs-warehouse
	$(BIN)/python -m tests.docs.make_images build/docs-warehouse docs/images

bench: $(READY) ## Measure speed and accuracy, and print tables
	for file in tests/bench/bench_*.py; do $(BIN)/python -m tests.bench.$$(basename $$file .py) || exit 1; done

clean: cluster-down ## Remove the venvs and all build results
	rm -rf .venv .venv-spark-* build dist .mypy_cache .ruff_cache .pytest_cache *.egg-info
