#!/bin/sh
# What the users' Python clients and consumers in tests/clients import, as wheels from PyPI in .cache/emulators.
set -eu
cd "$(dirname "$0")/../.."
requests=2.32.5
sqlalchemy=2.0.44
pymysql=1.1.2
confluent=2.16.1
stamp=".cache/emulators/.complete-$requests-$sqlalchemy-$pymysql-$confluent"

[ ! -e "$stamp" ] || exit 0
echo "emulators: installing requests $requests, SQLAlchemy $sqlalchemy, PyMySQL $pymysql and confluent-kafka $confluent"
rm -rf .cache/emulators
mkdir -p .cache
python3 -m venv .cache/emulators
.cache/emulators/bin/pip install -q --disable-pip-version-check \
    "requests==$requests" "SQLAlchemy==$sqlalchemy" "PyMySQL==$pymysql" "confluent-kafka==$confluent"
.cache/emulators/bin/python -c 'import confluent_kafka, pymysql, requests, sqlalchemy; print("emulators: complete")'
: >"$stamp"
