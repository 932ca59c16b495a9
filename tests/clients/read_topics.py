"""Reads topics from beginning to end as users' consumers do, with confluent-kafka, and prints how many records each
partition holds.

Usage: read_topics.py BOOTSTRAP TOPIC...
"""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

bootstrap, *topics = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": "reader",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
})
known = consumer.list_topics(timeout=30).topics
left = {(topic, partition) for topic in topics for partition in known[topic].partitions}
records = {topic: {partition: 0 for partition in known[topic].partitions} for topic in topics}
consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in left])
while left:
    message = consumer.poll(30)
    if message is None:
        sys.exit(f"nothing came of {sorted(left)} for 30 s")
    place = (message.topic(), message.partition())
    if message.error():
        if message.error().code() != KafkaError._PARTITION_EOF:
            sys.exit(str(message.error()))
        left.discard(place)
        continue
    value = json.loads(message.value())
    ind = value.get("index", value.get("ind"))
    if message.key() != str(ind).encode():
        sys.exit(f"the key of {place} {message.offset()} is {message.key()}, its post is {ind}")
    records[place[0]][place[1]] += 1
consumer.close()
print(json.dumps(records))
