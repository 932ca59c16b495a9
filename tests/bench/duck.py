"""The same answers by DuckDB: reads a lake in the Connect layout, keeps the latest record of each kind and index,
cleans what the results need, and runs eight queries. Two threads. Prints JSON: seconds, cpu_seconds, peak_rss_bytes.

    python duck.py LAKE_FOLDER OUT_FOLDER
"""

import json
import os
import resource
import sys
import time

import duckdb

FOLLOWERS = r"""CASE
    WHEN regexp_full_match(follower_count, '\d+') THEN follower_count::BIGINT
    WHEN regexp_full_match(follower_count, '\d+(\.\d+)?k') THEN (replace(follower_count, 'k', '')::DECIMAL(18,3) * 1000)::BIGINT
    WHEN regexp_full_match(follower_count, '\d+(\.\d+)?M') THEN (replace(follower_count, 'M', '')::DECIMAL(18,6) * 1000000)::BIGINT
END"""
AGE_GROUP = """CASE WHEN age BETWEEN 18 AND 24 THEN '18-24' WHEN age BETWEEN 25 AND 35 THEN '25-35'
    WHEN age BETWEEN 36 AND 50 THEN '36-50' WHEN age > 50 THEN '50+' END"""

COLUMNS = {
    "pin": "{index: 'BIGINT', category: 'VARCHAR', follower_count: 'VARCHAR', poster_name: 'VARCHAR'}",
    "geo": "{ind: 'BIGINT', country: 'VARCHAR', timestamp: 'TIMESTAMP'}",
    "user": "{ind: 'BIGINT', first_name: 'VARCHAR', last_name: 'VARCHAR', age: 'INTEGER', date_joined: 'TIMESTAMP'}",
}


def latest(lake, kind, key, fields):
    """The record at the greatest offset: objects are read in the order of their names, lines in their order."""
    return f"""
    CREATE TABLE {kind} AS
    SELECT {key} AS ind, {fields} FROM (
        SELECT *, row_number() OVER () AS place
        FROM read_json('{lake}/{kind}/*/*.json', format = 'newline_delimited', columns = {COLUMNS[kind]})
    ) GROUP BY {key}"""


def last(column):
    return f"arg_max_null({column}, place) AS {column}"


def counted(group, source):
    return f"""SELECT * FROM (
        SELECT {group}, category, count(*) AS category_count,
               rank() OVER (PARTITION BY {group} ORDER BY count(*) DESC) AS rank,
               row_number() OVER (PARTITION BY {group} ORDER BY count(*) DESC, category) AS place
        FROM {source} WHERE category IS NOT NULL GROUP BY {group}, category
    ) WHERE place <= 10 OR rank = 1"""


def median(group):
    known = " AND ".join(f"{column} IS NOT NULL" for column in group.split(", "))
    return f"""SELECT {group}, quantile_cont(followers, 0.5), quantile_disc(followers, 0.5), count(*)
        FROM pin JOIN people USING (ind) WHERE followers IS NOT NULL AND {known} GROUP BY {group}"""


QUERIES = {
    "popular_category_by_country": counted("country", "pin JOIN geo USING (ind)"),
    "popular_category_by_year": counted("post_year", "pin JOIN (SELECT *, year(timestamp) AS post_year FROM geo) USING (ind)"),
    "popular_category_by_age_group": counted("age_group", "pin JOIN people USING (ind)"),
    "top_poster_by_country": """SELECT * FROM (
        SELECT *, rank() OVER (PARTITION BY country ORDER BY followers DESC) AS rank,
               row_number() OVER (PARTITION BY country ORDER BY followers DESC, poster_name) AS place
        FROM (SELECT country, poster_name, max(followers) AS followers FROM pin JOIN geo USING (ind)
              WHERE followers IS NOT NULL AND poster_name IS NOT NULL GROUP BY country, poster_name)
    ) WHERE place <= 10 OR rank = 1""",
    "median_followers_by_age_group": median("age_group"),
    "users_joined_by_year": """SELECT year(date_joined), count(DISTINCT (first_name, last_name, age, date_joined)), count(*)
        FROM user GROUP BY 1""",
    "median_followers_by_join_year": median("join_year"),
    "median_followers_by_join_year_and_age_group": median("join_year, age_group"),
}


def main(lake, out):
    os.makedirs(out, exist_ok=True)
    began = time.monotonic()
    db = duckdb.connect()
    db.execute("SET threads = 2")
    db.execute("SET preserve_insertion_order = true")
    db.execute(latest(lake, "pin", "index", f"{last('category')}, {last('poster_name')}, {last('follower_count')}"))
    db.execute(f"CREATE OR REPLACE TABLE pin AS SELECT ind, category, nullif(poster_name, 'User Info Error') AS poster_name, {FOLLOWERS} AS followers FROM pin")
    db.execute(latest(lake, "geo", "ind", f"{last('country')}, {last('timestamp')}"))
    db.execute(latest(lake, "user", "ind", f"{last('first_name')}, {last('last_name')}, {last('age')}, {last('date_joined')}"))
    db.execute(f"CREATE VIEW people AS SELECT ind, {AGE_GROUP} AS age_group, year(date_joined) AS join_year FROM user")
    for name, query in QUERIES.items():
        db.execute(f"COPY ({query}) TO '{out}/{name}.csv' (HEADER)")
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_rss_bytes": used.ru_maxrss * 1024,
    }))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
