"""Posts rows to Kafka through the REST proxy, as the users' first emulator does. Usage: ... URL"""
import json
import os
import random
import sys
from time import sleep

import requests
import sqlalchemy
from sqlalchemy import text

INVOKE_URL = sys.argv[1]

random.seed(100)


class AWSDBConnector:

    def __init__(self):

        self.HOST = os.environ["HOST"]
        self.USER = os.environ["USER"]
        self.PASSWORD = os.environ["PASSWORD"]
        self.DATABASE = os.environ["DATABASE"]
        self.PORT = os.environ["PORT"]

    def create_db_connector(self):
        url = sqlalchemy.URL.create(
            "mysql+pymysql", self.USER, self.PASSWORD, self.HOST, int(self.PORT), self.DATABASE, {"charset": "utf8mb4"}
        )
        engine = sqlalchemy.create_engine(url)
        return engine


new_connector = AWSDBConnector()


def send_to_topic(topic, result):
    payload = json.dumps({"records": [{"value": result}]}, default=str)
    headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}
    response = requests.request("POST", f"{INVOKE_URL}/topics/{topic}", headers=headers, data=payload)
    print(response.status_code)


def run_infinite_post_data_loop():
    while True:
        sleep(random.randrange(0, 2))
        random_row = random.randint(0, 11000)
        engine = new_connector.create_db_connector()

        with engine.connect() as connection:

            pin_string = text(f"SELECT * FROM pinterest_data LIMIT {random_row}, 1")
            pin_selected_row = connection.execute(pin_string)

            for row in pin_selected_row:
                pin_result = dict(row._mapping)

            geo_string = text(f"SELECT * FROM geolocation_data LIMIT {random_row}, 1")
            geo_selected_row = connection.execute(geo_string)

            for row in geo_selected_row:
                geo_result = dict(row._mapping)

            user_string = text(f"SELECT * FROM user_data LIMIT {random_row}, 1")
            user_selected_row = connection.execute(user_string)

            for row in user_selected_row:
                user_result = dict(row._mapping)

            send_to_topic("pin", pin_result)
            send_to_topic("geo", geo_result)
            send_to_topic("user", user_result)


if __name__ == "__main__":
    print("Working", flush=True)
    run_infinite_post_data_loop()
