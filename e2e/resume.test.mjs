// Going on after a broken socket: a stock client whose connection is lost, and that opens another one with the same
// identity, gets what it has missed.
import assert from "node:assert/strict";
import test from "node:test";
import { generateRandomIdentity } from "ic-websocket-js";
import { IDL } from "@dfinity/candid";
import { throughCable } from "./lib/cable.mjs";
import { actor } from "./lib/interfaces.mjs";
import { heads, startRelay, TARGET_WASM } from "./lib/relay.mjs";
import { openStock } from "./lib/stock.mjs";
import { until } from "./lib/wait.mjs";

const Message = IDL.Variant({
  Put: IDL.Text,
  Done: IDL.Text,
  Letter: IDL.Record({ to: IDL.Principal, text: IDL.Text }),
  Resumed: IDL.Bool,
});

const targetInterface = () => IDL.Service({ write: IDL.Func([IDL.Principal, IDL.Text], [], []) });
const relayInterface = () => IDL.Service({ clients: IDL.Func([], [IDL.Vec(IDL.Record({ client_principal: IDL.Principal, client_nonce: IDL.Nat64 }))], ["query"]) });

// a gateway that notices dead sockets soon
const noticing = `
[gateway.limits]
ping_interval = "2s"
idle_timeout = "12s"
`;

const route = (relay, target, admin, window) => `
[[route]]
canister = "${relay}"
adapter = "relay"

[route.relay]
admins = ["${admin}"]
resume = "${window}"
resume_tag = "Resumed"
ack_interval = "20s"
keep_alive_timeout = "15s"

[[route.relay.call]]
target = "${target}"
method = "echo"
tag = "Put"
reply = "sender"
reply_tag = "Done"

[[route.relay.feed]]
target = "${target}"
method = "lettersSince"
tag = "Letter"
recipient = "to"
`;

async function start(t, window = "1m") {
  const admin = generateRandomIdentity();
  const relay = await startRelay(t, heads({ canisters: { target: TARGET_WASM, relay: "builtin:relay" } })
    + route("relay", "target", admin.getPrincipal(), window));
  relay.admin = admin;
  relay.write = (to, text) => actor(relay, "target", targetInterface, admin).write(to.identity.getPrincipal(), text);
  /** How many connections of this client the relay canister has. */
  relay.connections = async ({ principal }) =>
    (await actor(relay, "relay", relayInterface, admin).clients()).filter((key) => key.client_principal.toText() === principal).length;
  return relay;
}

/** Another gateway of the same relay canister, which is not the network that it runs on. */
async function another(t, relay, limits = "") {
  const gateway = await startRelay(t, `[gateway]\nlisten = "127.0.0.1:0"\nidentity = "identity.pem"\n${limits}\n[network]\nurl = "${relay.info.network.url}"\n`
    + route(relay.canister("relay"), relay.canister("target"), relay.admin.getPrincipal(), "1m"));
  gateway.canister = (name) => relay.canister(name);
  gateway.info = { ...relay.info };
  return gateway;
}

const open = (t, gateway, options) => openStock(t, gateway, "relay", Message, options);
const again = (t, gateway, client) => open(t, gateway, { identity: client.identity });
const texts = (client) => client.messages.filter((m) => "Letter" in m).map((m) => m.Letter.text);
const resumed = (client) => client.messages.filter((m) => "Resumed" in m).map((m) => m.Resumed);

/** Waits until the client has this letter. */
const has = (client, text) => client.until(60_000, `letter ${text}`, () => texts(client).includes(text) || client.closed);
const broken = (client) => client.until(30_000, "the end of the socket", () => client.closed);

/** The client has its letters from `first` to `last` in order, each once, and perhaps some from before again. */
function inOrder(client, first, last) {
  const got = texts(client).map(Number);
  assert.deepEqual(got, Array.from({ length: last - got[0] + 1 }, (_, i) => got[0] + i), client.story());
  assert.ok(got[0] <= first, `${got[0]} is the first letter, want ${first}`);
}

