"""An independent oracle for pinflow: cleaning and results once more, in plain Python.

It shares no code with the engine and was written from the specification of records, cleaning and results, not from
the sources. It reads a lake on disk, keeps the last record of each post and kind, cleans the rows, computes the ten
built-in results without operators or SQL, and writes them as `pinflow backfill --lake file://LAKE --out DIR` does.

    python3 oracle.py LAKE OUT [--top N]

LAKE is the folder that contains the topic folders `pin`, `geo` and `user`. OUT receives

- one CSV file for each result, with the bytes that `pinflow backfill` writes;
- `pin_table.csv`, `geo_table.csv` and `user_table.csv`: the cleaned tables, values as PostgreSQL prints them;
- `rejects.csv`: topic, partition, offset, reason and value of each dead letter. The value is in hexadecimal, its first
  4 KiB. Objects without offsets have no partition; the offset is the number in the object;
- `counts.json`: accepted and rejected records of each topic. An offset in several objects counts once.

It does not find gaps, and knows one generation: a topic that got partitions later needs the engine.
"""

import argparse
import base64
import datetime
import gzip
import json
import math
import os
import re
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import accumulate

KINDS = ("pin", "geo", "user")
RECORD_BYTES = 8 * 1024 * 1024
DEPTH = 64
REJECT_BYTES = 4096
NAME_BYTES = 512
I32 = range(-(2**31), 2**31)
I64 = range(-(2**63), 2**63)

SENTINELS = {
    "title": ["No Title Data Available"],
    "description": ["No description available Story format", "No description available"],
    "poster_name": ["User Info Error"],
    "tag_list": ["N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"],
    "image_src": ["Image src error."],
}
FIELDS = {
    "pin": {"unique_id", "title", "description", "poster_name", "follower_count", "tag_list", "is_image_or_video",
            "image_src", "downloaded", "save_location", "category"},
    "geo": {"timestamp", "latitude", "longitude", "country"},
    "user": {"first_name", "last_name", "age", "date_joined"},
}
TABLES = {
    "pin": ["ind", "unique_id", "title", "description", "follower_count", "poster_name", "tag_list",
            "is_image_or_video", "image_src", "save_location", "category"],
    "geo": ["ind", "country", "coordinates", "timestamp"],
    "user": ["ind", "user_name", "age", "date_joined"],
}


class Reject(Exception):
    """The record is a dead letter; the argument is the reason."""


class Members(list):
    """The members of a JSON object as pairs, in their order, with repeated names."""


class Number(str):
    """A JSON number that is not an integer, as text."""


# ---- JSON ----

def refuse(text):
    raise ValueError(text + " is not JSON")


def parse_integer(text):
    return int(text) if len(text) < 40 else Number(text)


def parse_json(text):
    return json.loads(text, object_pairs_hook=Members, parse_int=parse_integer, parse_float=Number,
                      parse_constant=refuse)


def depth_of(text):
    """The deepest nesting of brackets outside strings."""
    brackets = re.sub(r'"(?:[^"\\]|\\.)*"|[^][{}"]', "", text)
    return max(accumulate((bracket in "[{") - (bracket in "]}") for bracket in brackets), default=0)


def is_text(value):
    return isinstance(value, str) and not isinstance(value, Number)


def has_lone_surrogate(value):
    if isinstance(value, Members):
        return any(has_lone_surrogate(name) or has_lone_surrogate(member) for name, member in value)
    if isinstance(value, list):
        return any(has_lone_surrogate(element) for element in value)
    return isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)


def decode_value(raw):
    """The JSON value of the bytes of a record."""
    if len(raw) > RECORD_BYTES:
        raise Reject("too_large")
    if raw.strip(b" \t\r\n") == b"":
        raise Reject("empty")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Reject("bad_utf8") from None
    if depth_of(text) > DEPTH:
        raise Reject("too_deep")
    try:
        value = parse_json(text)
    except ValueError:
        raise Reject("not_json") from None
    if has_lone_surrogate(value):
        raise Reject("bad_utf8")
    return value


# ---- records ----

def unwrap(value):
    """The record inside one-element arrays and `{"value": ...}`, at most three of them."""
    for _ in range(3):
        if isinstance(value, Members):
            if len(dict(value)) != 1 or "value" not in dict(value):
                break
            value = dict(value)["value"]
        elif isinstance(value, list) and len(value) == 1:
            value = value[0]
    return value


