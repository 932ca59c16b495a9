"""The same without `requests`: http.client, one connection kept, dates by `.isoformat()`."""

import http.client
import json
import sys
import urllib.parse

from rows import acknowledged, rows

url, count = sys.argv[1], int(sys.argv[2])
connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)

for pin, geo, user in rows(count):
    geo["timestamp"] = geo["timestamp"].isoformat()
    user["date_joined"] = user["date_joined"].isoformat()
    for kind, row in (("pin", pin), ("geo", geo), ("user", user)):
        payload = json.dumps({"records": [{"value": row}]}, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/vnd.kafka.json.v2+json", "Accept": "application/vnd.kafka.v2+json"}
        connection.request("POST", f"/prod/topics/0a3.{kind}", payload, headers)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        acknowledged(kind, row, json.dumps(row, ensure_ascii=False))
