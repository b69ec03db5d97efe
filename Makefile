# Everything happens in .venv, which these targets create.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
PARALLEL ?= --numprocesses 3 --dist loadfile --no-loadscope-reorder
EXTRAS := dev,torch,tensorflow,jax,cupy,pyclesperanto,gpu

.PHONY: demo ui test check audit docs format bench clean help
.DEFAULT_GOAL := help

help:  ## Show these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV) ..."
	$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(VENV)/.installed  ## Write a synthetic plate and take it through the Dagster graph
	@$(BIN)/openhcs-dagster demo

ui: $(VENV)/.installed  ## Serve the Dagster UI on 127.0.0.1
	@$(BIN)/openhcs-dagster ui

test: $(VENV)/.installed-dev  ## Run all tests
	$(BIN)/python -m pytest $(PARALLEL)

check: $(VENV)/.installed-dev docs  ## Format, lint, types, layers, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A tool with packages of its own, which the product does not need.
AUDIT := $(VENV)/audit
$(AUDIT)/.installed: | $(BIN)/python
	$(BIN)/python -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet pip-audit
	@touch $@

audit: $(VENV)/.installed-dev $(AUDIT)/.installed  ## Look for published vulnerabilities in the installed packages
	@$(BIN)/python tools/audit.py $(AUDIT)/bin/pip-audit $(BIN)/python

docs: $(VENV)/.installed-dev  ## Build the documentation; warnings are errors
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs/source docs/build/html

format: $(VENV)/.installed-dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev  ## Compare with a plain script; takes minutes
	$(BIN)/python benchmarks/end_to_end.py

clean:  ## Remove what these targets made
	rm -rf $(VENV) docs/build demo .dagster_home
