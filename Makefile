# Everything here sets itself up: `make demo` and `make test` work in a fresh checkout with Python 3.11 or newer.
#
#   make PYTHON=python3.12 test      another interpreter (after `make clean`)
#   make demo ARGS="--limit 20"      arguments for the command behind a target

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests mostly wait for brokers and clocks: four at a time keep two cores half busy.
WORKERS ?= 4
KILLS ?= 100
POWER_CUTS ?= 1000
ROUNDS ?= 20
STREAM_KILLS ?= 20

.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench clean
.PHONY: soak soak-broker soak-kills soak-power soak-damage soak-groups soak-services soak-streams

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.user ## Run the shop: broker, registry, five services, real orders, a live view
	$(BIN)/ottla demo $(ARGS)

test: $(VENV)/.dev ## Run all tests; on Apache Kafka too where java and mvn are installed
	@if command -v java >/dev/null && command -v mvn >/dev/null; then { tools/kafka/fetch >/dev/null && $(BIN)/python tools/kafka/archive && tools/streams/fetch >/dev/null; } || test -z "$$CI"; tools/apicurio/fetch >/dev/null || true; fi
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(VENV)/.dev ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy $(ARGS)

bench: $(VENV)/.dev ## Run the benchmarks; ARGS="demo" for one
	$(BIN)/python -m bench $(ARGS)

soak: soak-broker soak-services soak-streams ## Everything below, one after the other: many hours
soak-broker: soak-kills soak-power soak-damage soak-groups ## All that is done to the broker alone

soak-kills: $(VENV)/.dev ## Kill the broker KILLS times under load, and clients in transactions: nothing may be lost or doubled
	OTTLA_KILLS=$(KILLS) $(BIN)/pytest --timeout 7200 tests/contracts/test_kill.py \
		tests/contracts/test_transactional_kill.py tests/contracts/test_transactional_kill_java.py $(ARGS)

soak-power: $(VENV)/.dev ## Cut the broker's power at POWER_CUTS points, once and again, with transactions, and with each flush policy
	OTTLA_POWER_CUTS=$(POWER_CUTS) $(BIN)/pytest --timeout 7200 tests/faults/test_power_cuts.py tests/faults/test_repeated_power_cuts.py \
		tests/faults/test_transaction_power_cuts.py tests/faults/test_unsynced_power_cuts.py \
		tests/faults/test_unsynced_transaction_power_cuts.py $(ARGS)

soak-damage: $(VENV)/.dev ## Damage the broker's files, fuzz its requests, try histories of logs and transactions
	OTTLA_DAMAGES=20 OTTLA_FUZZ=5000 OTTLA_LOG_STATES=2000 OTTLA_TRANSACTION_STATES=1000 $(BIN)/pytest --timeout 7200 \
		tests/broker/test_damaged_files.py tests/broker/test_log_states.py tests/broker/test_transaction_machine.py $(ARGS)
	OTTLA_FUZZ_TIMES=50 $(BIN)/pytest --timeout 7200 tests/broker/test_fuzz.py tests/broker/test_batch_header_fuzz.py $(ARGS)

soak-groups: $(VENV)/.dev ## Try histories of consumer groups
	OTTLA_GROUP_EXAMPLES=3000 $(BIN)/pytest --timeout 7200 tests/broker/groups $(ARGS)

soak-services: $(VENV)/.dev ## Break everything around services ROUNDS times, on both brokers
	OTTLA_ROUNDS=$(ROUNDS) $(BIN)/pytest -n 2 --dist loadfile --timeout 7200 tests/faults/matrix $(ARGS)
	OTTLA_ROUNDS=$(ROUNDS) OTTLA_EXAMPLES=5000 $(BIN)/pytest --timeout 7200 tests/contracts/test_retry_topics.py \
		tests/contracts/test_control.py tests/listeners/test_parked.py $(ARGS)
	OTTLA_ROUNDS=$(ROUNDS) $(BIN)/pytest --timeout 7200 tests/faults/outbox tests/faults/schedule \
		tests/contracts/test_outbox.py $(ARGS)
	OTTLA_STUCK_AFTER=8 $(BIN)/pytest --timeout 7200 tests/contracts/test_health.py $(ARGS)
	OTTLA_OFFSET_RETENTION=1 $(BIN)/pytest --timeout 7200 tests/contracts/test_offset_retention.py $(ARGS)
	OTTLA_AGGREGATE_KILLS=$(ROUNDS) OTTLA_PROJECTION_KILLS=$(ROUNDS) $(BIN)/pytest --timeout 7200 \
		tests/contracts/test_aggregate_kills.py tests/contracts/test_projections.py $(ARGS)

soak-streams: $(VENV)/.dev ## Kill stream applications STREAM_KILLS times, on both brokers
	OTTLA_STREAM_KILLS=$(STREAM_KILLS) $(BIN)/pytest --timeout 7200 tests/faults/streams $(ARGS)

clean: ## Remove what was made: environment, caches, the demo's data
	rm -rf src/ottla/serde/avro/_codec.*.so $(VENV) .ottla .pytest_cache .mypy_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. One stamp per set of packages, made again when pyproject.toml or the C sources change.

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Ottla needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." >&2; \
		echo "Install one and say which: make PYTHON=python3.12 ..." >&2; \
		exit 1; \
	}
	@$(PYTHON) -m venv $(VENV)

# The C extension is compiled by the install.
NATIVE := hatch_build.py $(wildcard native/avro/*.c native/avro/*.h)

$(VENV)/.user: pyproject.toml $(NATIVE) | $(VENV)/bin/python
	@echo "Installing Ottla into $(VENV) (once, and again when pyproject.toml or C sources change)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(NATIVE) | $(VENV)/bin/python
	@echo "Installing Ottla and its test tools into $(VENV) (once, and again when pyproject.toml or C sources change)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.user $@
