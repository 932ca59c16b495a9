"""Reads an export as its readers do, with Spark and with DuckDB, and the tables in PostgreSQL with Spark's JDBC.

Usage: export.py FOLDER [--s3 URL ENDPOINT] [--jdbc URL SCHEMA JAR]: the folder of the manifest; the same through S3, whose
credentials are in the environment; the database. Prints JSON, for each reader and table the types of its columns and its
rows in the order of ind:
{"duckdb": {"geo_table": {"types": {"ind": "BIGINT", ...}, "rows": [[1, "Peru", ["3ff8000000000000", ...], 1598586767000000], ...]}}}
A timestamp is its microseconds since 1970, a double its bits: both are exact.
"""

import argparse
import json
import os
import struct
from datetime import datetime, timedelta

import duckdb
from pyspark.sql import SparkSession

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--s3", nargs=2)
parser.add_argument("--jdbc", nargs=3)
arguments = parser.parse_args()

TABLES = ["pin_table", "geo_table", "user_table"]


def exact(value):
    if isinstance(value, datetime):
        return (value - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, list):
        return [exact(element) for element in value]
    return value


def shown(types, rows):
    return {"types": dict(types), "rows": [[exact(value) for value in row] for row in rows]}


def with_duckdb(root, connection):
    manifest = json.loads(connection.sql(f"SELECT content FROM read_text('{root}/manifest.json')").fetchall()[0][0])
    tables = {}
    for table in TABLES:
        file = f"{root}/{manifest['tables'][table]['file']}"
        relation = connection.sql(f"SELECT * FROM read_parquet('{file}') ORDER BY ind")
        types = zip(relation.columns, map(str, relation.types))
        tables[table] = shown(types, relation.fetchall())
    return tables


def through_s3(url, endpoint):
    import s3fs

    connection = duckdb.connect()
    files = s3fs.S3FileSystem(
        key=os.environ["AWS_ACCESS_KEY_ID"],
        secret=os.environ["AWS_SECRET_ACCESS_KEY"],
        client_kwargs={"endpoint_url": endpoint, "region_name": os.environ["AWS_REGION"]},
    )
    connection.register_filesystem(files)
    return with_duckdb(url, connection)


def of_frame(frame):
    return shown(frame.dtypes, frame.orderBy("ind").collect())


def session():
    builder = (
        SparkSession.builder.master("local[1]")
        .appName("export")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "768m")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "1")
    )
    if arguments.jdbc:
        builder = builder.config("spark.jars", arguments.jdbc[2])
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


readers = {"duckdb": with_duckdb(arguments.folder, duckdb.connect())}
if arguments.s3:
    readers["duckdb, s3"] = through_s3(*arguments.s3)
spark = session()
with open(f"{arguments.folder}/manifest.json") as manifest:
    files = {table: file["file"] for table, file in json.load(manifest)["tables"].items()}
readers["spark"] = {table: of_frame(spark.read.parquet(f"{arguments.folder}/{files[table]}")) for table in TABLES}
if arguments.jdbc:
    url, schema, _ = arguments.jdbc
    properties = {"driver": "org.postgresql.Driver", "preferTimestampNTZ": "true"}
    frames = {table: spark.read.jdbc(url, f"{schema}.{table}", properties=properties) for table in TABLES}
    # of which record a row is from is not exported
    place = ["log_generation", "log_partition", "log_offset"]
    readers["spark, jdbc"] = {table: of_frame(frame.drop(*place)) for table, frame in frames.items()}
spark.stop()
print(json.dumps(readers))
