.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
# The make of macOS ignores .SHELLFLAGS.
STRICT := set -euo pipefail;

PYTHON ?= python3
VENV ?= .venv
PROFILE ?= mini
# More for papermill: PARAMETERS='-p device cuda -p batch_size 1024'.
PARAMETERS ?=
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
REFERENCE := $(CURDIR)/results/reference
# Two at a time with a thread each are faster than one after the other with two threads. The longest begin.
JOBS ?= 2
THREADS := $(if $(filter-out 1,$(JOBS)),OMP_NUM_THREADS=1)
LONGEST := $(patsubst %,notebooks/%.ipynb,02_latents_vs_noise 05_interpolation 06_editing_diversity 08_first_inversion_steps)
ORDERED := $(filter $(LONGEST),$(NOTEBOOKS)) $(filter-out $(LONGEST),$(NOTEBOOKS))
# What a processor without AVX-512 would do: its sums differ in the last digits.
OLDER := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
GIVEN := $(patsubst params/$(PROFILE)/%.yaml,notebooks/%.ipynb,$(wildcard params/$(PROFILE)/*.yaml))
LOCKING := $(VENV)/locking
QUIET := 2>&1 | { grep -v -e 'TCP without encryption' -e 'KeyboardInterrupt caught in kernel' -e '^Input Notebook' -e '^Output Notebook' -e '^Executing notebook' || true; }

help: ## say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## make the environment in .venv
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "taba needs Python 3.11 or newer, $(PYTHON) is " + sys.version)'
	@echo "installing $$(wc -l < requirements.lock) pinned packages into $(VENV): about two minutes, 6 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

paper: $(READY) ## run every notebook that PROFILE has parameters for: copies in results/, pictures in figures/
	@mkdir -p results/$(PROFILE)
	@$(MAKE) --no-print-directory -j $(JOBS) $(patsubst notebooks/%.ipynb,run-%,$(filter $(GIVEN),$(ORDERED)))

run-%: $(READY)
	@$(STRICT) start=$$SECONDS; $(THREADS) $(BIN)/papermill notebooks/$*.ipynb results/$(PROFILE)/$*.ipynb \
		-f params/$(PROFILE)/$*.yaml $(PARAMETERS) --no-progress-bar --autosave-cell-every 10 $(QUIET); \
	echo "$*: $$((SECONDS - start)) s, results/$(PROFILE)/$*.ipynb"

test: $(READY) ## unit tests, then every notebook against the reference numbers
	$(THREADS) $(BIN)/python -m pytest -n $(JOBS)
	$(THREADS) $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder -vv --nbval-lax --nbval-current-env \
		--timeout 1200 -m '' $(ORDERED)

test-browser: $(READY) ## notebook 00 in JupyterLab in headless Chromium (needs chromium and chromedriver)
	$(BIN)/python -m pytest -m browser tests/test_browser.py

lab: $(READY) ## open the notebooks
	$(BIN)/jupyter lab notebooks

reference: $(READY) ## run the notebooks in place, write references/ and figures/, then measure the tolerances
	rm -rf $(REFERENCE)
	@$(STRICT) for notebook in $(NOTEBOOKS); do \
		echo "$$notebook"; \
		TABA_REFERENCE=update TABA_CACHE=$(REFERENCE)/cache $(BIN)/jupyter nbconvert --log-level WARN \
			--to notebook --execute --inplace $$notebook $(QUIET); \
	done
	$(BIN)/python -c 'from pathlib import Path; from taba_utils.reference import update_readme; update_readme(Path("."))'
	TABA_CACHE=$(REFERENCE)/cache $(MAKE) --no-print-directory paper
	@$(STRICT) for notebook in $(NOTEBOOKS); do \
		echo "$$notebook with another micro-batch and older instructions"; \
		$(OLDER) TABA_REFERENCE=tolerance TABA_CACHE=$(REFERENCE)/other $(BIN)/papermill $$notebook \
			$(REFERENCE)/$$(basename $$notebook) -p batch_size 20 --no-progress-bar $(QUIET); \
	done

lint: $(READY) ## ruff, format and rules, notebooks included
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(READY) ## let ruff rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## pin the newest versions that work together
	rm -rf $(LOCKING)
	$(PYTHON) -m venv $(LOCKING)
	$(LOCKING)/bin/pip install --quiet -e '.[notebooks,judges,deepfloyd,train,dev]'
	@$(STRICT) $(LOCKING)/bin/pip freeze --all --exclude pip --exclude-editable \
		| sed -E '/^(nvidia|cuda|triton)/ s/$$/ ; sys_platform == "linux"/' > $(LOCKING)/requirements.lock
	mv $(LOCKING)/requirements.lock requirements.lock
	rm -rf $(LOCKING)

clean: ## remove what the commands above made, but for the environment
	rm -rf results

.PHONY: help setup paper test test-browser lab reference lint format lock clean
