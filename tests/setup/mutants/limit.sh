#!/bin/sh
# The runner of `make mutants`: a fault may never end, so a test has seconds of processor time, however busy the
# machine is.
case "$*" in
*many_* | *long_walks*) ulimit -t 120 ;;
*) ulimit -t 15 ;;
esac
exec "$@"
