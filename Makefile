# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
# The parts in which a branch that no test takes could cost somebody money.
MUST_BE_COVERED := "invokeai_external/planning/*,invokeai_external/pricing/*,invokeai_external/adapters/*,invokeai_external/transport/retry_policy.py,invokeai_external/settings/*,invokeai_external/service/retry_loop.py,invokeai_external/service/calls.py"
# The Invoke that the host tests run on; tests/host/environment.py says how to use one that is already installed.
INVOKE_VERSION ?= 6.14.2
# Two files of tests at a time, each with an Invoke: it needs a core and 1.2 GB. In their order, so that no long one is last.
TWO_INVOKES := --numprocesses 2 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo invoke test test-fast coverage test-host test-hosts lint format types docs build constraints compare soak \
	soak-calls bench screenshots fuzz check clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.package ## Make images with both providers' sandboxes: no key, no account, no cost
	@echo "== Making images with the sandbox, in demo-pictures/ ..."
	@$(BIN)/invokeai-external demo
	@echo "The command is $(BIN)/invokeai-external. For its short name, run: source $(BIN)/activate"

invoke: $(VENV)/.invoke ## Try the plugin in a real Invoke on the sandbox, in .invoke/; installs Invoke (7 GB) if it is missing
	@$(BIN)/python -m tests.host.scratch

test: $(VENV)/.test ## Run the tests; they need no key and no internet
	@echo "== Running the tests ..."
	@$(BIN)/python -m pytest --numprocesses auto

coverage: $(VENV)/.test ## Run the tests and report the lines and branches that no test takes; half as long again
	@echo "== Running the tests, with their coverage ..."
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest --numprocesses auto
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --fail-under=90
	@$(BIN)/python -m coverage report --fail-under=95 --include=$(MUST_BE_COVERED)

test-fast: $(VENV)/.test ## Run the quick tests: those that start no process and do not wait
	@$(BIN)/python -m pytest --numprocesses auto -m "not slow"

test-host: $(VENV)/.host ## Run the tests on a real Invoke, which is installed in your cache folder (7 GB) if it is missing
	@echo "== Looking for InvokeAI $(INVOKE_VERSION) ..."
	@INVOKE_VERSION=$(INVOKE_VERSION) $(BIN)/python tests/host/environment.py
	@echo "== Running the host tests and the browser tests on it ..."
	@INVOKE_VERSION=$(INVOKE_VERSION) $(BIN)/python -m pytest $(TWO_INVOKES) tests/host

test-hosts: test-host ## Run them on the oldest supported Invoke, too
	@$(MAKE) --no-print-directory test-host INVOKE_VERSION=6.13.0

screenshots: $(VENV)/.host ## Take the screenshots of docs/invoke.md again, with Chromium
	@INVOKEAI_EXTERNAL_SCREENSHOTS=docs/images/invoke $(BIN)/python -m pytest tests/host/browser

lint: $(VENV)/.lint ## Check the style with ruff
	@echo "== Checking the style ..."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.lint ## Fix the style with ruff
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.test $(VENV)/.lint ## Check the types with mypy, strictly
	@echo "== Checking the types ..."
	@$(BIN)/mypy

docs: $(VENV)/.test ## Write the generated parts of the docs and of the README
	@echo "== Writing the generated parts of the docs ..."
	@$(BIN)/python -m docs.generate

build: $(VENV)/.lint ## Build the package as for PyPI, check it, and run what was built
	@echo "== Building the package ..."
	@rm -rf dist build/wheel
	@$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	@$(BIN)/python -m twine check --strict dist/*
	@$(BIN)/python -m zipfile -e dist/*.whl build/wheel
	@cd build && PYTHONPATH=wheel ../$(BIN)/python -m invokeai_external models >/dev/null

constraints: $(VENV)/.host $(VENV)/.lint ## Write constraints.txt, the versions that CI installs, from those that are installed
	@$(PIP) freeze --exclude-editable > constraints.txt

compare: $(VENV)/.host ## Write docs/compared.md: the same session on Invoke's built-in and on the plugin
	@$(BIN)/python -m tests.host.side_by_side

soak: $(VENV)/.host ## In a real Invoke: two hundred queued runs with random faults and cancels, and 45 batches on the Canvas
	@INVOKE_VERSION=$(INVOKE_VERSION) $(BIN)/python -m tests.host.soak
	@INVOKE_VERSION=$(INVOKE_VERSION) $(BIN)/python -m tests.host.browser.staging

soak-calls: $(VENV)/.test ## Five hundred calls with every fault of the sandbox in random order: images, memory, files and threads
	@$(BIN)/python -m tests.fault_mixture 500

fuzz: $(VENV)/.test ## Feed broken input to every parser for FUZZ_S seconds (60)
	@$(BIN)/python -m tests.fuzz

bench: $(BENCH_VENV)/.bench ## Measure it beside its alternatives, and write docs/benchmarks.md
	@$(BENCH_VENV)/bin/python -m benchmarks

check: lint types test build ## Check everything: style, types, tests with the docs, and the package as built

clean: ## Delete everything that the other targets made
	rm -rf $(VENV) $(BENCH_VENV) .invoke build dist demo-pictures .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* *.egg-info

$(VENV)/.venv:
	@echo "== Making a Python environment in $(VENV)/ ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.package: $(VENV)/.venv pyproject.toml
	@echo "== Installing invokeai_external and what it needs ..."
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.package
	@echo "== Installing the test tools and the providers' official SDKs ..."
	@$(PIP) install --editable ".[test,sdk]"
	@touch $@

$(VENV)/.invoke: $(VENV)/.package
	@echo "== Installing uv, which installs Invoke ..."
	@$(PIP) install --editable ".[invoke]"
	@touch $@

$(VENV)/.host: $(VENV)/.test $(VENV)/.invoke
	@echo "== Installing what the host tests need ..."
	@$(PIP) install --editable ".[test,sdk,invoke,host]"
	@touch $@

# litellm brings aiohttp, with which Google's SDK would talk to the sandbox in the tests.
$(BENCH_VENV)/.bench: pyproject.toml
	@echo "== Installing what the plugin is measured against, in $(BENCH_VENV)/ ..."
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --editable ".[test,sdk,invoke,host,bench]"
	@touch $@

$(VENV)/.lint: $(VENV)/.package
	@echo "== Installing ruff, mypy, build and twine ..."
	@$(PIP) install --editable ".[lint]"
	@touch $@
