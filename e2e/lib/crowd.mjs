// Many talkers at once, in threads of their own: a stock client keeps its thread busy with signing and verifying.
import { availableParallelism } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { generateRandomIdentity } from "ic-websocket-js";
import { random } from "./random.mjs";
import { Talker } from "./talker.mjs";

/**
 * Has so many stock clients send so many messages in all, in bursts that the seed decides, and waits until all is
 * answered. Returns what each has sent (principal, connection, sent), the bursts' times, and how long it took. The
 * clients stay connected until the test t ends.
 */
export async function talkInCrowd(t, { relay, canister, clients, messages, seed }) {
  const threads = Math.min(availableParallelism(), 4, clients);
  const { webSocketUrl, rootKey, info } = relay;
  const start = performance.now();
  const parts = await Promise.all(Array.from({ length: threads }, (_, thread) => {
    const workerData = {
      relay: { webSocketUrl, rootKey, info }, canister,
      first: shares(clients, threads).slice(0, thread).reduce((a, b) => a + b, 0),
      clients: shares(clients, threads)[thread],
      messages: shares(messages, threads)[thread],
      seed: seed * 4 + thread,
    };
    const worker = new Worker(new URL(import.meta.url), { workerData });
    t.after(() => worker.terminate());
    return reported(worker);
  })).catch((error) => {
    throw new Error(`${error.message}\n${relay.logs()}`, { cause: error });
  });
  return {
    seconds: (performance.now() - start) / 1000,
    talkers: parts.flatMap(({ talkers }) => talkers),
    times: parts.flatMap(({ times }) => times),
  };
}

/** n split into as many numbers, about equal. */
const shares = (n, parts) => Array.from({ length: parts }, (_, i) => Math.floor((n * (i + 1)) / parts) - Math.floor((n * i) / parts));

/** What a worker says first, which must be its report. */
const reported = (worker) => new Promise((resolve, reject) => {
  worker.once("message", resolve);
  worker.once("error", reject);
  worker.once("exit", (code) => reject(new Error(`a thread of clients ended with ${code}`)));
});

async function crowd({ relay, canister, first, clients, messages, seed }) {
  const known = { ...relay, canister: (name) => relay.info.canisters[name] };
  const talkers = [];
  while (talkers.length < clients) {
    // Few at a time: a stock client must have fetched the root key before its first message comes, and does not wait for it.
    const next = Array.from({ length: Math.min(10, clients - talkers.length) }, (_, i) =>
      new Talker(known, canister, { connection: first + talkers.length + i, identity: generateRandomIdentity() }));
    talkers.push(...next);
    await Promise.all(next.map((talker) => talker.opened));
  }
  await Promise.all(shares(messages, clients).map((share, i) => talk(talkers[i], share, random(seed * 1009 + i))));
  for (const talker of talkers) talker.check(); // nothing came since
  return {
    talkers: talkers.map(({ principal, sent }, i) => ({ principal, sent, connection: first + i })),
    times: talkers.flatMap(({ times }) => times),
  };
}

async function talk(talker, share, { chance, between }) {
  const size = () => (chance(1 / 100) ? between(1, 64 << 10) : chance(1 / 10) ? between(1, 4 << 10) : between(0, 200));
  while (talker.sent < share) {
    const length = chance(1 / 10) ? between(10, 100) : between(1, 10);
    talker.burst(Array.from({ length: Math.min(length, share - talker.sent) }, size));
    if (chance(1 / 4)) await pause(between(0, 50)); // the next burst does not wait for the answer
    else await talker.answered();
  }
  await talker.answered();
}

if (!isMainThread) parentPort.postMessage(await crowd(workerData));
