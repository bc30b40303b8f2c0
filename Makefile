# `make help` lists what can be made. Every target may be run from a clean clone, and again: the second time is quick.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The system's, which a fresh machine has, where it is new enough: Debian compiles it with optimisation,
# and under one built from source without that the tests take a sixth more.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
# A safe path keeps the source tree off sys.path: what the tests import is the wheel in .venv, or nothing.
PYTEST := PYTHONSAFEPATH=1 $(BIN)/python -m pytest
# Most tests wait most of the time: four at a time. From whatever directory.
SPREAD := $(abspath $(BIN)/python) $(abspath .ci/spread.py)
SOURCES := $(sort $(shell find tfnz_notebook jupyter-config -name node_modules -prune -o -type f -not -name '*.pyc' -not -path '*/bin/*' -not -path '*/static/*' -print 2>/dev/null))
FRONTEND := tfnz_notebook/_frontend
MODULES := $(FRONTEND)/node_modules/.package-lock.json
# What has nothing to do with one another, on both cores.
TOGETHER := $(MAKE) --no-print-directory --jobs 2 --output-sync=target
# The guest's own tests are run with its sanitizers, but for those about the program as it is shipped.
# Those of a cluster are test-cluster's.
SHIPPED := tests/guest/test_build.py tests/guest/test_pid1.py
# What these two prove anew only if one of these has changed since they did. What crosses both halves is in tests/vectors.
VECTORS := $(wildcard tests/vectors/*.json tests/unit/wire/*.json)
GUEST := $(filter $(addprefix tfnz_notebook/,_guest/% _wire/% _base/% engines/launch/%),$(SOURCES)) $(wildcard tests/guest/*.py tests/guest/*.c) $(VECTORS)
PAGES := $(filter $(FRONTEND)/%,$(SOURCES)) $(VECTORS)
ROOMS := $(filter-out tests/guest/ tests/cluster/ %__pycache__/,$(wildcard tests/*/)) $(SHIPPED)
ARGS ?=
SECONDS ?= 3600

.PHONY: FORCE help system wheel dist demo lab check test test-long lint types frontend unit guest-test guest-checks contract browser firefox cluster cluster-down test-cluster test-engines bench bench-cluster soak docs pictures notebooks lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

# --- the environment, the wheel --------------------------------------------------------------------------------------

system:
	@PYTHON=$(PYTHON) .ci/setup-system

$(VENV)/.made: tests/requirements.txt | system
	@echo "environment: $(VENV)"
	# --clear: a half-made environment, or another Python's, is no base to build on
	$(PYTHON) -m venv --clear $(VENV) ||
	  { echo 'Cannot make $(VENV): see above. Install the venv module (Debian: apt-get install python3-venv).' >&2; exit 1; }
	# --no-deps: what is pinned is all that is wanted, and less than would be asked for, see .ci/lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $< 2>&1 | { grep -v '^WARNING: Location' || true; }
	touch $@

# Which sources there are, rewritten only when that changes: a deleted file, too, asks for a new wheel.
build/.sources: FORCE
	@mkdir -p build
	printf '%s\n' $(SOURCES) | cmp --quiet - $@ || printf '%s\n' $(SOURCES) >$@

