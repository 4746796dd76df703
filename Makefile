# Two commands do everything: `make demo` runs the main job, `make test` proves it. See README.md.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
V := .venv/bin
GATEWAY_PORT ?= 8000
PROCESSES ?= 2
export PYTHONDONTWRITEBYTECODE = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: set PYTHON=python3.11 (or later)."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@[ -d .venv ] || { echo "Making .venv ..."; $(PYTHON) -m venv .venv; }
	@echo "Installing the locked dependencies (a minute or two the first time) ..."
	@$(V)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(V)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/ready ## the main job on embedded defaults: sandbox, gateway, one journey, keeps serving (ONCE=1: stops after the journey)
	@GATEWAY_PORT=$(GATEWAY_PORT) $(V)/python -m sandbox.demo $(if $(ONCE),--once)

test: .venv/ready ## the whole suite, shared by two processes (PROCESSES=4: by four, 0: by none); only loopback sockets
	@$(V)/python -m pytest -n $(PROCESSES)

test-postgres: .venv/ready ## the end-to-end tests once more, on PostgreSQL (needs the Debian package postgresql)
	@TEST_DATABASE=postgresql $(V)/python -m pytest -n $(PROCESSES) tests/e2e

check: .venv/ready ## format, lint, types, import contracts, tickets, docs, OpenAPI
	@$(V)/ruff format --check .
	@$(V)/ruff check .
	@$(V)/mypy
	@$(V)/lint-imports
	@$(V)/python -m pytest tests/unit/test_tickets.py tests/unit/test_docs.py tests/contract/test_openapi.py
	@$(V)/gateway check

bench: .venv/ready .bench/ready ## mapping beside three rivals, the gateway beside three baselines: ratios from one run (FULL=1: the large sizes)
	-@PYTHONPATH=.bench $(V)/python -m tests.perf.mapping_bench
	@$(V)/python -m tests.perf.bench $(if $(FULL),--full)

.bench/ready: requirements-bench.lock .venv/ready
	@rm -rf .bench && mkdir .bench
	@$(V)/python -m pip install --quiet --require-hashes --no-deps --target .bench -r requirements-bench.lock || echo "jsonata-python and fpml cannot be had: their columns are left out."
	@touch $@

conformance: .venv/ready ## goldens and answers before validators that are not ours, samples through the maps -> docs/conformance.md
	@$(V)/python -m tests.conformance.run

openapi: .venv/ready ## write openapi/ anew from the code
	@$(V)/gateway openapi --write openapi

node: ## install the public FHIR client and the two validators of tests marked node (needs nodejs, npm)
	@command -v npm >/dev/null || { echo "npm is missing: apt-get install nodejs npm"; exit 1; }
	@npm ci --prefix tests/e2e/node --silent --no-audit --no-fund
	@npm ci --prefix tests/conformance/node --silent --no-audit --no-fund

lock: ## write requirements.lock anew (needs uv); names no registry
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -o requirements.lock

clean: ## remove what was made
	rm -rf .venv .bench var tests/e2e/node/node_modules tests/conformance/node/node_modules tests/conformance/java/target .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help demo test test-postgres check bench conformance openapi node lock clean
