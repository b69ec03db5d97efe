# Everything happens in a virtual environment that these targets create: .venv, or one named after PYTHON.
PYTHON ?= python3
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PARALLEL ?= --numprocesses 3 --dist loadfile --no-loadscope-reorder
# The order of the tests; run_often.py takes another one each time.
SEED ?= 1
INSTALL := $(BIN)/python requirements/install.py
LOCKS := $(wildcard requirements/*.lock) requirements/install.py

PYTHON312 ?= python3.12
READERS := .venv-readers
NEWEST_READERS := iohub ome-zarr

.PHONY: demo ui test test-often test-wheel test-readers basicpy check check-dagster-next audit docs format lock bench clean help
.DEFAULT_GOAL := help

help:  ## Show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml setup.py $(LOCKS) | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(INSTALL)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml setup.py constraints.txt $(LOCKS) | $(BIN)/python
	@echo "Installing what the tests need into $(VENV) ..."
	@$(INSTALL) --dev
	@touch $(VENV)/.installed $@

demo: $(VENV)/.installed  ## Write a synthetic plate and take it through the Dagster graph
	@$(BIN)/openhcs-dagster demo

ui: $(VENV)/.installed  ## Serve the Dagster UI on 127.0.0.1
	@$(BIN)/openhcs-dagster ui

test: $(VENV)/.installed-dev  ## Run all tests
	$(BIN)/python -m pytest $(PARALLEL) --randomly-seed=$(SEED)

test-often: $(VENV)/.installed-dev  ## Run all tests five times in random order, one core kept busy; takes hours
	$(BIN)/python tests/run_often.py --times 5 -- $(PARALLEL)

test-wheel: $(VENV)/.installed-dev  ## Build the wheel, install it into an empty environment, and use it there
	$(BIN)/python tools/check_wheel.py $(BIN)/python

lock: $(VENV)/.installed-dev  ## Resolve requirements/*.lock anew
	requirements/lock.sh $(BIN)/uv

test-readers: $(VENV)/.installed-dev  ## Open plates with the newest readers, which need Python 3.12
	@python=$$(for one in $(PYTHON312) $$(pyenv prefix 3.12 2>/dev/null)/bin/python; do \
	  $$one -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && command -v $$one && break; done); \
	if [ -z "$$python" ]; then \
	  echo "skipped: $(PYTHON312) is not found; name a Python 3.12 with make test-readers PYTHON312=..."; exit 0; fi; \
	test -x $(READERS)/bin/python || $$python -m venv $(READERS) && \
	$(READERS)/bin/python -m pip install --quiet --upgrade $(NEWEST_READERS) && \
	OPENHCS_READERS_PYTHON=$(CURDIR)/$(READERS)/bin/python $(BIN)/python -m pytest -m readers

# basicpy pins an older NumPy and SciPy; the engine looks for it where this puts it.
BASICPY := $(VENV)/basicpy
basicpy: $(VENV)/.installed  ## Install basicpy (BaSiC) in an environment of its own; it brings PyTorch
	$(BIN)/python -m venv $(BASICPY)
	$(BASICPY)/bin/python -m pip install --quiet --constraint constraints.txt basicpy==$$($(BIN)/python -c \
	  'from openhcs_engine.functions.illumination.basic_environment import BASICPY_VERSION; print(BASICPY_VERSION)')

check: $(VENV)/.installed-dev docs  ## Format, lint, types, layers, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

DAGSTER_NEXT := .venv-dagster-next
check-dagster-next:  ## Run all tests with the newest Dagster, in an environment of its own
	$(MAKE) VENV=$(DAGSTER_NEXT) $(DAGSTER_NEXT)/.installed-dev
	$(DAGSTER_NEXT)/bin/python -m pip install --quiet --upgrade dagster dagster-graphql dagster-webserver
	$(DAGSTER_NEXT)/bin/python -m pip freeze | grep '^dagster'
	@# One test compares the environment with the lock, from which this one departs.
	$(DAGSTER_NEXT)/bin/python -m pytest $(PARALLEL) --randomly-seed=$(SEED) \
	  --deselect tests/project/test_requirements.py::test_array_libraries_install_beside_the_lock

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
	rm -rf $(VENV) $(READERS) docs/build demo .dagster_home
