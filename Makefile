# make demo: RL of the icon world in about eight minutes.   make test: everything that is tested.
PYTHON ?= python3
# Compiled modules are kept even where the environment says otherwise (container images often do):
# without them every one of the hundred processes that the tests start compiles torch again.
export PYTHONDONTWRITEBYTECODE :=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.PHONY: install install-dev demo test drills test-vllm gpu lint format
.DELETE_ON_ERROR:

install: .venv/.installed
install-dev: .venv/.installed-dev

# torch comes first, held to its pin by the same file as everything after it. --no-compile: Python
# compiles on first use the few modules that are used, which is faster than pip compiling all.
.venv/.installed: requirements/core.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "got-r1 needs Python 3.11 or newer, and $(PYTHON) is not: install one and name it," \
	       "for example: make install PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into .venv (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --no-compile --constraint requirements/core.txt torch
	@$(PIP) install --no-compile --requirement requirements/core.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.installed-dev: .venv/.installed requirements/dev.txt
	@echo "Adding the development tools ..."
	@$(PIP) install --no-compile --requirement requirements/dev.txt
	@touch $@

# Every demo gets a folder of its own: runs/demo, runs/demo-2, ...
demo: install
	@dir=runs/demo; n=1; while [ -e $$dir ]; do n=$$((n + 1)); dir=runs/demo-$$n; done; \
	$(BIN)/got-r1 train rl icons run.dir=$$dir

# What only a GPU can show: tests, seconds and memory, in eight minutes.
gpu: install-dev
	@$(BIN)/python bench/gpu.py

# A file's tests stay in one process, where they share what is built once.
test: install-dev
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		--durations 40 --durations-min 5

# The long form of what docs/reliability.md promises: kills, damage, full disks, faults, noise.
drills: install-dev
	@GOT_R1_DRILLS=long $(BIN)/pytest tests/drills

# A judge behind a real vLLM, on the CPU: 3 GB in an environment of its own, some ten minutes.
test-vllm: install-dev .venv-vllm/.installed
	@GOT_R1_VLLM_PYTHON=$(CURDIR)/.venv-vllm/bin/python $(BIN)/pytest tests/vllm_server

.venv-vllm/.installed: requirements/vllm.txt tests/vllm_server/repair_environment.py
	@test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	@.venv-vllm/bin/python -m pip --quiet install --no-compile --requirement requirements/vllm.txt
	@.venv-vllm/bin/python -m pip --quiet install --no-compile --no-deps dashscope==2.0.2
	@.venv-vllm/bin/python -m pip --quiet uninstall --yes torchaudio torchcodec
	@.venv-vllm/bin/python tests/vllm_server/repair_environment.py
	@touch $@

lint: install-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
