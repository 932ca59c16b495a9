#!/bin/sh
# What the users' Python clients in tests/clients import, as wheels from PyPI in .cache/clients.
set -eu
cd "$(dirname "$0")/../.."
requests=2.32.5
sqlalchemy=2.0.44
pymysql=1.1.2
stamp=".cache/clients/.complete-$requests-$sqlalchemy-$pymysql"

[ ! -e "$stamp" ] || exit 0
echo "clients: installing requests $requests, SQLAlchemy $sqlalchemy and PyMySQL $pymysql in .cache/clients"
rm -rf .cache/clients
mkdir -p .cache
python3 -m venv .cache/clients
.cache/clients/bin/pip install -q --disable-pip-version-check \
    "requests==$requests" "SQLAlchemy==$sqlalchemy" "PyMySQL==$pymysql"
.cache/clients/bin/python -c 'import pymysql, requests, sqlalchemy; print("clients: complete")'
: >"$stamp"
