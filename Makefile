# All that a newcomer types: `make demo`, `make test`. Everything is installed into .venv, from hashed locks.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
PYTEST_ARGS ?= -m "not slow"

.PHONY: help setup demo test lint types refresh bench lock clean

help:
	@echo "make demo     set up, score the baselines on synthetic data, build their board"
	@echo "make test     set up the tests, then ruff, mypy and pytest (PYTEST_ARGS= for the slow ones too)"
	@echo "make refresh  the maintainers' pipeline: dvc repro"
	@echo "make bench    the speed benchmarks (tables, minutes)"
	@echo "make setup    only the set-up"

.venv/.core: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "lensbench needs Python 3.11 or newer: install one, or name it with make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "this Python has no venv module: install it (Debian: apt-get install python3-venv), then run make again"; exit 1; }
	@echo "setting up .venv (about a minute; half a gigabyte)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.core requirements-dev.lock
	@echo "adding dvc and what the tests need to .venv (a minute or two)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

setup: .venv/.core

demo: .venv/.core
	@$(BIN)/bench demo

test: lint types
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/.dev
	@$(BIN)/mypy

refresh: export PATH := $(CURDIR)/$(BIN):$(PATH)
refresh: .venv/.dev
	@dvc repro

bench: .venv/.dev
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# For maintainers: resolve anew. Torch stays out of both locks (constraints-torch.txt says why).
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml \
		--extra formats -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml \
		--group dev --extra dvc --extra fast --extra formats -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf .venv .peers .mypy_cache .pytest_cache .ruff_cache
