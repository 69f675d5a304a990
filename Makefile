# `make help` lists the targets. Everything that needs an environment makes it first.
#   PYTHON=/path/to/python   use that environment instead of .venv (its torch is kept)
#   PYTHON_BIN=/path/python  make .venv with this interpreter
#   MMCV=full                compile mmcv with its ops (default: mmcv-lite, nothing compiled)
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup test test-all demo lint clean clean-env

PYTHON ?=
MMCV ?= lite
VENV := .venv
PY := $(or $(PYTHON),$(VENV)/bin/python)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@awk '/^#   / {sub(/^# /, ""); print}' Makefile

setup:  ## make .venv with the tested set, or mend it (about 3 minutes, 6.5 GB; instant when done)
ifneq ($(PYTHON),)
	@command -v "$(PYTHON)" >/dev/null || { echo "setup: PYTHON=$(PYTHON) is not an executable. Fix: name the python of an environment" >&2; exit 1; }
	@"$(PYTHON)" requirements/install.py --python "$(PYTHON)" --mmcv "$(MMCV)"
else
	@boot="$$(requirements/find_python.sh)" && "$$boot" requirements/install.py --venv $(VENV) --mmcv "$(MMCV)"
endif

test: setup  ## set up and run the fast tests
	@"$(PY)" -m pytest -q -m "not slow"

test-all: setup  ## set up and run all tests
	@"$(PY)" -m pytest -q

demo: setup  ## set up, then train and evaluate the whole method on the embedded data set
	@env -u SURGICAL_DATA -u SAM3_CHECKPOINT -u SAM2_CHECKPOINT "$(PY)" tools/train.py configs/demo/demo_refine_prior_aux.py

lint: setup  ## ruff
	@"$(PY)" -m ruff check .

clean:  ## remove caches and build products (keeps .venv, data and work_dirs)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-env:  ## remove .venv
	rm -rf $(VENV)