def read_integer(value, limits):
    """A JSON integer or a string of digits within the limits, else None."""
    if is_text(value) and re.fullmatch("[0-9]+", value):
        value = int(value.lstrip("0")[:40] or "0")
    if isinstance(value, int) and not isinstance(value, bool) and value in limits:
        return value
    return None


def read_key(record):
    for name in ("ind", "index"):
        if record.get(name) == name:
            raise Reject("header_row")
    keys = {read_integer(record.get(name), I64) for name in ("ind", "index")} - {None}
    if not keys:
        raise Reject("no_key")
    if len(keys) > 1:
        raise Reject("key_conflict")
    return keys.pop()


def decode_record(raw):
    """The key of a record and its fields, None for a delete. Raises Reject for a dead letter."""
    value = unwrap(decode_value(raw))
    if is_text(value):
        raise Reject("json_string" if value else "empty")
    if not isinstance(value, Members):
        raise Reject("not_object")
    record = dict(value)
    key = read_key(record)
    deleted = record.get("__deleted")
    return key, None if deleted is True or deleted == "true" else record


def decode_tombstone_key(raw):
    """The key of a null value: digits, a JSON number or string, `{"ind": N}` or `{"index": N}`."""
    try:
        value = decode_value(raw)
        if isinstance(value, Members):
            return read_key(dict(value))
    except Reject:
        raise Reject("tombstone_key") from None
    key = read_integer(value, I64)
    if key is None:
        raise Reject("tombstone_key")
    return key


# ---- cleaning ----

def clean_text(record, name):
    value = record.get(name)
    if not is_text(value):
        return None
    value = value.replace("\0", "")
    if value == "" or value in SENTINELS.get(name, []):
        return None
    if name in ("country", "category", "poster_name") and len(value.encode()) > NAME_BYTES:
        return None
    return value


def clean_followers(record):
    value = record.get("follower_count")
    if is_text(value):
        parts = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kM]?)", value)
        if not parts:
            return None
        count = Fraction(parts[1]) * {"": 1, "k": 1000, "M": 1000000}[parts[2]]
        return int(count) if count.denominator == 1 and int(count) in I64 else None
    return read_integer(value, I64)


# A small `t` or `z`, and a space before the zone, are not in the specification; the engine accepts them.
TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d+))?"
ZONE = r"(?: ?(?:[Zz]|(?P<sign>[+-])(?P<zone_hour>\d\d)(?::?(?P<zone_minute>\d\d))?))?"
ISO = re.compile(rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?:[ Tt]{TIME}{ZONE})?", re.ASCII)
AMERICAN = re.compile(rf"(?P<month>\d\d)/(?P<day>\d\d)/(?P<year>\d{{4}})(?:, {TIME}{ZONE})?", re.ASCII)


def clean_time(record, name):
    """A time in UTC, cut to microseconds, of the years 1 to 9999, else None."""
    value = record.get(name)
    if not is_text(value):
        return None
    parts = ISO.fullmatch(value) or AMERICAN.fullmatch(value)
    if not parts:
        return None
    number = {part: int(text) for part, text in parts.groupdict("0").items() if text.isdigit()}
    if number["hour"] > 23 or number["minute"] > 59 or number["second"] > 59:
        return None
    if number["zone_hour"] > 23 or number["zone_minute"] > 59:
        return None
    try:  # the year 0 exists before the conversion; the year 400 has the same days
        day = datetime.date(number["year"] or 400, number["month"], number["day"]).toordinal()
    except ValueError:
        return None
    if number["year"] == 0:
        day -= 146097
    minutes = number["hour"] * 60 + number["minute"]
    zone = number["zone_hour"] * 60 + number["zone_minute"]
    minutes += zone if parts["sign"] == "-" else -zone
    microseconds = int((parts["fraction"] or "0")[:6].ljust(6, "0"))
    since = datetime.timedelta(days=day - 1, minutes=minutes, seconds=number["second"], microseconds=microseconds)
    try:
        return datetime.datetime(1, 1, 1) + since
    except OverflowError:
        return None


def clean_degrees(record, name):
    value = record.get(name)
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", str(value)) and math.isfinite(float(value)):
            return float(value)
    return None


