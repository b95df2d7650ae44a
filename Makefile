# `make` lists the targets. All of them work on a machine that has nothing but Python 3.11 or later.

PYTHON ?= python3
BIN := .venv/bin
# Processes of pytest; 0 runs everything in one.
JOBS ?= 2
export DJANGO_SETTINGS_MODULE ?= config.settings
# Whatever the terminal's locale is, files and messages are UTF-8.
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help install run demo bench test tests gates lint format types imports migrations security schema \
	schema-check shell manage stop clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

install: ## make .venv from the pinned, hashed requirements
	@$(PYTHON) config/quickstart/bootstrap.py

run: install ## run everything here, embedded services included, until Ctrl-C
	@$(BIN)/python -m config.quickstart.run --stop-with-parent

demo: install ## play a few hundred players through a day, against the server of `make run`
	@$(BIN)/python -m clients.python.demo

bench: install ## measure what this machine serves (needs wrk); see docs/performance.md
	@$(BIN)/python -m benchmarks $(ARGS)

test: install gates tests ## every gate and the whole suite, with coverage

tests: install ## the test suite alone, with coverage and its limits
	@$(BIN)/python -m config.quickstart.gates tests --jobs $(JOBS)

tests-again: install ## the suite on other services than before: without coverage, and what is the same there
	@$(BIN)/python -m config.quickstart.gates tests --jobs $(JOBS) --again

gates: install ## every gate but the tests
	@$(BIN)/python -m config.quickstart.gates all

lint: install ## the quick gates: ruff, import directions
	@$(BIN)/python -m config.quickstart.gates quick

format: install ## format the code and sort its imports
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

schema: install ## write docs/openapi.yaml from the code
	@$(BIN)/python -m config.quickstart.gates write-schema

manage: install ## a management command with the embedded services: make manage ARGS="shell"
	@$(BIN)/python -m config.quickstart.services exec -- $(BIN)/python manage.py $(ARGS)

stop: ## stop embedded services that something still holds
	@$(BIN)/python -m config.quickstart.services stop
