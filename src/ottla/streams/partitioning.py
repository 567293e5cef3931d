"""Which partition a key belongs to: Kafka's default, so that any client's records are found."""

from __future__ import annotations


def murmur2(data: bytes) -> int:
    """Kafka's variant of MurmurHash2, 32 bits, as an unsigned number (`Utils.murmur2` of its Java client)."""
    length = len(data)
    mixer, mask = 0x5BD1E995, 0xFFFFFFFF
    hashed = (0x9747B28C ^ length) & mask
    for at in range(0, length - length % 4, 4):
        word = int.from_bytes(data[at : at + 4], "little")
        word = (word * mixer) & mask
        word ^= word >> 24
        word = (word * mixer) & mask
        hashed = ((hashed * mixer) & mask) ^ word
    tail = data[length - length % 4 :]
    if tail:
        hashed ^= int.from_bytes(tail, "little")
        hashed = (hashed * mixer) & mask
    hashed ^= hashed >> 13
    hashed = (hashed * mixer) & mask
    return hashed ^ (hashed >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """Where the default partitioner puts a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
