#!/bin/sh
# What the gateway and the archiver are tested with, as wheels from PyPI in a folder of its own, .cache/clients: requests
# (what users' scripts use), schemathesis (fuzzing by the OpenAPI description), DuckDB (which reads the archiver's lake),
# boto3 and the AWS CLI (clients of Kinesis). With `bench`, also the gateway that users run today, FastAPI with aiokafka under uvicorn, for `make bench`.
set -eu
cd "$(dirname "$0")/../.."
test="requests==2.32.5 schemathesis==4.32.5 hypothesis==6.170.15 duckdb==2.0.0 boto3==1.44.8 awscli==1.46.3"
bench="fastapi==0.115.14 uvicorn[standard]==0.34.3 aiokafka==0.12.0"
purpose=${1:-test}
case "$purpose" in
bench) wanted="$test $bench" ;;
*) wanted="$test" ;;
esac

venv=.cache/clients
stamp="$venv/.complete-$purpose"
[ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || exit 0
echo "clients: installing $wanted in $venv"
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
# shellcheck disable=SC2086 # a list of packages
"$venv/bin/pip" install -q --disable-pip-version-check $wanted
printf '%s' "$wanted" >"$stamp"
