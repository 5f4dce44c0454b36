# Two commands: `make run` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test setup check bench clean

run: setup ## Start the server with the demo agent and print its address
	$(BIN)/agentstack serve

test: setup ## Run the tests that need nothing but Python and Node
	$(BIN)/pytest -n auto --dist loadfile -m "not agents and not browser and not docker and not slow"

setup: $(VENV)/.done web/static/vendor/.done

$(VENV)/.done: requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("agent-stack needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

web/static/vendor/.done: package.json package-lock.json web/vendor.py
	npm ci --silent --no-audit --no-fund
	$(PYTHON) web/vendor.py
	@touch $@

check: setup ## Lint, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r agentstack domain eventlog images projections supervisors web
	npx --no-install tsc --project web/tsconfig.json

bench: setup ## Measure; every figure in the documentation comes from here
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) node_modules web/static/vendor
