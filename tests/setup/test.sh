#!/bin/sh
# All tests of the workspace, then how long the longest took, and one line with the sum of what the many test programs
# counted. Arguments go to `cargo test`: `test.sh -p operators`, `test.sh --test servers`.
set -u
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
log=$(mktemp)
trap 'rm -f "$log" "$log".*' EXIT
begun=$(date +%s)

# seconds of each program, with how much of the machine was busy, and of each test of a scenario
durations=$PWD/target/durations
mkdir -p "$durations"
rm -f "$durations"/*.csv
export PINFLOW_PROGRAM_DURATIONS="$durations/programs.csv" PINFLOW_TEST_DURATIONS="$durations/tests.csv"
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')

run() {
    "$cargo" test --locked --no-fail-fast "$@"
    echo $? >>"$log.status"
}

# all programs that cargo builds, two at a time (PINFLOW_TEST_PROGRAMS), the scenarios first: they take the longest. What
# a program says is shown when it has ended.
run_queued() {
    : >"$log.queue"
    PINFLOW_PROGRAM_QUEUE=$log.queue
    export PINFLOW_PROGRAM_QUEUE
    run "$@"
    unset PINFLOW_PROGRAM_QUEUE
    # four tests at once, as where a program runs alone: more of them would wait for the processors
    export RUST_TEST_THREADS="${RUST_TEST_THREADS:-2}"
    # lines of folder and program
    paste - - <"$log.queue" | awk -F'\t' -v scenarios="$PWD/tests" '{ print ($1 != scenarios) "\t" $0 }' | sort -s -k1,1 |
        cut -f2- | tr '\t' '\n' |
        xargs -d '\n' -n 2 -P "${PINFLOW_TEST_PROGRAMS:-2}" sh tests/setup/queued_program.sh "$log" || echo 1 >>"$log.status"
}
{
    if [ $# -eq 0 ]; then
        run --workspace --doc
        export "CARGO_TARGET_${host}_RUNNER=$PWD/tests/setup/run_program.sh"
        run_queued --workspace --lib --bins --tests
    else
        export "CARGO_TARGET_${host}_RUNNER=$PWD/tests/setup/run_program.sh"
        run "$@"
    fi
} 2>&1 | tee "$log"

status=0
if grep -qv '^0$' "$log.status"; then
    status=1
    grep -E '^test .* FAILED$|^error' "$log" | sort -u
fi
if [ -f "$PINFLOW_PROGRAM_DURATIONS" ]; then
    echo "$(wc -l <"$PINFLOW_PROGRAM_DURATIONS") test programs in $(($(date +%s) - begun)) s, with what was built; the longest:"
    sort -t, -k2,2 -nr "$PINFLOW_PROGRAM_DURATIONS" | head -n 8 |
        awk -F, '{ printf "  %s: %d s, %d %% of the processors busy\n", $1, $2, $3 }'
fi
if [ -n "${PINFLOW_CI_BEGUN:-}" ]; then
    echo "ci: $(($(date +%s) - PINFLOW_CI_BEGUN)) s of 2700, with everything that was installed, built and checked"
fi
# a test that lacks something says so and passes: it counts as skipped, once (see tests/src/need.rs)
awk '/^ *Running / { program = $0 }
match($0, /skipped test [^ ]+: /) {
    test = substr($0, RSTART, RLENGTH)
    if (test ~ /^skipped test main: / || !seen[program, test]++) lacking++
}
/^test result:/ {
    for (i = 1; i < NF; i++) {
        if ($(i + 1) == "passed;") passed += $i
        if ($(i + 1) == "failed;") failed += $i
        if ($(i + 1) == "ignored;") skipped += $i
    }
} END {
    passed -= lacking; skipped += lacking
    printf "total: %d passed, %d failed, %d skipped\n", passed, failed, skipped
}' "$log"
exit "$status"
