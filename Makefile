# What is a program is in workflow/; this page only names the commands.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
PROFILE ?= mini
JOBS ?= 2
export PARAMETERS CLUSTER FORCE
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := bin/pip --quiet --disable-pip-version-check
LOCKING := $(VENV)/locking

help: ## say what there is
	@sed -nE 's/^([a-z% -]+):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## make the environment in VENV (.venv) with PYTHON (python3)
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "taba needs Python 3.11 or newer, $(PYTHON) is " + sys.version)'
	@echo "installing $$(wc -l < requirements.lock) pinned packages into $(VENV): some minutes, 7 GB"
	@$(PYTHON) -m venv $(VENV) && split -l 50 requirements.lock $(VENV)/pins-
	@printf '%s\n' $(VENV)/pins-* | xargs -P 2 -n 1 $(VENV)/$(PIP) install --no-deps -r && rm $(VENV)/pins-*
	@$(VENV)/$(PIP) install -r requirements.lock && $(VENV)/$(PIP) install --no-deps -e . && touch $@

paper: $(READY) ## run what is not up to date of NOTEBOOKS (all) of PROFILE (mini), JOBS (2) at a time; FORCE=1: all; PARAMETERS='-p device cuda', CLUSTER=slurm; writes results/ only
	@$(BIN)/python -m workflow paper --profile "$(PROFILE)" --jobs $(JOBS) $(NOTEBOOKS)

test: $(READY) ## unit tests, then every notebook against the reference numbers
	@$(BIN)/python -m workflow test --jobs $(JOBS)

test-browser test-site test-cluster test-wheel test-bench: test-%: $(READY) ## opt-in tests: Chromium, the site, a SLURM of its own (as root), the wheel, benchmarks
	$(BIN)/python -m pytest -s -m $* tests

site: $(READY) ## build the site with its playground into site/; python3 -m http.server -d site shows it
	$(BIN)/sphinx-build -W --keep-going -q -d build/doctrees docs site && $(BIN)/python -m workflow playground site/playground

bench: $(READY) ## speed and memory against peers, under ten minutes; BENCH='--rows round-trip' or --quick
	@$(BIN)/python -m benchmarks $(BENCH)

lab: $(READY) ## open copies of the notebooks in lab/, kept from one time to the next; FOLDER=notebooks: the tracked ones; LAB='--no-browser --allow-root'
	@folder="$(or $(FOLDER),lab/notebooks)" && $(BIN)/python -m workflow lab "$$folder" && $(BIN)/jupyter lab $(LAB) "$$folder"

reference: $(READY) ## run the notebooks in place, write references/, figures/ and RESULTS.md, measure tolerances
	@$(BIN)/python -m workflow reference --jobs $(JOBS)

slides: $(READY) ## notebooks 00 to 03 as slides in results/slides/; fetches reveal.js and MathJax once
	@$(BIN)/python -m workflow slides

lint: $(READY) ## format, rules and types
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/pyright

lock: ## pin the newest versions that work together
	$(PYTHON) -m venv --clear $(LOCKING)
	$(LOCKING)/$(PIP) install -e '.[notebooks,judges,deepfloyd,train,site,playground,cluster,dev]'
	set -o pipefail; $(LOCKING)/bin/pip freeze --all --exclude pip --exclude-editable | sed -E '/^(nvidia|cuda|triton)/ s/$$/ ; sys_platform == "linux"/' > $(LOCKING)/pins
	mv $(LOCKING)/pins requirements.lock && rm -rf $(LOCKING)

clean: ## remove what the commands above made, but for the environment and your notebooks in lab/
	rm -rf results build site

.PHONY: help setup paper test test-browser test-site test-cluster test-wheel test-bench bench site lab reference slides lint lock clean
