# make demo: label 70,000 digits from 50 labels.  make test: the tests.  make check: style, types, floors.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Each has clusters of its own: three worker processes.
TEST_PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

.PHONY: demo test check faults benchmarks bench lock clean

demo: $(STAMP)
	$(BIN)/ssl-dask demo --force

test: $(STAMP)
	$(PYTEST) -m "not slow"

# Slow suites: kills at random moments, real browser over whole jobs.
faults: $(STAMP)
	$(PYTEST) -m slow

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy ssl_dask
	$(BIN)/lint-imports

benchmarks: $(STAMP)
	$(BIN)/python benchmarks/end_to_end.py
	$(BIN)/python benchmarks/knn.py --quick

# Whole commands against another commit: make bench AGAINST=HEAD~20 DATA=folder_of_sets
AGAINST ?= HEAD~1
bench: $(STAMP)
	$(BIN)/python benchmarks/commands.py --against $(AGAINST) $(if $(DATA),--data $(DATA)) --write benchmarks/RESULTS.md

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ssl_dask needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Needs uv. The lock file holds exact versions and hashes, and no index address.
lock:
	printf 'hatchling>=1.27\neditables>=0.5\n' | uv pip compile pyproject.toml - --extra test --extra s3 --extra azure --extra delta --extra iceberg --extra slurm \
	    --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet -o requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
