# make = help. Every target does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links pyproject.toml

.PHONY: help serve test agents attack lint types check bench bench-embeddings bench-routing soak docs wheel locks clean
help:                ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

# A bare Debian splits venv off python3; --without-pip would not help, so the package is asked for.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@echo "==> a Python environment of its own in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -y -q python3-venv && $(PYTHON) -m venv $(VENV); \
	  else echo "python3-venv is missing: apt-get install python3-venv"; exit 1; fi; }

$(VENV)/serve.stamp: locks/local.txt locks/install.py pyproject.toml | $(BIN)/python
	@$(BIN)/python locks/install.py locks/local.txt
	@touch $@

$(VENV)/test.stamp: locks/test.txt locks/install.py pyproject.toml | $(BIN)/python
	@$(BIN)/python locks/install.py locks/test.txt
	@touch $@ $(VENV)/serve.stamp

# Node itself comes as a wheel of the test lock, so nothing has to be on the machine.
$(VENV)/node.stamp: tests/node/package-lock.json $(VENV)/test.stamp
	@echo "==> Node's packages of tests/node/package-lock.json"
	@cd tests/node && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund
	@touch $@

# The browser that the SDKs are tried in is Debian's.
/usr/bin/chromium:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium; \
	  else echo "chromium is missing, tests of browsers need it: apt-get install chromium"; exit 1; fi

serve: $(VENV)/serve.stamp ## run the gateway with a local model; secrets are made up once and kept in .kaixu/
	@$(BIN)/kaixu serve --dev

test: check $(VENV)/node.stamp /usr/bin/chromium ## set up, lint, type-check and run every test
	@$(BIN)/python -m pytest -n 3 --dist loadfile

# The real programs and libraries, each kind with a lock of its own: some 1.2 GB, so they are not a part of `make test`.
$(VENV)/agents.stamp: tests/agents/node/package-lock.json tests/agents/python/requirements.txt $(VENV)/test.stamp
	@cd tests/agents/node && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund --ignore-scripts
	@$(BIN)/python -m venv $(VENV)/agents
	@$(VENV)/agents/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r tests/agents/python/requirements.txt
	@touch $@

agents: $(VENV)/agents.stamp ## Claude Code, Codex CLI and libraries, the real ones, before a real gateway (downloads 1.2 GB)
	@$(BIN)/python -m pytest tests/agents/programs.py tests/agents/libraries.py

attack: $(VENV)/test.stamp ## 8,000 hostile requests against two gateways that are stopped and killed meanwhile; before each release
	@KAIXU_ATTACK_REQUESTS=8000 $(BIN)/python -m pytest tests/attack

check: lint types docs ## everything but the tests

lint: $(VENV)/test.stamp ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/test.stamp ## mypy --strict
	@$(BIN)/mypy

docs: $(VENV)/test.stamp ## the generated parts of the docs are fresh
	@$(BIN)/python docs/generate.py --check

bench: $(VENV)/test.stamp ## the figures of bench/*.md (needs wrk and nginx: apt-get install wrk nginx-light)
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.embeddings
	@$(BIN)/python -m bench.routing

bench-routing: $(VENV)/test.stamp ## those of caches and fallback alone: bench/ROUTING.md
	@$(BIN)/python -m bench.routing

bench-embeddings: $(VENV)/test.stamp ## those of embeddings and search alone: bench/EMBEDDINGS.md
	@$(BIN)/python -m bench.embeddings

soak: $(VENV)/test.stamp ## hard streams for SOAK_MINUTES (30): bench/SOAK.md
	@$(BIN)/python -m bench.soak

wheel: $(VENV)/test.stamp ## dist/*.whl
	@$(BIN)/python -m build --no-isolation --outdir dist .

locks:               ## resolve the dependencies again (needs uv)
	@$(UV_COMPILE) --upgrade --extra local --extra test --extra build -o locks/test.txt
	@$(UV_COMPILE) --extra local --extra build -c locks/test.txt -o locks/local.txt
	@$(UV_COMPILE) -c locks/test.txt -o locks/base.txt
	@$(subst pyproject.toml,tests/agents/python/requirements.in,$(UV_COMPILE)) --upgrade -o tests/agents/python/requirements.txt
	@$(UV_COMPILE) --extra granian -o locks/granian.txt

clean:               ## forget the environment and caches (not the data in .kaixu/)
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