def clean(kind, key, record):
    """The row of the cleaned table."""
    row = {"ind": key}
    for name in TABLES[kind]:
        if name in FIELDS[kind]:
            row[name] = clean_text(record, name)
    if kind == "pin":
        row["follower_count"] = clean_followers(record)
        if row["save_location"] is not None:
            row["save_location"] = row["save_location"].removeprefix("Local save in ") or None
    elif kind == "geo":
        row["timestamp"] = clean_time(record, "timestamp")
        row["coordinates"] = [clean_degrees(record, "latitude"), clean_degrees(record, "longitude")]
    else:
        first, last = clean_text(record, "first_name"), clean_text(record, "last_name")
        row["user_name"] = first + " " + last if first is not None and last is not None else None
        row["age"] = read_integer(record.get("age"), I32)
        row["date_joined"] = clean_time(record, "date_joined")
    return row


# ---- the lake ----

def list_objects(lake):
    """The names of all objects, relative to the lake, with `/`."""
    names = []
    for folder, folders, files in os.walk(lake):
        folders[:] = [name for name in folders if name != "_pinflow"]
        names += [os.path.relpath(os.path.join(folder, name), lake).replace(os.sep, "/") for name in files]
    return sorted(names, key=os.fsencode)


def read_object(lake, name):
    with open(os.path.join(lake, name), "rb") as file:
        content = file.read()
    return gzip.decompress(content) if name.endswith(".gz") else content


def lines_of(content):
    lines = content.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def unwrap_line(line):
    """What a line of our archiver represents: (value, None), or (None, key) of a null value."""
    if b"__pinflow_" not in line:
        return line, None
    try:
        members = dict(parse_json(line.decode("utf-8")))
    except (TypeError, ValueError, RecursionError):
        return line, None
    if len(members) == 1:
        (name, text), = members.items()
        if isinstance(text, str) or (text is None and name == "__pinflow_tombstone"):
            plain = name.removesuffix("_base64")
            content = (text or "").encode("utf-8")
            if plain != name:
                content = base64.b64decode(content)
            if plain == "__pinflow_raw":
                return content, None
            if plain == "__pinflow_tombstone":
                return None, content
    return line, None


def records_with_offsets(lake, name, parts):
    """(topic, partition, offset, value, key) of an object that is named like those of the Connect sink."""
    ours = os.path.exists(os.path.join(lake, name + ".meta.json"))
    deletes = "tombstone" in name.split("/")[:-1]
    for number, line in enumerate(lines_of(read_object(lake, name))):
        value, key = unwrap_line(line) if ours else (line, None)
        if deletes:
            value, key = None, line
        yield parts["topic"], int(parts["partition"]), int(parts["start"]) + number, value, key


def kind_of_fields(raw):
    """The kind of a record outside a topic folder: the one whose fields it has, if it has fields of only one."""
    try:
        value = unwrap(decode_value(raw))
    except Reject:
        return "unknown"
    names = set(dict(value)) - {"downloaded"} if isinstance(value, Members) else set()
    kinds = [kind for kind in KINDS if names & FIELDS[kind]]
    return kinds[0] if len(kinds) == 1 else "unknown"


def skip_space(text, index):
    return re.compile(r"[ \t\r\n]*").match(text, index).end()


def split_values(text, index=0, separator=""):
    """The texts of the JSON values from `index` on, with the separator after each but the last."""
    values, index = [], skip_space(text, index)
    while text[index:index + 1] not in ("", "]"):
        _, end = json.JSONDecoder().raw_decode(text, index)
        values.append(text[index:end])
        index = skip_space(text, end)
        if separator and text[index] == separator:
            index = skip_space(text, index + 1)
    if text[index:] and not separator:
        raise ValueError("more than values")
    return values


def records_without_offsets(lake, name):
    """(topic, number, value) of an object of the older layouts: a value, several, or one array of records.

    The specification does not say what a damaged object is: here it is one record that is not JSON.
    """
    content = read_object(lake, name)
    try:
        values = split_values(content.decode("utf-8"))
        if len(values) == 1 and values[0][0] == "[":
            values = split_values(values[0], 1, ",") or values
        raws = [value.encode() for value in values] or [b""]
    except (ValueError, RecursionError):
        raws = [content]
    folders = [folder for folder in name.split("/")[:-1] if folder in KINDS]
    for number, raw in enumerate(raws):
        yield folders[-1] if folders else kind_of_fields(raw), number, raw


UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
OLDER = re.compile(rf"(event-.+|PinterestData_[0-9]+|message_[0-9]+|{UUID})\.json(\.gz)?", re.IGNORECASE)
CONNECT = re.compile(r"(?P<topic>.+)\+(?P<partition>[0-9]+)\+(?P<start>[0-9]+)(\.keys)?\.json(\.gz)?")


def read_lake(lake):
    """(position, topic, partition, offset, value, key) of each record; the greatest position wins."""
    for name in list_objects(lake):
        file = name.split("/")[-1]
        if re.search(r"\.(headers|meta)\.json(\.gz)?$", file) or not re.search(r"\.json(\.gz)?$", file):
            continue
        if re.search(r"\.keys\.json(\.gz)?$", file) and "tombstone" not in name.split("/")[:-1]:
            continue
        parts = CONNECT.fullmatch(file)
        if parts and parts["topic"] in KINDS:
            for topic, partition, offset, value, key in records_with_offsets(lake, name, parts):
                yield (1, offset, partition), topic, partition, offset, value, key
        elif OLDER.fullmatch(file):
            for topic, number, value in records_without_offsets(lake, name):
                yield (0, os.fsencode(file), os.fsencode(name), number), topic, None, number, value, None


def replay(lake):
    """The cleaned tables, the rejects and the counts of a lake."""
    last = {kind: {} for kind in KINDS}
    seen, rejects = set(), []
    counts = defaultdict(lambda: {"accepted": 0, "rejected": 0})
    for position, topic, partition, offset, value, key in read_lake(lake):
        if (topic, position) in seen:
            continue
        seen.add((topic, position))
        try:
            ind, record = (decode_tombstone_key(key), None) if value is None else decode_record(value)
            if topic not in KINDS:
                raise Reject("no_key")
        except Reject as reject:
            counts[topic]["rejected"] += 1
            rejects.append((topic, partition, offset, str(reject), (value or b"")[:REJECT_BYTES].hex()))
            continue
        counts[topic]["accepted"] += 1
        if ind not in last[topic] or last[topic][ind][0] < position:
            last[topic][ind] = (position, record)
    tables = {}
    for kind in KINDS:
        tables[kind] = {ind: clean(kind, ind, record) for ind, (_, record) in last[kind].items() if record is not None}
    return tables, rejects, counts


# ---- results ----

def age_group(age):
    if age is None or age < 18:
        return None
    return "18-24" if age <= 24 else "25-35" if age <= 35 else "36-50" if age <= 50 else "50+"


def year(time):
    return None if time is None else time.year


def join(left, right):
    return [(left[ind], right[ind]) for ind in left if ind in right]


def ranked(values, top):
    """Rows (group…, name, value, rank) of values by (group…, name): the first of each group, and all of rank 1."""
    groups = defaultdict(list)
    for key, value in values.items():
        groups[key[:-1]].append((-value, key[-1].encode(), key))
    rows = []
    for members in groups.values():
        members.sort()
        for place, (negative, _, key) in enumerate(members, 1):
            rank = 1 + sum(1 for other in members if other[0] < negative)
            if top == 0 or place <= top or rank == 1:
                rows.append((*key, -negative, rank))
    return rows


def popular(keys, top):
    return ranked(Counter(key for key in keys if None not in key), top)


