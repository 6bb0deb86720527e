# Every command of the project. `make` alone lists them.
#
# Needed: make and Python 3.11 or newer. Everything else is installed by exact version and hash into .venv, and nowhere else.
# PYTHON=/path/to/python chooses the interpreter; otherwise it is the oldest supported one that this machine has.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# The steps of one `make test` share .venv and the coverage data: one after the other.
.NOTPARALLEL:

PYTHON ?=
# More processes than this has cores: many tests wait. The tests of a file stay together, as the code of a page of documentation must. In their own
# order: files with few tests are the slow ones, and would come last together.
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder
# What starts, kills and counts whole processes tries the databases and the system more than the interpreter: it runs once, and without coverage,
# which would slow every process down.
PROCESSES := $(addprefix tests/,browser engines faults fleet inbox_faults independent)
# The fleets of tests/fleet sail with this share of their events; `make fleet` sends all.
FLEET ?= 0.1
BIN := .venv/bin
RUN := $(BIN)/python
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 $(if $(UPGRADE),--upgrade) \
	--custom-compile-command "make requirements"

define step
@printf '\n==> %s\n' "$(1)"
endef

.PHONY: help env demo test lint types contracts check-generated unit processes wheel newest format generate requirements upgrade-stripe bench docs \
	browser mutants fleet soak clean

help: ## List the commands
	@printf 'make COMMAND, where COMMAND is one of\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: ## Make .venv, or bring it up to date
	@command -v python3 > /dev/null || { echo 'error: python3 was not found. Install Python 3.11 or newer.' >&2; exit 1; }
	@python3 tools/environment.py create $(PYTHON)

demo: env ## Show what the package does, offline, in a minute
	@$(RUN) examples/demo.py

test: env lint contracts check-generated types unit processes wheel newest ## Run every check, and the tests on the oldest and newest Python here

lint: env ## Check style and formatting (ruff)
	$(call step,Style and formatting)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@echo 'clean'

types: env ## Check types (mypy and pyright, both strict)
	$(call step,Types)
	@$(BIN)/mypy
	@$(BIN)/basedpyright

contracts: env ## Check that every import goes down the layers (import-linter)
	$(call step,Layers)
	@$(BIN)/lint-imports --no-cache

check-generated: env ## Check that regenerating would change nothing
	$(call step,Generated code)
	@$(RUN) tools/generate.py --check
	@echo 'up to date'

unit: env ## Run the tests and the code of the documentation
	$(call step,Tests on $$($(RUN) -V))
	@$(RUN) -m pytest $(PARALLEL) $(addprefix --ignore=,$(PROCESSES))

processes: env ## Run the tests that start and kill whole processes
	$(call step,Tests of whole processes)
	@FLEET_SCALE=$(FLEET) $(RUN) -m pytest $(PARALLEL) $(PROCESSES)

wheel: env ## Build the package, install it as users do, and try what was installed
	$(call step,Package)
	@$(RUN) tools/check_wheel.py

# Here, because Python 3.11 now and then refuses a trace function to a thread that starts while another one does.
newest: env ## Run the tests on the newest supported Python of this machine, with coverage
	$(call step,Tests on the newest Python)
	@rm -f .coverage .coverage.*
	@$(RUN) tools/environment.py newest -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered $(addprefix --ignore=,$(PROCESSES))

format: env ## Sort imports, fix what can be fixed, lay out the code (ruff)
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

generate: env ## Write resources/ and models/ again from the installed stripe
	@$(RUN) tools/generate.py

requirements: $(BIN)/uv ## Compile requirements/ from pyproject.toml again (UPGRADE=1: to the newest)
	$(call step,Compiling requirements)
	@$(COMPILE) --no-config --group installer --output-file requirements/uv.txt
	@$(COMPILE) --all-extras --group dev --constraint requirements/uv.txt --output-file requirements/dev.txt pyproject.toml

# Not `env`: the requirements that it installs may be what is wrong.
$(BIN)/uv:
	@$(MAKE) env

upgrade-stripe: $(BIN)/uv ## Move to another version of stripe: make upgrade-stripe VERSION=16.2.0
	@$(RUN) tools/upgrade_stripe.py pin $(VERSION)
	@$(MAKE) requirements
	@$(MAKE) env
	@$(RUN) tools/upgrade_stripe.py api-version
	@$(MAKE) generate
	@echo 'Done. The difference in git is what changed in the API. Next: make test'

bench: env ## Measure, with the numbers that the documentation quotes
	@$(RUN) benchmarks/run.py

docs: env ## Run the code of the documentation and follow its links
	$(call step,Documentation)
	@$(BIN)/pytest README.md CONTRIBUTING.md docs tests/test_docs.py

browser: env ## Install Chromium for the tests in a browser (Debian, as root)
	@$(RUN) tests/browsers.py

mutants: env ## Change _wire/ in every small way and see that a test notices (mutmut; minutes)
	$(call step,Mutation tests)
	@rm -rf mutants
	@$(BIN)/mutmut run
	@$(BIN)/mutmut results

fleet: env ## Send 30,000 events through fleets of processes that are killed (some minutes)
	@FLEET_SCALE=1 $(RUN) -m pytest tests/fleet

HOURS ?= 8
RATE ?= 200
BACKEND ?= postgres

soak: env ## Let a fleet run for hours, with kills, restarts and new secrets (HOURS=8 RATE=200 BACKEND=postgres)
	@$(RUN) -m tests.fleet.soak --hours $(HOURS) --rate $(RATE) --backend $(BACKEND)

clean: ## Remove everything that these commands made
	@rm -rf .venv .venv-* build dist mutants .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
