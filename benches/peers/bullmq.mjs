// BullMQ as a queue of no-op tasks in the Redis at REDIS_URL: how many TASKS, the one argument, it takes in and works off
// in a second, as one line of JSON. Everything is at its default but the worker's concurrency.

import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const CHUNK = 1000;
const CONCURRENCY = 100;
/** Of about 100 bytes. */
const PAYLOAD = {
  prompt: 'A persona walks through a market at dawn and tells what it sees, in one take of eight seconds',
};

const tasks = Number(process.argv[2]);
const url = process.env.REDIS_URL;
if (!Number.isInteger(tasks) || tasks < 1 || !url) {
  console.error('usage: REDIS_URL=redis://HOST:PORT node bullmq.mjs TASKS');
  process.exit(2);
}

// A worker must wait for its server however long, and says so when its connection would not.
const connection = new Redis(url, { maxRetriesPerRequest: null });
connection.on('error', (error) => {
  throw error;
});
// A name of its own, so that nothing is there from an earlier run.
const name = `bench-${process.pid}-${Date.now()}`;
const queue = new Queue(name, { connection });
await queue.waitUntilReady();

const perSecond = (since) => Math.round((tasks * 1000) / (performance.now() - since));

let start = performance.now();
for (let from = 0; from < tasks; from += CHUNK) {
  const chunk = Array.from({ length: Math.min(CHUNK, tasks - from) }, () => ({ name: 'render', data: PAYLOAD }));
  await queue.addBulk(chunk);
}
const enqueue_per_s = perSecond(start);

const worker = new Worker(name, async () => {}, { connection, concurrency: CONCURRENCY, autorun: false });
await worker.waitUntilReady();
let completed = 0;
const done = new Promise((resolve, reject) => {
  worker.on('completed', () => ++completed === tasks && resolve());
  worker.on('failed', (_, error) => reject(error));
  worker.on('error', reject);
});
start = performance.now();
worker.run().catch(() => {});
await done;
const process_per_s = perSecond(start);

const counted = await queue.getCompletedCount();
if (counted !== tasks) throw new Error(`${counted} tasks are completed, not ${tasks}`);
await worker.close();
await queue.obliterate({ force: true });
await queue.close();
connection.disconnect();
console.log(JSON.stringify({ enqueue_per_s, process_per_s, tasks }));
