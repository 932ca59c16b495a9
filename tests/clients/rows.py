"""Rows as the users' database gives them: pins with `index`, places and people with `ind` and datetimes.

With the real data beside the project, real rows; else rows of the same shape.
"""

import datetime
import gzip
import json
import os
import pathlib
import random

BESIDE = pathlib.Path(__file__).resolve().parents[3] / "shared/data"
REAL = pathlib.Path(os.environ.get("PINFLOW_TEST_DATA", BESIDE)) / "seed100_first2525.jsonl.gz"


def _time(text):
    return datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S")


def _real(count):
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        for _, line in zip(range(count), file):
            turn = json.loads(line)
            yield turn["pin"], turn["geo"], turn["user"]


def _made(count):
    random.seed(100)
    for _ in range(count):
        ind = random.randint(0, 11000)
        pin = {
            "index": ind, "unique_id": f"id-{ind}", "title": "Ünïcode 😀 \"quoted\"", "description": "d\n", "poster_name": "A & B",
            "follower_count": "12k", "tag_list": "a,b", "is_image_or_video": "image", "image_src": "https://i.pinimg.com/x.jpg",
            "downloaded": 1, "save_location": "Local save in /data/art", "category": "art",
        }
        geo = {"ind": ind, "timestamp": "2020-08-28 03:52:47", "latitude": -89.9787, "longitude": -173.293, "country": "Albania"}
        user = {"ind": ind, "first_name": "Abigail", "last_name": "Ali", "age": 20, "date_joined": "2015-10-24 11:23:51"}
        yield pin, geo, user


def rows(count):
    for pin, geo, user in _real(count) if REAL.exists() else _made(count):
        geo, user = dict(geo), dict(user)
        geo["timestamp"] = _time(geo["timestamp"])
        user["date_joined"] = _time(user["date_joined"])
        yield pin, geo, user


def acknowledged(kind, value, text):
    """What the test compares with Kafka: kind, key and the exact value."""
    ind = value.get("index", value.get("ind"))
    print(json.dumps({"kind": kind, "ind": str(ind), "value": text}))
