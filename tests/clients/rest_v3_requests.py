"""Producers of Confluent's cloud, as its documentation shows them: an API key, the id of the cluster, one record a request,
a batch, or compressed; and the topics by the links that lead to them."""

import gzip
import json
import sys

import requests

from rows import acknowledged, rows

url, count = sys.argv[1], int(sys.argv[2])
session = requests.Session()
session.auth = ("ABCDEFGH12345678", "cloud-secret-of-the-key")

(cluster,) = session.get(f"{url}/kafka/v3/clusters").json()["data"]
topics = session.get(cluster["topics"]["related"]).json()["data"]
addresses = {topic["topic_name"]: topic["metadata"]["self"] for topic in topics}
assert all(topic["partitions_count"] == 3 for topic in topics if topic["topic_name"].startswith("0a3.")), topics


def send(topic, turn, value):
    record = {"value": {"type": "JSON", "data": value}}
    if turn % 3 == 0:
        body = json.dumps(record, default=str)
        response = session.post(f"{addresses[topic]}/records", data=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 200 and response.json()["error_code"] == 200, response.text
        assert response.json()["cluster_id"] == cluster["cluster_id"]
    elif turn % 3 == 1:
        body = json.dumps({"entries": [{"id": str(turn), **record}]}, default=str)
        response = session.post(
            f"{addresses[topic]}/records:batch", data=body, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 207 and response.json()["successes"][0]["id"] == str(turn), response.text
    else:
        body = gzip.compress(json.dumps(record, default=str).encode())
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        response = session.post(f"{addresses[topic]}/records", data=body, headers=headers)
        assert response.status_code == 200 and response.json()["error_code"] == 200, response.text


for turn, (pin, geo, user) in enumerate(rows(count)):
    for kind, row in (("pin", pin), ("geo", geo), ("user", user)):
        send(f"0a3.{kind}", turn, row)
        acknowledged(kind, row, json.dumps(row, default=str))
