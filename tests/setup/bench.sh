#!/bin/sh
# What `make bench` measures with, as wheels from PyPI in .cache/venv: DuckDB, to compare with; confluent-kafka and
# psycopg, the clients of a busy machine; matplotlib, which draws.
set -eu
cd "$(dirname "$0")/../.."
wanted="duckdb==2.0.0 confluent-kafka==2.16.1 psycopg[binary]==3.3.0 matplotlib==3.10.7"
stamp=.cache/venv/.complete

[ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || exit 0
echo "bench: installing $wanted in .cache/venv"
[ -x .cache/venv/bin/pip ] || python3 -m venv .cache/venv
# shellcheck disable=SC2086 # a list of packages
.cache/venv/bin/pip install -q --disable-pip-version-check $wanted
.cache/venv/bin/python -c 'import confluent_kafka, duckdb, matplotlib, psycopg'
printf '%s' "$wanted" >"$stamp"
