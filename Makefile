# The project's own tasks. Bare `make` lists them.

PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(VENV)/bin
PIP_FLAGS := -qq --disable-pip-version-check --no-input

# Each stamp says: this environment was made from these files.
STAMP := $(VENV)/.amp0-installed
DEMO_STAMP := $(DEMO_VENV)/.amp0-installed

.DEFAULT_GOAL := help
.PHONY: help install demo test soak lint format types bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with everything, the amp0 command included
	@echo "Ready: $(BIN)/amp0 --help"

demo: $(DEMO_STAMP) ## the whole AMP0 day, offline, real cryptography
	@$(DEMO_VENV)/bin/amp0 demo

test: $(STAMP) ## check everything (two processes)
	$(BIN)/pytest -q -n 2

soak: $(STAMP) ## the long tests: a thousand kills and the like
	$(BIN)/pytest -q -m soak

lint: $(STAMP) ## ruff, and the floors of the architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: $(STAMP) ## rewrite the source in the house's layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

bench: $(STAMP) ## measure against LWK in the same run; prints a table, writes bench.json
	$(BIN)/python -m bench

lock: $(STAMP) ## lock the newest versions that pyproject.toml allows, with hashes
	$(BIN)/python scripts/lock.py

clean: ## remove the environments and every cache
	rm -rf $(VENV) $(DEMO_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A tool of the environment that is too old, or lacks venv, is said in words.
define new_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: try make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(1)/bin/pip || $(PYTHON) -m venv $(1) || \
		{ echo "could not make $(1): is the venv module installed (python3-venv)?" >&2; exit 1; }
endef

# $(1): a requirements file of a peer that has no build for some platforms.
define optional_peer
	@$(BIN)/pip install $(PIP_FLAGS) --require-hashes --only-binary :all: -r $(1) || \
		echo "WARNING: nothing in $(1) for this platform: the tests that need it will say so" >&2
endef

$(STAMP): pyproject.toml requirements/run.txt requirements/dev.txt requirements/lwk.txt requirements/gdk.txt requirements/postgres.txt
	@echo "Making $(VENV) (once) ..."
	$(call new_venv,$(VENV))
	@$(BIN)/pip install $(PIP_FLAGS) --require-hashes -r requirements/dev.txt
	$(call optional_peer,requirements/lwk.txt)
	$(call optional_peer,requirements/gdk.txt)
	$(call optional_peer,requirements/postgres.txt)
	@$(BIN)/pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEMO_STAMP): pyproject.toml requirements/run.txt
	@echo "Making $(DEMO_VENV) with the run-time packages (once) ..."
	$(call new_venv,$(DEMO_VENV))
	@$(DEMO_VENV)/bin/pip install $(PIP_FLAGS) --require-hashes -r requirements/run.txt
	@$(DEMO_VENV)/bin/pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	@touch $@
