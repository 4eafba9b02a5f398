// Stock clients send bursts through both adapters, while the network delays calls at random, has them overtake one
// another, and loses requests and answers: every message is executed once, in the order in which its client sent.
//
// ORDER_MESSAGES and ORDER_CLIENTS set how much that is for each adapter, and ORDER_SEED what is decided at random but
// for the scheduler's part.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { generateRandomIdentity } from "ic-websocket-js";
import { talkInCrowd } from "./lib/crowd.mjs";
import { actor, diaryInterface } from "./lib/interfaces.mjs";
import { startLine, usualDelay } from "./lib/line.mjs";
import { connectRaw } from "./lib/raw.mjs";
import { DIARY_WASM, ECHO_WASM, heads, replaced, startNetwork, startRelay } from "./lib/relay.mjs";
import { Talker } from "./lib/talker.mjs";
import { until } from "./lib/wait.mjs";

const MESSAGES = Number(process.env.ORDER_MESSAGES ?? 1000);
const CLIENTS = Number(process.env.ORDER_CLIENTS ?? 40);
const SEED = Number(process.env.ORDER_SEED ?? Date.now() % 1e6);

// The relay adapter's window, in adapters/relay.
const WINDOW_MESSAGES = 32;
const WINDOW_BYTES = 3 << 20;

/** As much as fits into a call of 2 MiB, with its signature and what else belongs to it. */
const LARGEST = (2 << 20) - 1024;

test("order", async (t) => {
  t.diagnostic(`ORDER_SEED=${SEED}`);
  const { relay, line } = await startWorld(t);
  const adapters = [
    { adapter: "relay", canister: "relay", diary: "diary", ahead: WINDOW_MESSAGES, overtakes: true },
    { adapter: "cdk", canister: "echo", diary: "echo", ahead: 1, overtakes: false },
  ];
  const written = (name) => actor(relay, name, diaryInterface);
  await written("echo").writeDown();

  for (const { adapter, canister, diary, ahead, overtakes } of adapters) {
    await t.test(`${MESSAGES} messages in bursts of ${CLIENTS} clients through ${adapter}`, async (t) => {
      const before = await counters(relay);
      const { seconds, talkers, times } = await talkInCrowd(t, { relay, canister, clients: CLIENTS, messages: MESSAGES, seed: SEED });
      const seen = talkers.map(({ principal }) => line.client(principal));
      const total = (what) => sum(seen.map((client) => client[what]));
      // a message whose answer was lost may be executed and still be asked about
      const { closes, refusals } = await until(60_000, "an answer to every message", async () => {
        const now = await counters(relay);
        return now.messages - before.messages === total("messages") && now;
      });
      assert.deepEqual({ closes, refusals }, { closes: before.closes, refusals: before.refusals });
      assert.equal(sum(talkers.map(({ sent }) => sent)), MESSAGES);
      await writtenDown(written(diary), talkers);

      const most = (what) => Math.max(...seen.map((client) => client[what]));
      t.diagnostic(`${Math.round(MESSAGES / seconds)} messages/s; ${total("overtaken")} overtaken, ${total("lost")} requests or answers lost, at most ${most("ahead")} of a client under way; `
        + `a call takes ${quantiles(seen.flatMap(({ times }) => times))}, delays included; a burst until its last answer is verified ${quantiles(times)}`);
      assert.equal(total("outOfTurn"), 0);
      assert.ok(total("lost") > 0, "nothing was lost");
      assert.ok(most("ahead") <= ahead, `${most("ahead")} messages of a client were under way`);
      assert.equal(total("overtaken") > 0, overtakes, `${total("overtaken")} messages were overtaken`);
    });
  }

  const open = async (t, canister) => {
    const talker = new Talker(relay, canister, { connection: 0, identity: generateRandomIdentity() });
    t.after(() => talker.dispose());
    await talker.opened;
    return { talker, seen: line.client(talker.principal) };
  };

  await t.test("a burst longer than the window fills it, and waits", async (t) => {
    t.after(() => (line.delay = usualDelay));
    line.delay = () => 700;
    const { talker, seen } = await open(t, "relay");
    talker.burst(Array(2 * WINDOW_MESSAGES).fill(10));
    await talker.answered();
    await writtenDown(written("diary"), [talker]);
    assert.equal(seen.ahead, WINDOW_MESSAGES);
  });

  await t.test("a burst of messages of 2 MiB, and others between them", async (t) => {
    const { talker, seen } = await open(t, "relay");
    talker.burst([LARGEST, 10, 10, ...Array(6).fill(900_000), LARGEST, LARGEST, 10]);
    await talker.answered();
    await writtenDown(written("diary"), [talker]);
    assert.ok(seen.bytesAhead <= WINDOW_BYTES, `${seen.bytesAhead} bytes were under way`);
    assert.ok(seen.bytesAhead > LARGEST + 100, "no two large messages were under way at once");
  });

  await t.test("the same through cdk, and back", async (t) => {
    const { talker, seen } = await open(t, "echo");
    talker.burst([10, LARGEST, 10, 900_000, LARGEST]);
    await talker.answered();
    await writtenDown(written("echo"), [talker]);
    assert.equal(seen.ahead, 1);
  });

  await t.test("a message that does come out of turn is noticed", async (t) => {
    const before = await counters(relay);
    const identity = generateRandomIdentity();
    const client = await connectRaw(t, relay);
    await client.open(identity, relay.canister("echo"));
    await client.frame(1);
    await client.message(identity, relay.canister("echo"), { sequence: 2n });
    await client.ended();
    assert.equal(line.client(identity.getPrincipal().toText()).outOfTurn, 1);
    const after = await counters(relay);
    assert.deepEqual(after, { closes: before.closes + 1, refusals: before.refusals + 1, messages: before.messages });
  });
});

