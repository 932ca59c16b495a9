#!/bin/sh
# Runs a test program that was queued (test.sh): queued_program.sh LOG FOLDER PROGRAM. Its output is written at once, when
# it has ended, so that those of two programs do not mix.
set -u
setup=$(cd "$(dirname "$0")" && pwd)
output=$1.$$
cd "$2" || exit 1
"$setup/run_program.sh" "$3" >"$output" 2>&1
status=$?
{
    flock 9
    echo "     Running $3"
    cat "$output"
    [ "$status" -eq 0 ] || echo "error: test failed: $3 ended with $status"
} 9>"$1.output"
rm -f "$output"
[ "$status" -eq 0 ]
