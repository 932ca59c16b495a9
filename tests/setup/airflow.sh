#!/bin/sh
# Apache Airflow, which runs the DAG in deploy/airflow for `make test-peers`: one of each major version, from PyPI in
# .cache/airflow. The file of constraints that its makers recommend is not on PyPI, so only Airflow itself is pinned.
set -eu
cd "$(dirname "$0")/../.."

for version in 2.10.5 3.3.2; do
    venv=.cache/airflow/$version
    [ ! -e "$venv/.complete" ] || continue
    echo "airflow: installing apache-airflow $version in $venv (300 MB)"
    rm -rf "$venv"
    mkdir -p .cache/airflow
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check "apache-airflow==$version"
    "$venv/bin/airflow" version
    : >"$venv/.complete"
done
