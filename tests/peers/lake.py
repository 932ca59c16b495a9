"""Reads a lake as its readers do, with Spark and with DuckDB, and prints what each of them counts.

Usage: lake.py LAKE OBJECTS: the folder that holds the topic folders pin, geo and user, and which names are objects, as
*.json. Prints JSON:
{"spark": {"pin": [records, distinct posts], ...}, "duckdb": {...}}
"""

import json
import sys

import duckdb
from pyspark.sql import SparkSession

lake, objects = sys.argv[1:]
KEYS = {"pin": "index", "geo": "ind", "user": "ind"}


def with_spark():
    spark = (
        SparkSession.builder.master("local[1]")
        .appName("lake")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "768m")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    counts = {}
    for topic, key in KEYS.items():
        # as the users' notebooks do it
        df = spark.read.json(f"{lake}/{topic}/*/{objects}")
        counts[topic] = [df.count(), df.select(key).where(df[key].isNotNull()).distinct().count()]
    spark.stop()
    return counts


def with_duckdb():
    counts = {}
    for topic, key in KEYS.items():
        counts[topic] = list(
            duckdb.sql(
                f"SELECT count(*), count(DISTINCT \"{key}\")"
                f" FROM read_json('{lake}/{topic}/*/{objects}', format = 'newline_delimited', union_by_name = true)"
            ).fetchall()[0]
        )
    return counts


print(json.dumps({"spark": with_spark(), "duckdb": with_duckdb()}))
