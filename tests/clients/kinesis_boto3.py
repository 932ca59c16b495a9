"""boto3 as its users call it, with `endpoint_url` alone. Prints what the test compares, as JSON lines."""

import base64
import datetime
import json
import sys

import boto3
import botocore.auth
from botocore.config import Config
from botocore.exceptions import ClientError

url, what, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]


def kinesis(**settings):
    retries = Config(retries={"mode": "standard", "max_attempts": 5})
    return boto3.client("kinesis", endpoint_url=url, **{"config": retries, **settings})


def refused(call, **parameters):
    """The name of the error that a call ends with."""
    try:
        return "accepted" if call(**parameters) else ""
    except ClientError as error:
        assert error.response["ResponseMetadata"]["RequestId"], error.response
        return error.response["Error"]["Code"]


def print_record(data, answer):
    assert len(answer["SequenceNumber"]) == 56, answer
    print(json.dumps({"value": base64.b64encode(data).decode(), "shard": answer["ShardId"]}))


def put():
    client = kinesis()
    arn = client.describe_stream_summary(StreamName="s-geo")["StreamDescriptionSummary"]["StreamARN"]
    last = "0"
    for data in ('{"ind":1,"x":"é"}'.encode(), bytes(range(256)), b"a line\nand\r\nothers ", b""):
        answer = client.put_record(
            StreamName="s-geo", Data=data, PartitionKey="k", SequenceNumberForOrdering=last
        )
        assert answer["SequenceNumber"] > last
        last = answer["SequenceNumber"]
        print_record(data, answer)
    answer = client.put_record(StreamARN=arn, Data=b"hash", PartitionKey="k", ExplicitHashKey=str(2**128 - 1))
    assert answer["ShardId"] == "shardId-000000000002", answer
    print_record(b"hash", answer)
    # Kinesis takes a record of so many bytes, and Kafka does not
    all_data = [b'{"ind":%d}' % ind for ind in range(400)] + [b"x" * 1_048_560] + [b"\x00\xff"]
    records = [{"Data": data, "PartitionKey": f"key {index}"} for index, data in enumerate(all_data)]
    answer = client.put_records(StreamName="s-geo", Records=records)
    assert answer["FailedRecordCount"] == 1, answer
    failed = answer["Records"].pop(400)
    assert failed["ErrorCode"] == "InternalFailure" and failed["ErrorMessage"], failed
    for data, placed in zip(all_data[:400] + all_data[401:], answer["Records"], strict=True):
        print_record(data, placed)
    record = {"Data": b"x", "PartitionKey": "k"}
    for name, call, parameters in (
        ("ResourceNotFoundException", client.put_record, {"StreamName": "nothing", **record}),
        ("ResourceNotFoundException", client.describe_stream, {"StreamName": "nothing"}),
        ("ValidationException", client.put_record, {"StreamName": "s-geo", **record, "PartitionKey": "k" * 257}),
        ("ValidationException", client.put_record, {"StreamName": "s-geo", **record, "Data": b"x" * (1 << 20)}),
        ("ValidationException", client.put_records, {"StreamName": "s-geo", "Records": [record] * 501}),
        ("InvalidArgumentException", client.put_record, {"StreamName": "other", "StreamARN": arn, **record}),
        ("UnknownOperationException", client.list_tags_for_stream, {"StreamName": "s-geo"}),
    ):
        assert refused(call, **parameters) == name, (name, refused(call, **parameters))


def describe():
    client = kinesis()
    client.get_waiter("stream_exists").wait(StreamName="api.pin")
    stream = client.describe_stream(StreamName="api.pin", Limit=2)["StreamDescription"]
    assert (len(stream["Shards"]), stream["HasMoreShards"], stream["StreamStatus"]) == (2, True, "ACTIVE"), stream
    pages = client.get_paginator("describe_stream").paginate(StreamName="api.pin", PaginationConfig={"PageSize": 2})
    described = [shard for page in pages for shard in page["StreamDescription"]["Shards"]]
    pages = client.get_paginator("list_shards").paginate(StreamName="api.pin", PaginationConfig={"PageSize": 3})
    listed = [shard for page in pages for shard in page["Shards"]]
    assert listed == described and [shard["ShardId"][-1] for shard in listed] == list("01234"), listed
    next_hash = 0
    for shard in listed:
        assert int(shard["HashKeyRange"]["StartingHashKey"]) == next_hash
        next_hash = int(shard["HashKeyRange"]["EndingHashKey"]) + 1
    assert next_hash == 2**128
    after = {"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000003"}
    assert client.list_shards(StreamARN=stream["StreamARN"], ShardFilter=after)["Shards"] == listed[4:]
    summary = client.describe_stream_summary(StreamARN=stream["StreamARN"])["StreamDescriptionSummary"]
    assert (summary["StreamName"], summary["OpenShardCount"]) == ("api.pin", 5), summary
    pages = list(client.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 1}))
    names = [name for page in pages for name in page["StreamNames"]]
    assert {"api.geo", "api.pin"} <= set(names) and names == sorted(names) and len(pages) == len(names), names
    assert client.list_streams(ExclusiveStartStreamName=names[-1])["StreamNames"] == []
    # the gateway has created this one when it started: it goes, and comes with other shards
    gone = client.get_waiter("stream_not_exists")
    client.delete_stream(StreamName="api.user")
    gone.wait(StreamName="api.user", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    assert refused(client.delete_stream, StreamName="api.user") == "ResourceNotFoundException"
    client.create_stream(StreamName="api.user", ShardCount=3)
    client.get_waiter("stream_exists").wait(StreamName="api.user")
    assert refused(client.create_stream, StreamName="api.user", ShardCount=3) == "ResourceInUseException"
    assert len(client.list_shards(StreamName="api.user")["Shards"]) == 3


def sign():
    """The outcome for each `id:secret:region:minutes ago` with which a record is put."""
    for argument in arguments:
        key, secret, region, minutes = argument.split(":")
        ago = datetime.timedelta(minutes=int(minutes))
        now = botocore.auth.get_current_datetime
        botocore.auth.get_current_datetime = lambda *given: now(*given) - ago
        client = kinesis(aws_access_key_id=key, aws_secret_access_key=secret, region_name=region)
        record = {"Data": b'{"ind":7}', "PartitionKey": "k"}
        put = refused(client.put_record, StreamName="s-geo", **record)
        many = refused(client.put_records, StreamName="s-geo", Records=[record] * 3)
        botocore.auth.get_current_datetime = now
        print(json.dumps([put, many, refused(client.list_streams)]))


def retry():
    """Whether a call that was throttled was tried again, until it succeeded."""
    client = kinesis()
    answers = [client.put_record(StreamName="s-geo", Data=b"x", PartitionKey="k") for _ in range(3)]
    assert sum(answer["ResponseMetadata"]["RetryAttempts"] for answer in answers) > 0, answers


{"put": put, "describe": describe, "sign": sign, "retry": retry}[what]()
