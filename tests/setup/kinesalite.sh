#!/bin/sh
# kinesalite, which speaks Kinesis with real sequence numbers, splits and merges, from npm in .cache/kinesalite. Its
# database is in memory, so the native module that it would store with is left out.
set -eu
cd "$(dirname "$0")/../.."
wanted="kinesalite@3.3.3"
stamp=.cache/kinesalite/.complete
[ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || exit 0
echo "kinesalite: installing $wanted in .cache/kinesalite"
rm -rf .cache/kinesalite
mkdir -p .cache/kinesalite
npm install --prefix .cache/kinesalite --no-save --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error "$wanted"
printf '%s' "$wanted" >"$stamp"
