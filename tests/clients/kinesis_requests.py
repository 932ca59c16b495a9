"""The third emulator: Kinesis behind API Gateway, a stream for each kind and a partition key of its own."""

import json
import sys

import requests

from rows import acknowledged, rows

url, count = sys.argv[1], int(sys.argv[2])
headers = {"Content-Type": "application/json"}

for turn, (pin, geo, user) in enumerate(rows(count)):
    for kind, row in (("pin", pin), ("geo", geo), ("user", user)):
        data = {"value": row} if turn % 5 == 4 else row
        stream = f"streaming-0a3-{kind}" if turn % 2 else "Kinesis-Prod-Stream"
        payload = json.dumps({"StreamName": stream, "Data": data, "PartitionKey": f"0a3-{kind}"}, default=str)
        response = requests.request("PUT", f"{url}/dev/streams/{stream}/record", headers=headers, data=payload)
        assert response.status_code == 200, response.text
        assert response.json()["ShardId"].startswith("shardId-0000")
        acknowledged(kind, row, json.dumps(data, default=str))
