"""What the users run today, at its best: FastAPI and aiokafka, acknowledged by all replicas, idempotent."""

import json
import os
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from pydantic import BaseModel


class Pin(BaseModel):
    category: str
    index: int
    unique_id: str
    title: str
    description: str
    follower_count: str
    tag_list: str
    is_image_or_video: str
    image_src: str
    downloaded: int
    save_location: str


@asynccontextmanager
async def lifespan(app):
    app.state.producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["KAFKA"], acks="all", enable_idempotence=True, linger_ms=3
    )
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


app = FastAPI(lifespan=lifespan)


@app.post("/pin/")
async def pin(item: Pin):
    value = json.dumps(item.model_dump()).encode()
    await app.state.producer.send_and_wait("pin", value, key=str(item.index).encode())
    return item
