#!/bin/sh
# Puts Apache Kafka 4.3.0's jars into .cache/kafka/libs, from Maven. Done once: a finished copy is left alone.
set -eu
cd "$(dirname "$0")/../.."
here=tests/setup
cache=.cache/kafka
stamp="$cache/libs/.complete"

if [ -e "$stamp" ] && cmp -s "$here/kafka.pom.xml" "$stamp"; then
    echo "kafka: .cache/kafka/libs is complete"
    exit 0
fi
if ! command -v mvn >/dev/null 2>&1; then
    echo "kafka: mvn is missing: run tests/setup/install.sh (package maven)" >&2
    exit 1
fi
echo "kafka: copying Apache Kafka's jars to .cache/kafka/libs (44 MB)"
rm -rf "$cache/libs" "$cache/libs.part"
mkdir -p "$cache"
mvn -B -q -f "$here/kafka.pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$PWD/$cache/libs.part"
cp "$here/kafka.pom.xml" "$cache/libs.part/.complete"
mv "$cache/libs.part" "$cache/libs"
echo "kafka: $(find "$cache/libs" -name '*.jar' | wc -l) jars"
