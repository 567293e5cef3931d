"""Producer, consumer, admin and a topic reader: the only room that talks to librdkafka."""
