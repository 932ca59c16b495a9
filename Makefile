# The commands of the project; `.ci/run` runs the same ones.
# Everything is built in the dev profile, so that nothing is built twice.

CARGO ?= cargo
TOOLS := .cache/tools/bin
DEMO_FLAGS ?=

.PHONY: help build demo test test-long test-peers coverage mutants check audit bench bench-archive setup

help:
	@echo 'make build      the pinflow binary, target/debug/pinflow'
	@echo 'make demo       ten result tables from an S3 history and live Kafka, on this machine alone'
	@echo 'make test       all tests, on real PostgreSQL, Apache Kafka and an S3 server; installs what is missing'
	@echo 'make test-long  the same with the whole fault matrix, ten minutes of soak, and PostgreSQL 14 to 18'
	@echo 'make test-peers Spark and DuckDB read lake and exports, Airflow runs the daily DAG, the AWS SDK for Java puts records; installs them (1 GB)'
	@echo 'make coverage   which lines the tests execute (target/coverage/html); installs what reads the counters'
	@echo 'make mutants    which faults in operators, coverage, hand-over and cleaning the unit tests notice (hours); installs cargo-mutants'
	@echo 'make check      format, clippy, docs, licences and sources of dependencies, unused dependencies'
	@echo 'make audit      known vulnerabilities of dependencies (needs the network)'
	@echo 'make bench      speed beside DuckDB and FastAPI, and on live Kafka, in the release profile'
	@echo 'make bench-archive  speed of the archiver and the audit'

build:
	@sh tests/setup/install.sh build
	$(CARGO) build --locked -p pinflow

demo:
	@sh tests/setup/install.sh demo
	$(CARGO) build --locked -p pinflow
	target/debug/pinflow demo $(DEMO_FLAGS)

# all servers and libraries that the tests use
setup:
	@sh tests/setup/install.sh test
	@sh tests/setup/kafka.sh
	@sh tests/setup/emulators.sh
	@sh tests/setup/clients.sh
	@sh tests/setup/page.sh
	@sh tests/setup/kinesalite.sh

# the scenarios start target/debug/pinflow, which cargo builds for the command line's own tests; a build of its own would
# select other features and build everything twice
test: setup
	@sh tests/setup/test.sh

test-long: setup
	PINFLOW_TEST_LONG=1 sh tests/setup/test.sh
	@sh tests/setup/postgres_versions.sh run

test-peers: setup
	@sh tests/setup/install.sh peers
	@sh tests/setup/peers.sh
	@sh tests/setup/airflow.sh
	@sh tests/setup/test.sh -p pinflow-tests --test peers --test airflow -- --ignored

coverage: setup
	@sh tests/setup/install.sh coverage
	@sh tests/setup/coverage.sh

mutants:
	@sh tests/setup/install.sh check
	@sh tests/setup/mutants.sh

check:
	@sh tests/setup/install.sh check
	@sh tests/setup/tools.sh
	$(CARGO) fmt --all --check
	# whole, for all platforms: what comes after asks no network
	$(CARGO) fetch --locked
	# the bans of clippy.toml are for what runs, not for tests
	$(CARGO) clippy --locked --workspace --lib --bins -- -D warnings
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings -A clippy::disallowed_methods
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --workspace
	$(TOOLS)/cargo-deny --offline check --hide-inclusion-graph bans licenses sources
	$(TOOLS)/cargo-shear --locked --offline --deny-warnings

audit:
	@sh tests/setup/install.sh check
	@sh tests/setup/tools.sh
	@sh tests/setup/audit.sh

bench: setup
	@sh tests/setup/install.sh bench
	@sh tests/setup/bench.sh
	@sh tests/setup/clients.sh bench
	$(CARGO) build --locked --release --workspace --bins
	.cache/venv/bin/python tests/bench/bench.py
	python3 tests/bench/gateway.py

bench-archive: setup
	$(CARGO) build --locked --release --workspace --bins
	python3 tests/bench/archive.py
