# `make train` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ARGS   ?=
TIER   ?= full
comma  := ,
# One seed is enough for a smoke run, which only shows that everything runs.
SEEDS  ?= $(if $(filter smoke,$(TIER)),0,0$(comma)1$(comma)2)
JOBS   ?= 1
OUTPUTS ?= outputs

include tables.mk
.PHONY: help train test test-fast lint format types status report bench estimators clean $(TABLES)
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 26

# Recreate the environment when its inputs change.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (a few minutes: PyTorch is large) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

train: $(READY) ## the default run, or ARGS="dataset=mnist model=vae ..."
	@$(BIN)/vaebench $(ARGS)

# One thread a worker: torch would start as many in each as there are cores. A file's fixtures stay in one worker.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: $(READY) ## the test suite; VAEBENCH_DATA=<folder> adds the tests on real data
	$(PYTEST) $(ARGS)

test-fast: $(READY) ## the same without tests that take seconds or start a program, for the edit loop
	$(PYTEST) -m "not slow" $(ARGS)

lint: $(READY) ## style and format, unchanged
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## static types
	$(BIN)/mypy

format: $(READY) ## rewrite in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

status: $(READY) ## every run under outputs/, its state and main numbers
	@$(BIN)/vaebench-status "$(OUTPUTS)"

report: $(READY) ## report/index.html from all that has run, complete or not
	-@$(BIN)/vaebench-report "$(OUTPUTS)" --out report

# Run the missing rows of a table, then show ours beside theirs; ARGS="..." overrides every run's config.
$(TABLES): $(READY)
	@$(BIN)/python -m vaebench.reproduce $@ --tier $(TIER) --seeds $(SEEDS) --jobs $(JOBS) --outputs "$(OUTPUTS)" --overrides $(ARGS)

bench: $(READY) ## our speed against pythae's (installs it), and the cost of every family
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' -c constraints.txt
	$(BIN)/python -m scripts.bench_training
	$(BIN)/python -m scripts.bench_training --precision medium
	$(BIN)/python -m scripts.bench_nll
	$(BIN)/python -m scripts.bench_sampling
	$(BIN)/python -m scripts.bench_families
	$(BIN)/python -m scripts.bench_text

estimators: $(READY) ## truth, estimate and error of every measure, from scratch
	$(BIN)/python -m scripts.check_estimators

clean: ## remove the environment and the caches; never outputs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
	find vaebench scripts tests -name __pycache__ -type d -exec rm -rf {} +
