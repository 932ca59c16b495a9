"""Lets a user of Kafka do something with a topic: BOOTSTRAP PRINCIPAL TOPIC OPERATION…"""

import sys

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

bootstrap, principal, topic, *operations = sys.argv[1:]
rules = [
    AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        principal,
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )
    for operation in operations
]
for made in AdminClient({"bootstrap.servers": bootstrap}).create_acls(rules).values():
    made.result(30)
