# make = help. Every target does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links pyproject.toml

# Two workers for each processor: about half of a test's time is waiting for streams, graces and vendors. `-n auto` would
# count cores, of which a virtual machine often has one for two processors. At most eight: each has a Postgres of its own.
# A file stays with one worker, because its tests share gateways; long files come first (tests/conftest.py).
PYTEST_JOBS ?= $(shell n=$$((2 * $$(nproc))); echo $$((n < 8 ? n : 8)))
PYTEST = $(BIN)/python -m pytest -n $(PYTEST_JOBS) --dist loadfile --no-loadscope-reorder --durations=10
# Compiled modules are kept: compiling the gateway costs a fifth of a second at each start of a process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: chromium balancers help serve test quick slow attack agents lint types check bench bench-embeddings bench-routing bench-rolling bench-tail bench-reports bench-scale bench-compare profile soak docs screens deploy-check image-check restore-check wheel locks clean
help:                ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

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
	@cd tests/node && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --loglevel=error --no-audit --no-fund
	@touch $@

# The browser of the tests is Debian's: Chromium without a window where there is a package for it, else the whole one.
INSTALL = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends
chromium:
	@[ -x /usr/bin/chromium-headless-shell ] || { $(INSTALL) chromium-headless-shell; } || [ -x /usr/bin/chromium ] || \
	  { $(INSTALL) chromium; } || \
	  { echo "chromium is missing, tests of browsers need it: apt-get install chromium-headless-shell"; exit 1; }

