#!/bin/sh
# DuckDB, against which `make bench` measures, as a wheel from PyPI in .cache/venv.
set -eu
cd "$(dirname "$0")/../.."
duckdb=2.0.0
stamp=".cache/venv/.complete-$duckdb"

[ ! -e "$stamp" ] || exit 0
echo "bench: installing duckdb $duckdb in .cache/venv"
rm -rf .cache/venv
mkdir -p .cache
python3 -m venv .cache/venv
.cache/venv/bin/pip install -q --disable-pip-version-check "duckdb==$duckdb"
.cache/venv/bin/python -c 'import duckdb; print("bench: duckdb", duckdb.__version__)'
: >"$stamp"
