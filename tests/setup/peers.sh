#!/bin/sh
# Other people's readers of the lake, which `make test-peers` asks: PySpark and DuckDB, from PyPI in .cache/peers.
# PySpark runs on the Java that the tests' Kafka runs on.
set -eu
cd "$(dirname "$0")/../.."
pyspark=4.0.1
duckdb=2.0.0
stamp=".cache/peers/.complete-$pyspark-$duckdb"

[ ! -e "$stamp" ] || exit 0
echo "peers: installing pyspark $pyspark and duckdb $duckdb in .cache/peers (400 MB)"
rm -rf .cache/peers
mkdir -p .cache
python3 -m venv .cache/peers
.cache/peers/bin/pip install -q --disable-pip-version-check "pyspark==$pyspark" "duckdb==$duckdb"
.cache/peers/bin/python -c 'import duckdb, pyspark; print("peers: pyspark", pyspark.__version__, "duckdb", duckdb.__version__)'
: >"$stamp"
