"""What several topic APIs share: who may do what (everybody, everything), and answers about topics."""

from __future__ import annotations

# Kafka's operation codes as bits: read 3, write 4, create 5, delete 6, alter 7, describe 8, cluster action 9,
# describe configs 10, alter configs 11, idempotent write 12.
AUTHORIZED_TOPIC = sum(1 << code for code in (3, 4, 5, 6, 7, 8, 10, 11))
AUTHORIZED_CLUSTER = sum(1 << code for code in (5, 7, 8, 9, 10, 11, 12))
AUTHORIZED_GROUP = sum(1 << code for code in (3, 6, 8, 10, 11))

# More in one request is refused, as Kafka does, so that a slip of the keyboard cannot fill the memory.
PARTITIONS_PER_REQUEST_MAX = 10_000
EXCESSIVE_PARTITIONS = "Excessively large number of partitions per request."

TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4
