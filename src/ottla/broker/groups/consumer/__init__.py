"""Groups of the new consumer protocol (KIP-848): the broker assigns partitions, members follow step by step."""
