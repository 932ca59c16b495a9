"""The second emulator: a REST proxy behind API Gateway, one request a kind, dates by `default=str`."""

import json
import sys

import requests

from rows import acknowledged, rows

url, count = sys.argv[1], int(sys.argv[2])
headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}

for turn, (pin, geo, user) in enumerate(rows(count)):
    for kind, row in (("pin", pin), ("geo", geo), ("user", user)):
        # one of the users sends a list of one
        value = [row] if turn % 5 == 4 else row
        payload = json.dumps({"records": [{"value": value}]}, default=str)
        response = requests.request("POST", f"{url}/test/topics/0a3.{kind}", headers=headers, data=payload)
        assert response.status_code == 200, response.text
        assert response.json()["offsets"][0]["error_code"] is None
        acknowledged(kind, row, json.dumps(value, default=str))
