// kafkajs through the scenario that tests/clients/scenario.py describes; prints what it saw as one JSON object.
"use strict";

const { CompressionTypes, Kafka, logLevel } = require("kafkajs");

const plan = JSON.parse(process.argv[2]);
const kafka = new Kafka({
  clientId: "kafkajs",
  brokers: [plan.bootstrap],
  logLevel: logLevel.ERROR,
  retry: { initialRetryTime: 50, retries: 20 },
});
const partitions = 3;

const numbers = [...Array(plan.count).keys()];

async function produce() {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const acknowledged = [];
  for (const partition of [...Array(partitions).keys()]) {
    const mine = numbers.filter((n) => n % partitions === partition);
    const half = mine.length / 2;
    for (const part of [mine.slice(0, half), mine.slice(half)]) {
      const messages = part.map((n) => ({
        partition,
        key: `key-${n}`,
        value: `value-${n}`,
        headers: { n: String(n) },
      }));
      const [answer] = await producer.send({
        topic: plan.topic,
        acks: -1,
        compression: CompressionTypes.GZIP,
        messages,
      });
      part.forEach((n, i) => acknowledged.push([n, partition, Number(answer.baseOffset) + i]));
    }
  }
  await producer.disconnect();
  return acknowledged;
}

function groupOf(groupId, more = {}) {
  return kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 500, maxWaitTimeInMs: 100, ...more });
}

async function consume() {
  const consumer = groupOf(plan.group);
  await consumer.connect();
  await consumer.subscribe({ topic: plan.topic, fromBeginning: true });
  const seen = [];
  await new Promise((resolve, reject) => {
    // What can be tried again (a coordinator that still loads) is, by kafkajs itself.
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error));
    consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch, heartbeat, commitOffsetsIfNecessary }) => {
        for (const { offset, key, value, headers } of batch.messages) {
          seen.push([batch.partition, Number(offset), String(key), String(value), String(headers.n)]);
        }
        const next = String(BigInt(batch.lastOffset()) + 1n);
        await commitOffsetsIfNecessary({
          topics: [{ topic: batch.topic, partitions: [{ partition: batch.partition, offset: next }] }],
        });
        await heartbeat();
        if (seen.length >= plan.count) resolve();
      },
    });
  });
  await consumer.disconnect();
  return seen;
}

// Copies the topic in transactions, one for each batch that is read. The first is aborted and its batch read again.
async function transact() {
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    transactionalId: plan.transactional_id,
    transactionTimeout: 30000,
  });
  const consumer = groupOf(plan.transactional_group, { readUncommitted: false });
  await producer.connect();
  await consumer.connect();
  await consumer.subscribe({ topic: plan.topic, fromBeginning: true });
  let copied = 0;
  let aborted = false;
  await new Promise((resolve, reject) => {
    // What can be tried again (a coordinator that still loads) is, by kafkajs itself.
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error));
    consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
        const messages = batch.messages.map(({ value }) => ({
          partition: batch.partition,
          value: `copy of ${value}`,
        }));
        if (!aborted) {
          const doomed = await producer.transaction();
          await doomed.send({ topic: plan.copies, messages });
          await doomed.abort();
          aborted = true;
        }
        const transaction = await producer.transaction();
        await transaction.send({ topic: plan.copies, messages });
        const next = String(BigInt(batch.lastOffset()) + 1n);
        await transaction.sendOffsets({
          consumerGroupId: plan.transactional_group,
          topics: [{ topic: batch.topic, partitions: [{ partition: batch.partition, offset: next }] }],
        });
        await transaction.commit();
        resolveOffset(batch.lastOffset());
        copied += messages.length;
        await heartbeat();
        if (copied >= plan.count) resolve();
      },
    });
  });
  await consumer.disconnect();
  await producer.disconnect();
}

(async () => {
  const acknowledged = await produce();
  const consumed = await consume();
  await transact();
  console.log(JSON.stringify({ acknowledged, consumed, transacted: true }));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
