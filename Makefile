# Two commands do everything on a fresh machine: `make run` and `make test`. `make help` lists all.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
WEB_SOURCES := $(shell find web/src web/public web/*.ts web/*.json web/index.html -type f 2>/dev/null)
SEED ?= $(shell date +%s)
JOBS ?= 4
# Tests start thousands of processes, each of which would compile our modules anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: $(shell grep -hoE '^[a-z-]+:' Makefile | tr -d :)
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

# --- setting up -------------------------------------------------------------------------------

.venv/.run: requirements/build.lock requirements/run.lock pyproject.toml hatch_build.py src/limpet/snapshots/native/floor.c src/limpet/snapshots/native/hashes.h
	@scripts/check-machine $(PYTHON)
	@test -x $(BIN)/python || { echo 'limpet: making the virtual environment'; $(PYTHON) -m venv .venv; }
	@echo 'limpet: installing the locked Python dependencies'
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/build.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-build-isolation -r requirements/run.lock
	@mkdir -p web/dist
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.run requirements/dev.lock
	@echo 'limpet: installing the locked tools for tests and checks'
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-build-isolation -r requirements/dev.lock
	@touch $@

web/node_modules/.ready: web/package-lock.json
	@scripts/check-machine $(PYTHON)
	@echo "limpet: installing the web app's locked dependencies"
	@npm --prefix web ci --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.ready $(WEB_SOURCES)
	@echo 'limpet: building the web app'
	@npm --prefix web run --silent build
	@touch $@

setup: .venv/.run web/dist/index.html ## Make .venv and the web app's build (the other targets call it)
setup-dev: setup .venv/.dev
# Claude Code's SDK from its source: its wheels hold a CLI of 400 MB that nothing here runs.
LOCKED := $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --no-binary claude-agent-sdk --emit-build-options
lock: ## Write the lock files anew from pyproject.toml
	$(LOCKED) --extra all --group build pyproject.toml -o requirements/run.lock
	$(LOCKED) --extra all --group build --group dev -c requirements/run.lock pyproject.toml -o requirements/dev.lock
	$(LOCKED) --group build -c requirements/run.lock -o requirements/build.lock

# --- using it ---------------------------------------------------------------------------------

run: setup ## Serve Limpet on loopback and print the URL that signs you in
	@exec $(BIN)/limpet serve
demo: setup ## The main job by itself: make, edit, save, kill -9, restore, compare byte for byte
	@exec $(BIN)/python -m tests.demo

# --- checks -----------------------------------------------------------------------------------

check: check-python check-web ## Format, lint, types, import contract, dead code, the web app's checks
check-python: setup-dev
	$(BIN)/ruff format --check src tests bench hatch_build.py
	$(BIN)/ruff check src tests bench hatch_build.py
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry src
check-web: setup-dev
	npm --prefix web run --silent lint
	npm --prefix web run --silent typecheck
	npm --prefix web run --silent knip
	npm --prefix web run --silent test
	$(BIN)/python -m tests.api_types --check

api-types: setup-dev ## Write the web app's types of the API anew, from the server's OpenAPI
	$(BIN)/python -m tests.api_types

test-servers: setup-dev ## Install other people's store servers that the tests speak to, once a machine
	-$(BIN)/python -m tests.stores.other_servers

previews: setup-dev ## Dev servers of each framework in a real browser, behind TLS on a domain
	$(BIN)/python -m tests.previews.dev_servers
	$(BIN)/pytest -m preview tests/previews $(PYTEST_ARGS)

daemon-alone: setup-dev ## The wheel's daemon in an empty environment, with what it asks for alone
	$(BIN)/python -m tests.daemon_alone

test: check test-servers ## Everything that must hold before a commit, in under 20 minutes
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'not fault and not engine_fault and not preview and not docker and not agents and not e2e_deep and not deep' $(PYTEST_ARGS)

deep: setup-dev test-servers ## What `make test` takes a sample of: every step, seed and case of an area
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'deep and not e2e' $(PYTEST_ARGS)

e2e: setup-dev ## Everything in a real browser: stories, pages, budgets, accessibility; pictures in artefacts/e2e
	$(BIN)/python -m tests.e2e $(PYTEST_ARGS)

runners: setup-dev ## Every behaviour of every runner: host, bubblewrap, Docker (an engine and an image of its own)
	$(BIN)/python -m tests.runners $(PYTEST_ARGS)

agents: setup-dev ## Each harness from the first message to the last undo, with what was said
	$(BIN)/python -m tests.agents $(PYTEST_ARGS)

live: setup-dev ## Scenarios against real models, for each provider whose key is set; else it says which to set
	$(BIN)/python -m tests.models.live

matrix: setup-dev ## Real projects of each package manager and framework, there and home again; ONLY=next,pip
	$(BIN)/python -m tests.matrix

faults-main: setup-dev ## Break the main job in every way its faults table names
	SEED=$(SEED) $(BIN)/python -m tests.faults.report $(PYTEST_ARGS)

faults-engine: setup-dev ## Attack the engine: damage, failing calls, moving trees, lies, planted secrets
	SEED=$(SEED) $(BIN)/python -m tests.faults_engine $(PYTEST_ARGS)

faults-store: setup-dev test-servers ## Attack the store's side: a faulty network, races on one head, prunes beside saves
	SEED=$(SEED) $(BIN)/python -m tests.faults_store $(PART)

faults-kill: setup-dev ## Kill the daemon in the middle of every change of files and git, KILLS times each
	SEED=$(SEED) KILLS=$${KILLS:-30} $(BIN)/pytest tests/daemon/test_killed_in_a_change.py $(PYTEST_ARGS)

fuzz: setup-dev ## Fuzz every codec, then 20,000 generated trees through the whole engine
	SEED=$(SEED) $(BIN)/python -m tests.fuzz

fuzz-daemon: setup-dev ## Fuzz every route of the daemon from its schema, then clients of bad will
	SEED=$(SEED) $(BIN)/python -m tests.fuzz_daemon

bench: setup-dev ## Snapshots beside tar, restic, borg, squashfs and bare C: tables, pictures, bars reached
	$(BIN)/python -m bench.snapshots $(BENCH)
bench-store: setup-dev test-servers ## Snapshots in a bucket beside restic and rclone; 1,000 sandboxes of one template; forks
	$(BIN)/python -m bench.store $(BENCH)
bench-daemon: setup-dev ## A daemon's start and its memory, with their bars
	$(BIN)/python -m bench.daemon $(BENCH)
bench-neighbours: setup-dev ## One sandbox does its worst, another's preview is timed meanwhile
	$(BIN)/python -m bench.neighbours $(BENCH)
bench-main: setup-dev ## What a person waits for: the tile, an evicted sandbox, beside installing by hand
	$(BIN)/python -m bench.main_job
bench-tile: setup-dev ## A real click on 'Web app' in a real browser, to the preview's first paint
	$(BIN)/python -m bench.tile $(BENCH)
