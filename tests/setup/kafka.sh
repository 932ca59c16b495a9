#!/bin/sh
# Puts Apache Kafka 4.3.0's jars into .cache/kafka/libs, from Maven, and beside them an archive of the classes that a broker
# loads, so that brokers of tests start in half the time. Done once: a finished copy is left alone.
set -eu
cd "$(dirname "$0")/../.."
here=tests/setup
cache=.cache/kafka
stamp="$cache/libs/.complete"

# the archive is of one JVM and of the jars in this place; without it brokers start more slowly, and that is all
write_classes() {
    libs=$(cd "$cache/libs" && pwd -P)
    folder=$(mktemp -d)
    # ports of nobody's: brokers of tests have their own way to find free ones, and this one is asked for nothing
    printf '%s\n' process.roles=broker,controller node.id=1 controller.quorum.voters=1@127.0.0.1:10193 \
        listeners=PLAINTEXT://127.0.0.1:10192,CONTROLLER://127.0.0.1:10193 controller.listener.names=CONTROLLER \
        inter.broker.listener.name=PLAINTEXT listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT \
        offsets.topic.replication.factor=1 "log.dirs=$folder/logs" >"$folder/properties"
    java -cp "$libs/*" kafka.tools.StorageTool format -t cGluZmxvdy10ZXN0LTAwMQ -c "$folder/properties" >>"$folder/log" 2>&1 ||
        true
    java -Xmx256m -XX:+UseSerialGC -XX:ArchiveClassesAtExit="$folder/classes.jsa" -cp "$libs/*" kafka.Kafka \
        "$folder/properties" >>"$folder/log" 2>&1 &
    broker=$!
    tries=0
    # the broker has become its own controller, and registers
    until [ -e "$folder/logs/__cluster_metadata-0/quorum-state" ] || [ $tries -eq 60 ]; do
        tries=$((tries + 1))
        sleep 1
    done
    sleep 3
    kill "$broker" 2>/dev/null || true
    wait "$broker" || true
    mv "$folder/classes.jsa" "$libs/classes.jsa" 2>/dev/null || echo "kafka: no archive of its classes: $(tail -n 1 "$folder/log")"
    rm -rf "$folder"
}

if [ -e "$stamp" ] && cmp -s "$here/kafka.pom.xml" "$stamp"; then
    [ -e "$cache/libs/classes.jsa" ] || write_classes
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
write_classes
echo "kafka: $(find "$cache/libs" -name '*.jar' | wc -l) jars"