test("going on after a broken socket", async (t) => {
  const relay = await start(t);
  const second = await another(t, relay);
  const ben = await open(t, relay);
  let letters = 0;
  let marks = 0;
  /** Waits until the relay canister has all letters: ben gets one after them. */
  const relayed = async () => {
    const mark = `mark ${++marks}`;
    await relay.write(ben, mark);
    await has(ben, mark);
  };
  /** Sends ann so many letters, and waits until the relay canister has them. */
  const write = async (ann, count) => {
    for (let i = 0; i < count; i++) await relay.write(ann, `${++letters}`);
    await relayed();
  };
  const client = async (gateway) => {
    letters = 0;
    const cable = await throughCable(t, gateway);
    const ann = await open(t, cable);
    await write(ann, 2);
    await has(ann, "2");
    assert.deepEqual(resumed(ann), [false]);
    return { ann, cable };
  };
  const lost = (ann) => until(30_000, "the loss is known", async () => (await relay.connections(ann)) === 0);

  await t.test("a cut socket: what was sent meanwhile comes first, once, and in order", async () => {
    const { ann, cable } = await client(relay);
    cable.cut();
    await broken(ann);
    await lost(ann);
    await write(ann, 8);
    const back = await again(t, cable, ann);
    await write(ann, 3);
    await has(back, "13");
    inOrder(back, 3, 13);
    assert.deepEqual(back.messages[0], { Resumed: true });
    assert.deepEqual(resumed(back), [true]);
    back.send({ Put: "and it can talk" });
    await back.until(30_000, "the answer", () => back.messages.some((m) => m.Done === "and it can talk"));
  });

  await t.test("a call that was under way when the socket broke is answered afterwards", async () => {
    const { ann, cable } = await client(relay);
    ann.send({ Put: "the last words" });
    await new Promise((resolve) => setTimeout(resolve, 20)); // signed and on its way; whether it is answered is open
    cable.cut();
    await broken(ann);
    const back = await again(t, relay, ann);
    await write(ann, 1);
    await has(back, "3");
    assert.deepEqual(back.errors, [], back.story());
  });

  await t.test("through another gateway", async () => {
    const { ann, cable } = await client(relay);
    cable.cut();
    await broken(ann);
    await lost(ann);
    await write(ann, 5);
    const back = await again(t, second, ann);
    await write(ann, 1);
    await has(back, "8");
    inOrder(back, 3, 8);
  });

  await t.test("before the gateway knows that the old socket is dead", async () => {
    const { ann, cable } = await client(await another(t, relay, noticing));
    cable.loseClient();
    await broken(ann);
    for (; letters < 5; letters++) await relay.write(ann, `${letters + 1}`); // into the dead socket
    await relayed();
    const back = await again(t, relay, ann);
    await write(ann, 1);
    await has(back, "6");
    assert.deepEqual(resumed(back), [false], "it begins anew");
    await has(back, "5");
    assert.deepEqual(resumed(back), [false, true], "and goes on when the gateway has noticed");
    assert.deepEqual([...new Set(texts(back))].filter((n) => n > 2).sort(), ["3", "4", "5", "6"]);
    assert.equal(await relay.connections(ann), 1);
  });

  await t.test("a gateway that stops, and one that is killed", async () => {
    for (const signal of ["SIGTERM", "SIGKILL"]) {
      const gateway = await another(t, relay);
      const { ann } = await client(gateway);
      await gateway.stop(signal);
      await broken(ann);
      await write(ann, 3);
      const back = await again(t, relay, ann);
      await write(ann, 1);
      await has(back, "5"); // after a kill: when the relay canister has missed the client's sign of life
      await has(back, "6");
      assert.deepEqual([...new Set(texts(back))].filter((n) => n > 2).sort(), ["3", "4", "5", "6"]);
      assert.ok(resumed(back).includes(true), back.story());
    }
  });

  await t.test("a client that closes its connection begins anew", async () => {
    const { ann } = await client(relay);
    ann.close();
    await broken(ann);
    await lost(ann);
    await relay.write(ann, "nobody gets this");
    await relayed();
    const back = await again(t, relay, ann);
    letters = 9;
    await write(ann, 1);
    await has(back, "10");
    assert.deepEqual(back.messages, [{ Resumed: false }, { Letter: { to: ann.identity.getPrincipal(), text: "10" } }]);
  });

  await t.test("another client gets nothing of it", async () => {
    const { ann, cable } = await client(relay);
    cable.cut();
    await broken(ann);
    await lost(ann);
    await write(ann, 2);
    const cleo = await open(t, relay);
    await relay.write(cleo, "for cleo");
    await has(cleo, "for cleo");
    assert.deepEqual(texts(cleo), ["for cleo"]);
    assert.deepEqual(resumed(cleo), [false]);
    for (const m of ben.messages) if ("Letter" in m) assert.equal(m.Letter.to.toText(), ben.principal);
  });
});

test("a client that comes back too late begins anew", async (t) => {
  const relay = await start(t, "1s");
  const cable = await throughCable(t, relay);
  const ann = await open(t, cable);
  const ben = await open(t, relay);
  await relay.write(ann, "1");
  await has(ann, "1");
  cable.cut();
  await broken(ann);
  await until(30_000, "the loss is known", async () => (await relay.connections(ann)) === 0);
  await relay.write(ann, "2");
  await relay.write(ben, "x");
  await has(ben, "x");
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const back = await again(t, relay, ann);
  await relay.write(ann, "3");
  await has(back, "3");
  assert.deepEqual(texts(back), ["3"]);
  assert.deepEqual(resumed(back), [false]);
});