def medians(pairs):
    """Rows (group…, median, lower median, count) of pairs (group, followers)."""
    groups = defaultdict(list)
    for group, followers in pairs:
        if None not in group and followers is not None:
            groups[group].append(followers)
    rows = []
    for group, values in groups.items():
        values.sort()
        lower, upper = values[(len(values) - 1) // 2], values[len(values) // 2]
        median = float(lower) + 0.5 * (float(upper) - float(lower))
        rows.append((*group, median, lower, len(values)))
    return rows


def top_posters(pin_geo):
    """The greatest follower count of each (country, poster)."""
    greatest = {}
    for pin, geo in pin_geo:
        key, followers = (geo["country"], pin["poster_name"]), pin["follower_count"]
        if None not in key and followers is not None:
            greatest[key] = max(followers, greatest.get(key, followers))
    return greatest


def users_joined(users):
    """Rows (year, distinct persons, records)."""
    persons = defaultdict(list)
    for user in users:
        if user["date_joined"] is not None:
            persons[user["date_joined"].year].append((user["user_name"], user["age"], user["date_joined"]))
    return [(join_year, len(set(joined)), len(joined)) for join_year, joined in persons.items()]


def results(tables, top):
    """Name, columns and rows of each result."""
    pin_geo = join(tables["pin"], tables["geo"])
    # (country, year, category) of each post, and (age group, year of joining, category, followers)
    places = [(geo["country"], year(geo["timestamp"]), pin["category"]) for pin, geo in pin_geo]
    users = [(age_group(user["age"]), year(user["date_joined"]), pin["category"], pin["follower_count"])
             for pin, user in join(tables["pin"], tables["user"])]
    counted = ["category", "category_count", "rank"]
    yield "popular_category_by_country", ["country"] + counted, popular(((c, k) for c, _, k in places), top)
    yield "popular_category_by_year", ["post_year"] + counted, popular(((y, k) for _, y, k in places), top)
    yield "popular_category_by_country_and_year", ["country", "post_year"] + counted, popular(places, top)
    yield "popular_category_by_age_group", ["age_group"] + counted, popular(((a, k) for a, _, k, _ in users), top)

    posters = ["country", "poster_name", "follower_count"]
    greatest = top_posters(pin_geo)
    most = max(greatest.values(), default=None)
    yield "top_poster_by_country", posters + ["rank"], ranked(greatest, top)
    yield "country_of_top_poster", posters, [(*key, value) for key, value in greatest.items() if value == most]

    middle = ["median_follower_count", "lower_median_follower_count", "post_count"]
    yield "median_followers_by_age_group", ["age_group"] + middle, medians(((a,), f) for a, _, _, f in users)
    yield "median_followers_by_join_year", ["join_year"] + middle, medians(((y,), f) for _, y, _, f in users)
    yield ("median_followers_by_join_year_and_age_group", ["join_year", "age_group"] + middle,
           medians(((y, a), f) for a, y, _, f in users))
    yield ("users_joined_by_year", ["join_year", "number_users_joined", "user_records"],
           users_joined(tables["user"].values()))


# ---- files ----

def text_of_double(value):
    """A double as PostgreSQL prints it: with an exponent from 1e15 on, where Python begins at 1e16."""
    text = repr(value).removesuffix(".0")
    if 1e15 <= abs(value) < 1e16:
        first, rest = re.fullmatch(r"(-?[0-9])(.*)", text.replace(".", "").rstrip("0")).groups()
        text = (first + "." + rest).rstrip(".") + "e+15"
    return text


def text_of(value):
    if isinstance(value, float):
        return text_of_double(value)
    if isinstance(value, list):
        return "{" + ",".join("NULL" if element is None else text_of(element) for element in value) + "}"
    if isinstance(value, datetime.datetime):
        return str(value).rstrip("0").removesuffix(".") if value.microsecond else str(value)
    return "" if value is None else str(value)


def quoted(text):
    return '"' + text.replace('"', '""') + '"' if re.search('[,"\r\n]', text) else text


def write_csv(path, columns, rows):
    """Rows sorted by the bytes of their texts, column by column; null is empty."""
    texts = sorted([text_of(value).encode() for value in row] for row in rows)
    with open(path, "wb") as file:
        for row in [[column.encode() for column in columns]] + texts:
            file.write(",".join(quoted(field.decode()) for field in row).encode() + b"\n")


def main():
    parser = argparse.ArgumentParser(description="Compute cleaned tables and results of a lake.")
    parser.add_argument("lake")
    parser.add_argument("out")
    parser.add_argument("--top", type=int, default=10)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    tables, rejects, counts = replay(options.lake)
    for name, columns, rows in results(tables, options.top):
        write_csv(os.path.join(options.out, name + ".csv"), columns, rows)
    for kind in KINDS:
        rows = [[row[column] for column in TABLES[kind]] for row in tables[kind].values()]
        write_csv(os.path.join(options.out, kind + "_table.csv"), TABLES[kind], rows)
    write_csv(os.path.join(options.out, "rejects.csv"), ["topic", "partition", "offset", "reason", "value"], rejects)
    with open(os.path.join(options.out, "counts.json"), "w", encoding="utf-8") as file:
        json.dump(counts, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