# Tests of several gateways put Debian's nginx before them, and its PgBouncer between them and Postgres.
balancers:
	@for one in nginx:nginx-light pgbouncer:pgbouncer; do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $${one%:*} >/dev/null || { $(INSTALL) $${one#*:}; } || \
	  { echo "$${one%:*} is missing, tests of several gateways need it: apt-get install $${one#*:}"; exit 1; }; done

serve: $(VENV)/serve.stamp ## run the gateway with a local model; secrets are generated once and stored in .kaixu/
	@$(BIN)/kaixu serve --dev

test: check $(VENV)/node.stamp chromium balancers ## set up, lint, type-check and run every test
	@$(PYTEST)

# The real programs and libraries, each kind with a lock of its own: some 1.2 GB, so they are not a part of `make test`.
$(VENV)/agents.stamp: tests/agents/node/package-lock.json tests/agents/python/requirements.txt $(VENV)/test.stamp
	@echo "==> the programs of tests/agents/node/package-lock.json (some 840 MB once installed; npm shows no progress)"
	@cd tests/agents/node && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --loglevel=error --no-audit --no-fund --ignore-scripts
	@echo "==> a second Python environment, for the libraries, in $(VENV)/agents"
	@$(BIN)/python -m venv $(VENV)/agents
	@$(VENV)/agents/bin/python locks/install.py --packages-only tests/agents/python/requirements.txt
	@touch $@

agents: $(VENV)/agents.stamp ## run the real Claude Code, Codex CLI and AI libraries against a gateway (downloads 1.2 GB)
	@$(BIN)/python -m pytest -v tests/agents/programs.py tests/agents/libraries.py

check: lint types docs ## lint, types and docs: all checks except the tests

lint: $(VENV)/test.stamp ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/test.stamp ## mypy --strict
	@$(BIN)/mypy

docs: $(VENV)/test.stamp ## check that the generated parts of the docs are up to date
	@$(BIN)/python docs/generate.py --check

screens: $(VENV)/test.stamp chromium ## pictures of all pages into docs/screens (PAGES="usage keys": only those)
	@$(BIN)/python -m tests.web.screens $(PAGES)

bench: $(VENV)/test.stamp ## measure the figures of bench/*.md (needs wrk and nginx: apt-get install wrk nginx-light)
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.embeddings
	@$(BIN)/python -m bench.routing
	@$(BIN)/python -m bench.tail

profile: $(VENV)/test.stamp ## where the time of a plain call goes, by room and library: bench/PROFILE.md (SERVER=hypercorn, CONNECTIONS=1, STREAM=1)
	@$(BIN)/python -m bench.profile

bench-compare: $(VENV)/test.stamp ## another checkout (OTHER=folder, with a .venv) and this one under the same load, in turn: bench/COMPARE.md
	@$(BIN)/python -m bench.compare $(OTHER)

bench-routing: $(VENV)/test.stamp ## only the figures of caches and fallback: bench/ROUTING.md
	@$(BIN)/python -m bench.routing

bench-rolling: $(VENV)/test.stamp ## only what clients notice while gateways are restarted under load: bench/ROLLING.md
	@$(BIN)/python -m bench.rolling

bench-tail: $(VENV)/test.stamp ## only the figures of the monitor's live tail: bench/MONITOR.md
	@$(BIN)/python -m bench.tail

bench-scale: $(VENV)/test.stamp ## what a call costs Postgres as customers grow (BENCH_CUSTOMERS=10,1000,100000, BENCH_CALLS): for bench/SCALE.md
	@$(BIN)/python -m bench.scale

bench-reports: $(VENV)/test.stamp ## lists, reports and exports on 100,000 customers and 5 million calls (BENCH_CUSTOMERS, BENCH_EVENTS): bench/REPORTS.md
	@$(BIN)/python -m bench.reports

bench-embeddings: $(VENV)/test.stamp ## only the figures of embeddings and search: bench/EMBEDDINGS.md
	@$(BIN)/python -m bench.embeddings

# The tests of what attackers tried; the storm of hostile requests is 20 times as long as in `make test`.
ATTACKS = attack e2e/test_hold_bounds.py e2e/test_leaving_early.py e2e/test_vendor_work.py e2e/test_odd_vendors.py \
	e2e/test_search_pools.py e2e/test_readings.py e2e/test_http_edge.py e2e/test_unstorable_text.py \
	e2e/test_overspend_probe.py e2e/test_crashes.py e2e/test_job_chaos.py e2e/test_bad_input.py e2e/test_odd_json.py \
	store/test_plugin_database.py store/test_clock_set_back.py store/test_money_properties.py

attack: $(VENV)/test.stamp ## what attackers tried, against two gateways: 8,000 hostile requests and all tests of their kinds
	@KAIXU_ATTACK_REQUESTS=$${KAIXU_ATTACK_REQUESTS:-8000} $(PYTEST) $(addprefix tests/,$(ATTACKS))

# What starts no gateway. Two of the files need the database.
QUICK = plugin plugins/test_contract.py plugins/test_odd_answers.py plugins/test_vendor_usage.py \
	plugins/test_kaixu_openai.py plugins/test_kaixu_anthropic.py plugins/test_kaixu_gemini.py config catalog metering \
	api/openai api/anthropic collections/test_filters.py collections/test_chunks.py ops

quick: check         ## lint, types, docs, and the tests that start no gateway: under 90 s
	@$(BIN)/python -m pytest -q -n $$(nproc) $(addprefix tests/,$(QUICK))

# Sizes: tests/support/size.py. Gateways and commands are executed anew instead of forked: tests/support/kaixu.py.
slow: $(VENV)/node.stamp chromium balancers ## every test with long proofs in full, and a short soak: about half an hour
	@KAIXU_TEST_SLOW=1 KAIXU_TEST_EXEC=1 $(PYTEST)
	@$(BIN)/python -m pytest -q tests/deploy/restore.py
	@SOAK_MINUTES=$${SOAK_MINUTES:-5} $(BIN)/python -m bench.soak

restore-check: $(VENV)/test.stamp ## make backups of a Postgres, lose it, restore it, to a point in time too; a part of `make slow`
	@$(BIN)/python -m pytest -v tests/deploy/restore.py

soak: $(VENV)/test.stamp ## many difficult streams for SOAK_MINUTES (30): bench/SOAK.md
	@$(BIN)/python -m bench.soak

deploy-check: $(VENV)/test.stamp balancers ## the parts of compose.yaml as processes, and Caddy, with the shipped files (needs caddy)
	@$(BIN)/python -m pytest -v tests/deploy/stack.py tests/deploy/behind_caddy.py

image-check: $(VENV)/test.stamp ## build the image of the Containerfile and run it read-only (root; needs podman, crun, mmdebstrap)
	@$(BIN)/python -m tests.deploy.image_check

wheel: $(VENV)/serve.stamp ## build dist/*.whl
	@$(BIN)/python -m build --no-isolation --outdir dist .

locks:               ## resolve the dependencies again (needs uv)
	@$(UV_COMPILE) --upgrade --extra local --extra test --extra build -o locks/test.txt
	@$(UV_COMPILE) --extra local --extra build -c locks/test.txt -o locks/local.txt
	@$(UV_COMPILE) -c locks/test.txt -o locks/base.txt
	@$(subst pyproject.toml,tests/agents/python/requirements.in,$(UV_COMPILE)) --upgrade -o tests/agents/python/requirements.txt
	@$(UV_COMPILE) --extra granian -o locks/granian.txt
	@echo hatchling | $(subst pyproject.toml,-,$(UV_COMPILE)) -c locks/test.txt -o locks/build.txt

clean:               ## remove the environment and caches (not the data in .kaixu/)
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
