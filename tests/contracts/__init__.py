"""What Kafka's protocol promises, proven on the embedded broker and on Apache Kafka by the same tests.

Apache Kafka is the reference: a test that fails there is wrong.
"""
