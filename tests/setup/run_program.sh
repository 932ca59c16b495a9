#!/bin/sh
# How `cargo test` runs a test program (test.sh says so): within a limit of time, and with a line about how long it took in
# the file that PINFLOW_PROGRAM_DURATIONS names: PROGRAM,SECONDS,PERCENT of all processors that were busy meanwhile.
set -u
# to be run later, beside others (test.sh): where, and what
if [ -n "${PINFLOW_PROGRAM_QUEUE:-}" ]; then
    printf '%s\n%s\n' "$PWD" "$1" >>"$PINFLOW_PROGRAM_QUEUE"
    exit 0
fi
# most of a scenario's time is waiting: on two processors, four tests at once take two thirds of the time of two
threads=$(nproc 2>/dev/null || echo 2)
[ "$threads" -ge 4 ] || threads=4
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$threads}"
limit=${PINFLOW_PROGRAM_LIMIT:-1200}
[ "${PINFLOW_TEST_LONG:-0}" = 0 ] || limit=14400

# the processors' time in ticks so far: all of it, and what was idle or waited for a disk
ticks() {
    awk '/^cpu / { for (i = 2; i <= 9; i++) all += $i; print all, $5 + $6; exit }' /proc/stat 2>/dev/null
}

begun=$(date +%s)
before=$(ticks)
timeout --foreground --kill-after=30 "$limit" "$@"
status=$?
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    echo "error: $1 was ended: it may take $limit s (tests that had begun are named above, 60 s after they did)" >&2
fi
if [ -n "${PINFLOW_PROGRAM_DURATIONS:-}" ]; then
    echo "$(basename "$1"),$(($(date +%s) - begun)),$before,$(ticks)" |
        awk -F, '{ sub(/-[0-9a-f]*$/, "", $1); split($3, a, " "); split($4, b, " "); all = b[1] - a[1]
            busy = (all > 0) ? 100 * (1 - (b[2] - a[2]) / all) : 0
            printf "%s,%d,%d\n", $1, $2, busy }' >>"$PINFLOW_PROGRAM_DURATIONS"
fi
exit "$status"
