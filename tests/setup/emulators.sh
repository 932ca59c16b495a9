#!/bin/sh
# What the users' Python clients in tests/clients import, as wheels from PyPI in .cache/emulators.
set -eu
cd "$(dirname "$0")/../.."
requests=2.32.5
sqlalchemy=2.0.44
pymysql=1.1.2
stamp=".cache/emulators/.complete-$requests-$sqlalchemy-$pymysql"

[ ! -e "$stamp" ] || exit 0
echo "emulators: installing requests $requests, SQLAlchemy $sqlalchemy and PyMySQL $pymysql in .cache/emulators"
rm -rf .cache/emulators
mkdir -p .cache
python3 -m venv .cache/emulators
.cache/emulators/bin/pip install -q --disable-pip-version-check \
    "requests==$requests" "SQLAlchemy==$sqlalchemy" "PyMySQL==$pymysql"
.cache/emulators/bin/python -c 'import pymysql, requests, sqlalchemy; print("emulators: complete")'
: >"$stamp"
