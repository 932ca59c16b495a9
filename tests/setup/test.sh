#!/bin/sh
# All tests of the workspace, then one line with the sum of what the many test programs counted.
# Arguments go to `cargo test`: `test.sh -p operators`, `test.sh --test servers`.
set -u
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
log=$(mktemp)
trap 'rm -f "$log" "$log.status"' EXIT

run() {
    "$cargo" test --locked --no-fail-fast "$@"
    echo $? >>"$log.status"
}
{
    if [ $# -eq 0 ]; then
        run --workspace --doc
        run --workspace --lib --bins --tests
    else
        run "$@"
    fi
} 2>&1 | tee "$log"

status=0
if grep -qv '^0$' "$log.status"; then
    status=1
    grep -E '^test .* FAILED$|^error' "$log" | sort -u
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
} END { passed -= lacking; skipped += lacking; printf "total: %d passed, %d failed, %d skipped\n", passed, failed, skipped }' "$log"
exit "$status"
