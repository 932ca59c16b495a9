#!/bin/sh
# Other people's programs, which `make test-peers` runs: readers of the lake, of exports and of the tables, PySpark and
# DuckDB, with s3fs, through which DuckDB reads a bucket, from PyPI in .cache/peers, and PostgreSQL's JDBC driver, from
# Maven; and AWS's SDK for Java, which puts records, from Maven in .cache/kinesis. PySpark runs on the Java that the
# tests' Kafka runs on; the SDK's program is compiled, which needs a JDK.
set -eu
cd "$(dirname "$0")/../.."
pyspark=4.0.1
duckdb=2.0.0
s3fs=2026.9.0
jdbc=42.7.14
stamp=".cache/peers/.complete-$pyspark-$duckdb-$s3fs-$jdbc"

jars=.cache/kinesis
if ! cmp -s tests/setup/kinesis.pom.xml "$jars/.complete"; then
    echo "peers: copying AWS's SDK for Java to $jars (13 MB)"
    rm -rf "$jars"
    mvn -B -q -f tests/setup/kinesis.pom.xml dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$PWD/$jars"
    cp tests/setup/kinesis.pom.xml "$jars/.complete"
fi
[ ! -e "$stamp" ] || exit 0
echo "peers: installing pyspark $pyspark, duckdb $duckdb, s3fs $s3fs and postgresql's jdbc $jdbc in .cache/peers (420 MB)"
rm -rf .cache/peers
mkdir -p .cache
python3 -m venv .cache/peers
.cache/peers/bin/pip install -q --disable-pip-version-check "pyspark==$pyspark" "duckdb==$duckdb" "s3fs==$s3fs"
.cache/peers/bin/python -c 'import duckdb, pyspark, s3fs; print("peers: pyspark", pyspark.__version__, "duckdb", duckdb.__version__)'
mvn -B -q dependency:copy "-Dartifact=org.postgresql:postgresql:$jdbc" -DoutputDirectory="$PWD/.cache/peers" \
    -Dmdep.stripVersion=true
: >"$stamp"
