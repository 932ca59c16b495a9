"""A producer and a reader as users write them, for the busy half of `make bench`: confluent-kafka and psycopg.

live_clients.py produce BOOTSTRAP RECORDS OUT RATE
    sends the file's records, one line each: topic, partition, key and value between tabs. Writes JSON:
    {"sent": {"pin/0": [seconds since 1970, in the order of offsets]}, "acks": [[sent, seconds to the acknowledgement]]}
live_clients.py read URL OUT [MILLISECONDS]
    reads the frontier on each NOTIFY, or every so many milliseconds. Writes a line of JSON for each answer:
    [seconds since 1970, {"pin/0": next offset}]

Both print READY when they are, and the producer then waits for a line on its standard input.
"""

import gc
import json
import sys
import time


def produce(bootstrap, records, out, rate):
    from confluent_kafka import Producer

    producer = Producer({
        "bootstrap.servers": bootstrap, "linger.ms": 1, "acks": "all", "enable.idempotence": True,
        "queue.buffering.max.messages": 1_000_000,
    })
    producer.list_topics(timeout=30)
    sent, acks, failed = {}, [], []

    def acknowledged(at):
        def report(error, _):
            acks.append((at, time.time() - at))
            if error:
                failed.append(str(error))

        return report

    with open(records, "rb") as lines:
        gc.collect()
        gc.disable()
        print("READY", flush=True)
        sys.stdin.readline()
        begin, number, more = time.time(), 0, True
        while more:
            due = (time.time() - begin) * rate
            while number < due:
                line = lines.readline()
                if not line:
                    more = False
                    break
                topic, partition, key, value = line.rstrip(b"\n").split(b"\t", 3)
                name, place = topic.decode(), int(partition)
                at = time.time()
                # every so often, as programs do that care: a callback for each record is what costs Python its time
                extra = {"on_delivery": acknowledged(at)} if number % 97 == 0 else {}
                producer.produce(name, value, key, place, **extra)
                sent.setdefault(f"{name}/{place}", []).append(at)
                number += 1
            producer.poll(0)
            time.sleep(0.0005)
    producer.flush()
    if failed:
        sys.exit(f"records were not delivered: {failed[0]}")
    with open(out, "w") as file:
        json.dump({"sent": sent, "acks": acks}, file)


def read(url, out, milliseconds=None):
    import psycopg

    listener = psycopg.connect(url, autocommit=True)
    listener.execute("LISTEN pinflow_commits")
    reader = psycopg.connect(url, autocommit=True)
    with open(out, "w", buffering=1) as file:
        print("READY", flush=True)
        while True:
            if milliseconds:
                time.sleep(float(milliseconds) / 1e3)
            else:
                # whatever has arrived: one question answers them all
                for _ in listener.notifies(stop_after=1):
                    pass
            rows = reader.execute("SELECT topic, partition, next_offset FROM pinflow.frontier", prepare=True).fetchall()
            file.write(json.dumps([time.time(), {f"{topic}/{partition}": next for topic, partition, next in rows}]) + "\n")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "produce":
        produce(*arguments[:3], float(arguments[3]))
    else:
        read(*arguments)
