"""The first emulator: each row posted to a FastAPI app of one's own."""

import json
import sys

import requests

from rows import acknowledged, rows

url, count = sys.argv[1], int(sys.argv[2])

for pin, geo, user in rows(count):
    for kind, row in (("pin", pin), ("geo", geo), ("user", user)):
        payload = json.dumps(row, default=str)
        response = requests.post(f"{url}/{kind}/", data=payload, headers={"Content-Type": "application/json"})
        assert response.status_code == 200, response.text
        echoed = response.json()
        assert all(echoed[name] == value for name, value in json.loads(payload).items() if name in echoed), echoed
        acknowledged(kind, row, payload)