build/.wheel: $(VENV)/.made pyproject.toml README.md LICENSE .ci/hatch_build.py $(SOURCES) build/.sources
	@mkdir -p build
	rm -rf build/dist
	$(BIN)/python -m build --wheel --no-isolation --outdir build/dist . >build/wheel.log 2>&1 ||
	  { tail -n 25 build/wheel.log >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps --no-index build/dist/*.whl
	.ci/check-wheel $(BIN)/python
	touch $@

# The same wheel beside an ipykernel from before 7, for the tests in the browser.
build/.old-kernel: build/.wheel tests/ipykernel6.txt .ci/old-kernel
	@.ci/old-kernel $(BIN)/python build/dist/*.whl
	touch $@

$(MODULES): $(FRONTEND)/package-lock.json | system
	@cd $(FRONTEND)
	npm ci --silent --no-audit --no-fund
	touch node_modules/.package-lock.json

wheel: build/.wheel ## build the wheel and install it in .venv
	@ls -l build/dist/*.whl

# --- to see it -------------------------------------------------------------------------------------------------------

demo: build/.wheel ## run the first notebook on a real engine, print what happened, keep it as HTML
	@TFNZ_IMAGES=nginx .ci/with-engines $(BIN)/python .ci/run_notebook.py notebooks/01-first-container.ipynb build/demo

lab: build/.wheel ## open JupyterLab on the notebooks, reachable from this machine alone
	@root=$$(if [ "$$(id -u)" -eq 0 ]; then echo --allow-root; fi)
	.ci/with-engines $(BIN)/jupyter lab --ip=127.0.0.1 $$root notebooks $(ARGS)

# --- to prove it -----------------------------------------------------------------------------------------------------

check: build/.wheel $(MODULES) ## before each commit: lint, types, and the tests that need no engine, in three minutes
	@$(TOGETHER) lint types frontend
	TFNZ_SEEDS=200 $(SPREAD) tests/unit tests/guest tests/simulation $(ARGS)

test: build/.wheel $(MODULES) ## all that a change can break
	@$(TOGETHER) lint types build/.frontend build/.guest-checks build/.old-kernel
	export TFNZ_TEST_PATIENCE=$${TFNZ_TEST_PATIENCE:-2}
	.ci/with-engines $(SPREAD) $(ROOMS) $(ARGS)

test-long: build/.old-kernel ## what is statistical, and every engine's turn: an hour's soak, 50 kills, a minute's flood
	@export TFNZ_TEST_PATIENCE=$${TFNZ_TEST_PATIENCE:-2}
	.ci/with-engines $(SPREAD) -m long tests $(ARGS)

lint: $(VENV)/.made ## ruff and shellcheck
	@$(BIN)/ruff check .
	$(BIN)/shellcheck --external-sources .ci/services .ci/images .ci/postgres-entrypoint .ci/setup-system .ci/with-engines .ci/check-wheel .ci/end-run .ci/clean .ci/lock .ci/bench .ci/run .ci/old-kernel .ci/dist .ci/test-cluster .ci/test-engines .ci/agent-image

types: $(VENV)/.made ## mypy, strict, the whole package; what it knows by now is every clone's
	@$(BIN)/mypy --cache-dir "$${TFNZ_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/tfnz-notebook}/mypy"

frontend: $(MODULES) ## the views' TypeScript: its types, its tests, its bundles
	@cd $(FRONTEND)
	npm run --silent check
	npm run --silent test
	npm run --silent build

# As `make test` has them. Those of a choice by ARGS prove less.
build/.frontend: $(MODULES) $(PAGES)
	@$(MAKE) --no-print-directory frontend
	touch $@

build/.guest-checks: $(GUEST) tests/requirements.txt | build/.wheel
	@$(MAKE) --no-print-directory guest-checks
	[ -n "$(ARGS)" ] || touch $@

unit: build/.wheel ## the tests that need no engine
	@$(PYTEST) tests/unit $(ARGS)

guest-test: build/.wheel ## the guest's binary through real pipes and ptys
	@$(PYTEST) tests/guest $(ARGS)

guest-checks: build/.wheel ## its tests with sanitizers, and which of its lines they reach
	@$(MAKE) --no-print-directory -C tfnz_notebook/_guest PYTHON=$(abspath $(BIN)/python) PYTEST='$(SPREAD)' checked

contract: build/.wheel ## one suite, every engine
	@.ci/with-engines env $(PYTEST) tests/contract $(ARGS)

browser: build/.old-kernel ## the views in Chromium, as a person uses them; pictures in build/browser
	@.ci/with-engines env $(PYTEST) tests/browser $(ARGS)

firefox: build/.old-kernel ## the README's journey in Firefox
	@export TFNZ_TEST_PATIENCE=$${TFNZ_TEST_PATIENCE:-2}
	.ci/with-engines $(SPREAD) -m long tests/browser/test_firefox.py $(ARGS)

cluster: ## a Kubernetes cluster of two nodes on this machine, compiled once, for tests and to try; build/cluster/kubeconfig
	@.ci/setup-system cluster
	PYTHONPATH=tests $(PYTHON) -m cluster up

cluster-down: ## end it, without a trace
	@PYTHONPATH=tests $(PYTHON) -m cluster down

test-cluster: build/.wheel ## on that cluster, or the one that $KUBECONFIG names: what it can do, what befalls it, the notebooks
	@if [ -z "$${KUBECONFIG:-}" ]; then .ci/setup-system cluster; fi
	export TFNZ_TEST_PATIENCE=$${TFNZ_TEST_PATIENCE:-2}
	PYTHONPATH=tests $(PYTHON) -m cluster with .ci/test-cluster $(abspath $(BIN)/python) $(ARGS)

test-engines: build/.wheel ## newer engines, some of them out of reach or a user's, and the newest Python; as root
	@.ci/test-engines $(ARGS)

bench: build/.wheel ## a table of medians beside docker-py, the command lines and subprocess
	@.ci/with-engines .ci/bench $(BIN)/python $(ARGS)

bench-cluster: build/.wheel ## pods beside kubectl and the official Python client, on a cluster that is compiled as people have it
	@.ci/setup-system cluster
	export TFNZ_TEST_OPTIMISED=1 PYTHONPATH=tests
	TFNZ_IMAGES="busybox debian" .ci/with-engines $(PYTHON) -m cluster with $(abspath $(BIN)/python) tests/bench/pods.py $(ARGS)

soak: build/.wheel ## an hour of mixed work in which nothing may grow; SECONDS=600 for less
	@TFNZ_IMAGES=busybox TFNZ_SOAK=$(SECONDS) .ci/with-engines env $(PYTEST) -m long tests/faults/test_soak.py $(ARGS)

# --- to read it ------------------------------------------------------------------------------------------------------

docs: build/.wheel ## the API reference of the docstrings, in build/docs
	@PYTHONSAFEPATH=1 $(BIN)/python .ci/reference.py build/docs

pictures: build/.wheel ## take the README's pictures again, of JupyterLab in Chromium
	@.ci/with-engines $(BIN)/python .ci/pictures.py docs/pictures

notebooks: build/.wheel ## run the notebooks and save them with what they show
	@.ci/with-engines $(BIN)/python -P .ci/run_notebook.py --save notebooks/0[1-7]*.ipynb
	TFNZ_IMAGES='python:3.9-slim python:3.11-slim python:3.13-slim' .ci/with-engines \
	  $(BIN)/python -P .ci/run_notebook.py --save notebooks/09*.ipynb
	if [ -z "$${KUBECONFIG:-}" ]; then .ci/setup-system cluster; fi
	save='KUBECONFIG=$$TFNZ_TEST_KUBERNETES exec $(BIN)/python -P .ci/run_notebook.py --save notebooks/08*.ipynb'
	PYTHONPATH=tests $(PYTHON) -m cluster with sh -c "$$save"

# --- to give it away -------------------------------------------------------------------------------------------------

dist: $(VENV)/.made $(MODULES) ## wheel and source distribution in dist/, built twice, looked at, installed, tried
	@.ci/dist $(BIN)/python

# --- to keep it ------------------------------------------------------------------------------------------------------

lock: pyproject.toml ## pin the newest stable releases in tests/*.txt
	@.ci/lock $(PYTHON)

clean: ## end every container, service and agent that was started here; delete .venv and build
	@.ci/clean
