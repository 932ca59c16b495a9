"""Posts rows to the FastAPI of the users' older pipeline. Usage: ... URL"""
import os
import random
import sys
from time import sleep

import requests
import sqlalchemy
from sqlalchemy import text

URL = sys.argv[1]

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
        return sqlalchemy.create_engine(url)


new_connector = AWSDBConnector()


def run_infinite_post_data_loop():
    session = requests.Session()
    engine = new_connector.create_db_connector()
    while True:
        sleep(random.randrange(0, 2))
        random_row = random.randint(0, 11000)
        with engine.connect() as connection:
            for table, path in (("pinterest_data", "pin"), ("geolocation_data", "geo"), ("user_data", "user")):
                for row in connection.execute(text(f"SELECT * FROM {table} LIMIT {random_row}, 1")):
                    result = dict(row._mapping)
                    for column in ("timestamp", "date_joined"):
                        if column in result:
                            result[column] = result[column].isoformat()
                    response = session.post(f"{URL}/{path}/", json=result)
                    print(response.status_code, response.json())


if __name__ == "__main__":
    print("Working", flush=True)
    run_infinite_post_data_loop()
