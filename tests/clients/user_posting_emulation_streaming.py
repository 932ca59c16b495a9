"""Puts rows into Kinesis streams behind API Gateway, as the users' streaming emulator does, here over http.client.
Usage: ... URL"""
import http.client
import json
import os
import random
import sys
from time import sleep
from urllib.parse import urlsplit

import pymysql
import sqlalchemy
from sqlalchemy import text

INVOKE_URL = urlsplit(sys.argv[1])

random.seed(100)


class AWSDBConnector:

    def __init__(self):

        self.HOST = os.environ["HOST"]
        self.USER = os.environ["USER"]
        self.PASSWORD = os.environ["PASSWORD"]
        self.DATABASE = os.environ["DATABASE"]
        self.PORT = os.environ["PORT"]

    def connect(self):
        return pymysql.connect(
            host=self.HOST,
            user=self.USER,
            password=self.PASSWORD,
            database=self.DATABASE,
            port=int(self.PORT),
            charset="utf8mb4",
        )

    def create_db_connector(self):
        return sqlalchemy.create_engine("mysql+pymysql://", creator=self.connect)


new_connector = AWSDBConnector()


def put_record(stream, data, partition_key):
    payload = json.dumps({"StreamName": stream, "Data": data, "PartitionKey": partition_key})
    connection = http.client.HTTPConnection(INVOKE_URL.netloc)
    connection.request(
        "PUT", f"{INVOKE_URL.path}/streams/{stream}/record", body=payload, headers={"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    print(response.status, response.read().decode())
    connection.close()


def run_infinite_post_data_loop():
    engine = new_connector.create_db_connector()
    while True:
        sleep(random.randrange(0, 2))
        random_row = random.randint(0, 11000)

        with engine.connect() as connection:

            for row in connection.execute(text(f"SELECT * FROM pinterest_data LIMIT {random_row}, 1")):
                pin_result = dict(row._mapping)

            for row in connection.execute(text(f"SELECT * FROM geolocation_data LIMIT {random_row}, 1")):
                geo_result = dict(row._mapping)
                geo_result["timestamp"] = geo_result["timestamp"].isoformat()

            for row in connection.execute(text(f"SELECT * FROM user_data LIMIT {random_row}, 1")):
                user_result = dict(row._mapping)
                user_result["date_joined"] = user_result["date_joined"].isoformat()

        put_record("pin", pin_result, str(pin_result["index"]))
        put_record("geo", geo_result, str(geo_result["ind"]))
        put_record("user", user_result, str(user_result["ind"]))


if __name__ == "__main__":
    print("Working", flush=True)
    run_infinite_post_data_loop()