/** A network, a gateway, and a line between them. */
async function startWorld(t) {
  const folder = await mkdtemp(join(tmpdir(), "relay-order-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  // the gateway's identity is the relay canister's admin
  const identity = [/^identity .*$/m, `identity = ${JSON.stringify(join(folder, "identity.pem"))}`];
  const canisters = { echo: ECHO_WASM, diary: DIARY_WASM, relay: "builtin:relay" };
  const names = Object.fromEntries(Object.keys(canisters).map((name) => [name, name]));
  const network = await startNetwork(t, replaced(heads({ canisters }), identity) + routes(names));
  const line = await startLine(t, network.printed("network"), SEED);
  const ids = network.printedCanisters;
  const embedded = [/^url = "embedded"\nlisten = .*$/m, `url = "${line.url}"`];
  const relay = await startRelay(t, `${[identity, embedded].reduce(replaced, heads())}${routes(ids)}[gateway.log]\nlevel = "warn"\n`);
  relay.info.canisters = ids; // names exist on the embedded network only
  relay.info.network.url = network.printed("network"); // clients need not take the line
  return { relay, line };
}

const routes = ({ echo, relay, diary }) => `
[[route]]
canister = "${echo}"
adapter = "cdk"

[[route]]
canister = "${relay}"
adapter = "relay"

[[route.relay.call]]
target = "${diary}"
method = "note"
tag = "Note"
pass_client = true
reply = "sender"
reply_tag = "Noted"

[[route.relay.call]]
target = "${diary}"
method = "tell"
tag = "Tell"
pass_client = true
`;

/** The diary must have each of the talkers' messages once, and in order. */
async function writtenDown(diary, talkers) {
  const entries = [];
  for (let page; page === undefined || page.length > 0; entries.push(...page)) page = await diary.entriesFrom(BigInt(entries.length));
  const numbers = new Map(talkers.map(({ principal }) => [principal, []]));
  for (const { client, number } of entries) numbers.get(client[0].toText())?.push(Number(number));
  for (const { principal, sent } of talkers) {
    assert.deepEqual(numbers.get(principal), Array.from({ length: sent }, (_, i) => i + 1), `messages of ${principal}`);
  }
}

/** What the gateway has counted. */
async function counters(relay) {
  const lines = (await (await fetch(new URL("metrics", relay.url))).text()).split("\n");
  const of = (name) => sum(lines.filter((line) => line.startsWith(name)).map((line) => Number(line.split(" ").at(-1))));
  return { closes: of("relay_closes_total"), refusals: of("relay_refusals_total"), messages: of('relay_messages_total{direction="in"}') };
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

function quantiles(milliseconds) {
  const sorted = milliseconds.toSorted((a, b) => a - b);
  const at = (q) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}
