#!/bin/sh
# axe-core, which judges the page's accessibility in tests/tests/page.rs: a script that a wheel on PyPI carries. Nothing
# else of the wheel is used, so that what it depends on is not installed.
set -eu
cd "$(dirname "$0")/../.."
wanted="axe-playwright-python==0.1.8"
stamp=.cache/page/.complete
[ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || exit 0
echo "page: installing axe-core of $wanted in .cache/page"
sh tests/setup/clients.sh
rm -rf .cache/page
.cache/clients/bin/pip install -q --disable-pip-version-check --no-deps --target .cache/page "$wanted"
printf '%s' "$wanted" >"$stamp"
