# What is a program is in workflow/; this page only names the commands.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
PROFILE ?= mini
JOBS ?= 2
export PARAMETERS ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := bin/pip --quiet --disable-pip-version-check
LOCKING := $(VENV)/locking

help: ## say what there is
	@sed -nE 's/^([a-z-]+):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## make the environment in VENV (.venv) with PYTHON (python3)
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "taba needs Python 3.11 or newer, $(PYTHON) is " + sys.version)'
	@echo "installing $$(wc -l < requirements.lock) pinned packages into $(VENV): about two minutes, 6 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/$(PIP) install -r requirements.lock
	@$(VENV)/$(PIP) install --no-deps -e .
	@touch $@

paper: $(READY) ## run NOTEBOOKS (all) of PROFILE (mini), JOBS (2) at a time; PARAMETERS='-p device cuda'; writes results/ only
	@$(BIN)/python -m workflow paper --profile "$(PROFILE)" --jobs $(JOBS) $(NOTEBOOKS)

test: $(READY) ## unit tests, then every notebook against the reference numbers
	@$(BIN)/python -m workflow test --jobs $(JOBS)

test-browser: $(READY) ## notebook 00 in JupyterLab in headless Chromium (needs chromium and chromedriver)
	$(BIN)/python -m pytest -m browser tests/test_browser.py

bench: $(READY) ## speed and memory against peers, under ten minutes; BENCH='--rows round-trip' or --quick
	@$(BIN)/python -m benchmarks $(BENCH)

lab: $(READY) ## open the notebooks; LAB='--no-browser --allow-root'
	$(BIN)/jupyter lab $(LAB) notebooks

reference: $(READY) ## run the notebooks in place, write references/, figures/ and RESULTS.md, measure tolerances
	@$(BIN)/python -m workflow reference --jobs $(JOBS)

lint: $(READY) ## format, rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

lock: ## pin the newest versions that work together
	$(PYTHON) -m venv --clear $(LOCKING)
	$(LOCKING)/$(PIP) install -e '.[notebooks,judges,deepfloyd,train,dev]'
	$(LOCKING)/bin/pip freeze --all --exclude pip --exclude-editable > $(LOCKING)/versions
	sed -E '/^(nvidia|cuda|triton)/ s/$$/ ; sys_platform == "linux"/' $(LOCKING)/versions > requirements.lock
	rm -rf $(LOCKING)

clean: ## remove what the commands above made, but for the environment
	rm -rf results build

.PHONY: help setup paper test test-browser bench lab reference lint lock clean
