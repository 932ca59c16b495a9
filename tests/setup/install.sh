#!/bin/sh
# Installs what the build and the tests need from the system, and only what is missing (Debian, Ubuntu).
# Usage: install.sh [build|check|demo|test|peers|coverage|bench]
set -eu

# the packages whose proof is absent: "command or file" "package"
missing=""
need() {
    case "$1" in
        /*) [ -e "$1" ] || missing="$missing $2" ;;
        *) command -v "$1" >/dev/null 2>&1 || missing="$missing $2" ;;
    esac
}
header() {
    # a header may stand below the machine's own triplet
    for file in /usr/include/"$1" /usr/include/*/"$1" /usr/local/include/"$1"; do
        [ -e "$file" ] && return
    done
    missing="$missing $2"
}

purpose=${1:-test}
need gcc gcc
need g++ g++
need make make
need pkg-config pkg-config
header openssl/ssl.h libssl-dev
header zlib.h zlib1g-dev
case "$purpose" in
demo | test | bench)
    found=no
    if command -v initdb >/dev/null 2>&1 && command -v postgres >/dev/null 2>&1; then found=yes; fi
    for program in /usr/lib/postgresql/*/bin/initdb; do
        if [ -x "$program" ]; then found=yes; fi
    done
    [ "$found" = yes ] || missing="$missing postgresql"
    ;;
esac
case "$purpose" in
test | bench)
    need java default-jre-headless
    need mvn maven
    need openssl openssl
    # judges the units in docs/systemd
    need systemd-analyze systemd
    ;;
esac
case "$purpose" in
test)
    # the emulator's source; its server stands in /usr/sbin, which is not on everybody's PATH
    need /usr/sbin/mariadbd mariadb-server
    # show the page in bin/page
    need chromium chromium
    need chromedriver chromium-driver
    # kinesalite, which the bridge is tested with
    need node nodejs
    need npm npm
    # tests the alerts in deploy/prometheus; the server that comes with it is not started
    need promtool prometheus
    ;;
esac
case "$purpose" in
peers)
    # compiles what uses AWS's SDK for Java
    need javac default-jdk-headless
    ;;
coverage)
    # reads what instrumented programs have counted: the newest of Debian reads what this compiler writes
    need llvm-cov-19 llvm-19
    ;;
bench)
    # load generators
    need wrk wrk
    need hey hey
    ;;
esac
case "$purpose" in
check | test | bench)
    # python3 -m venv needs ensurepip, which Debian keeps in a package of its own
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    ;;
esac

if [ -z "$missing" ]; then
    echo "install: nothing is missing for $purpose"
    exit 0
fi
echo "install: missing for $purpose:$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "install: there is no apt-get here: install what these Debian packages hold, then try again" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "install: neither root nor sudo: have an administrator run: apt-get install$missing" >&2
        exit 1
    fi
    as_root="sudo"
fi
# Debian's postgresql starts a cluster of its own when it is installed, which nobody here asked for; a policy
# that forbids services at installation is put in place for the while
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi
status=0
$as_root apt-get update -q >/dev/null || status=$?
# shellcheck disable=SC2086 # a list of names
[ "$status" -ne 0 ] || $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing || status=$?
if [ "$status" -ne 0 ]; then
    echo "install: apt-get failed; the packages are:$missing" >&2
    exit "$status"
fi
case "$missing" in
*" prometheus"*) $as_root systemctl disable prometheus >/dev/null 2>&1 || true ;; # nor at the next boot
esac
echo "install: installed$missing"
