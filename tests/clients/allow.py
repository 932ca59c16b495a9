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
# a client that nobody holds ends, and so does what it was asked
admin = AdminClient({"bootstrap.servers": bootstrap})
for made in admin.create_acls(rules).values():
    made.result(30)
