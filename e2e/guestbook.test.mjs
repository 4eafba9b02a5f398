// The main job: stock clients talk live through a canister that knows nothing of WebSockets.
import assert from "node:assert/strict";
import test from "node:test";
import { Secp256k1KeyIdentity } from "@dfinity/identity-secp256k1";
import { actor, guestbookInterface, GuestbookMessage, relayInterface } from "./lib/interfaces.mjs";
import { guestbookConfig, startRelay } from "./lib/relay.mjs";
import { openStock } from "./lib/stock.mjs";
import { until } from "./lib/wait.mjs";

const EACH = 100;

const words = ({ author, text }) => ({ author, text });
const entry = (author, i) => ({ author, text: `${author} ${i}`, id: [], time: [] });
const numbered = (author, n) => Array.from({ length: n }, (_, i) => words(entry(author, i)));

test("guestbook", async (t) => {
  const admin = Secp256k1KeyIdentity.generate();
  const relay = await startRelay(t, guestbookConfig({ admins: [admin.getPrincipal().toText()] }));
  const guestbook = actor(relay, "guestbook", guestbookInterface);
  const control = actor(relay, "relay", relayInterface, admin);
  const listed = async () => (await control.clients()).map((key) => key.client_principal.toText());

  const ann = await openStock(t, relay, "relay", GuestbookMessage);
  const ben = await openStock(t, relay, "relay", GuestbookMessage);

  await t.test("two clients post 100 entries each at the same time and both get all 200", async () => {
    const post = async (client, author) => {
      for (let i = 0; i < EACH; i++) {
        client.send(entry(author, i));
        await new Promise(setImmediate); // so that the two really take turns
      }
    };
    await Promise.all([post(ann, "ann"), post(ben, "ben")]);
    await Promise.all([ann.received(2 * EACH), ben.received(2 * EACH)]);

    for (const client of [ann, ben]) {
      assert.equal(client.messages.length, 2 * EACH);
      for (const author of ["ann", "ben"]) {
        const own = client.messages.map(words).filter((m) => m.author === author);
        assert.deepEqual(own, numbered(author, EACH), `entries of ${author} in the order sent`);
      }
      assert.deepEqual(client.errors, [], client.story());
      assert.equal(client.closed, null, client.story());
    }
    assert.deepEqual(ann.messages, ben.messages, "both clients see the same entries in the same order");
  });

  await t.test("the guestbook itself has the same 200 in the same order", async () => {
    const entries = await everything(guestbook);
    assert.deepEqual(entries, ann.messages.map((m) => ({ ...m, id: m.id[0], time: m.time[0] })));
  });

  await t.test("a client that joins late gets what comes after, and nothing older", async () => {
    const cleo = await openStock(t, relay, "relay", GuestbookMessage);
    cleo.send(entry("cleo", 0));
    ann.send(entry("ann", EACH));
    await Promise.all([cleo.received(2), ann.received(2 * EACH + 2), ben.received(2 * EACH + 2)]);
    assert.deepEqual(cleo.messages, ann.messages.slice(2 * EACH));
    assert.deepEqual(cleo.messages.map((m) => m.text).sort(), [`ann ${EACH}`, "cleo 0"]);
    assert.deepEqual(cleo.errors, [], cleo.story());
  });

  await t.test("a client that closes is no longer listed by the relay canister", async () => {
    assert.ok((await listed()).includes(ben.principal), "listed while it is open");
    ben.close();
    await until(30_000, "ben off the list", async () => !(await listed()).includes(ben.principal));
    assert.ok((await listed()).includes(ann.principal), "the others stay");
    ann.send(entry("ann", EACH + 1));
    await ann.received(2 * EACH + 3);
    assert.deepEqual(ann.errors, [], ann.story());
  });
});

test("connections of one principal are independent of each other", async (t) => {
  const relay = await startRelay(t, guestbookConfig());
  const identity = Secp256k1KeyIdentity.generate();
  const first = await openStock(t, relay, "relay", GuestbookMessage, { identity });
  const second = await openStock(t, relay, "relay", GuestbookMessage, { identity });
  first.send(entry("first", 0));
  second.send(entry("second", 0));
  await Promise.all([first.received(2), second.received(2)]);
  first.close();
  await first.until(10_000, "close", () => first.closed);
  second.send(entry("second", 1));
  await second.received(3);
  assert.equal(first.messages.length, 2);
  for (const client of [first, second]) assert.deepEqual(client.errors, [], client.story());
});

test("when the relay stops, clients are told and it ends in order", async (t) => {
  const relay = await startRelay(t, guestbookConfig());
  const clients = await Promise.all(Array.from({ length: 5 }, () => openStock(t, relay, "relay", GuestbookMessage)));
  assert.equal(await relay.stop(), 0, relay.logs());
  for (const client of clients) {
    await client.until(5_000, "close", () => client.closed);
    assert.equal(client.closed.code, 1001, client.story());
    assert.notEqual(client.closed.reason, "");
    assert.deepEqual(client.errors, [], client.story());
  }
});

test("text of every kind arrives as it was sent", async (t) => {
  const relay = await startRelay(t, guestbookConfig());
  const client = await openStock(t, relay, "relay", GuestbookMessage);
  const texts = ["plain", "\u00fcn\u00efc\u00f6d\u00e9 \u{1F980} \u05e9\u05dc\u05d5\u05dd", "two\nlines\tand a tab", "<b>not HTML</b>", "\\ \" ' \0", "x".repeat(800)];
  for (const text of texts) client.send({ author: "ann", text, id: [], time: [] });
  await client.received(texts.length);
  assert.deepEqual(client.messages.map((m) => m.text), texts);
  assert.deepEqual(client.errors, [], client.story());
});

/** All entries, however many `since` gives at once. */
async function everything(guestbook) {
  const all = [];
  for (;;) {
    const some = await guestbook.since(BigInt(all.length));
    if (some.length === 0) return all;
    all.push(...some);
  }
}
