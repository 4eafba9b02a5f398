// The cheapest way: clients call the canister's methods themselves, and use the socket only to receive.
import assert from "node:assert/strict";
import test from "node:test";
import { IDL } from "@dfinity/candid";
import { actor, targetInterface } from "./lib/interfaces.mjs";
import { guestbookConfig, startRelay, TARGET_WASM } from "./lib/relay.mjs";
import { openStock } from "./lib/stock.mjs";
import { until } from "./lib/wait.mjs";

test("clients that call the canister themselves, and receive over the socket", async (t) => {
  // a feed and no call
  const relay = await startRelay(t, guestbookConfig({ canisters: { target: TARGET_WASM }, calls: [], feeds: [["target", "since"]] }));
  const ann = await openStock(t, relay, "relay", IDL.Text);
  const ben = await openStock(t, relay, "relay", IDL.Text);
  const target = (client) => actor(relay, "target", targetInterface, client.identity);

  await t.test("what one client does is seen by all, over the socket", async () => {
    for (let i = 0; i < 10; i++) await target(i % 2 ? ben : ann).say(`text ${i}`);
    const texts = Array.from({ length: 10 }, (_, i) => `text ${i}`);
    for (const client of [ann, ben]) assert.deepEqual(await client.received(10), texts);
  });

  await t.test("the canister sees each client as its caller", async () => {
    await target(ann).put("one");
    await target(ben).put("two");
    assert.deepEqual((await target(ann).putBy()).map(String), [ann.principal, ben.principal]);
  });

  await t.test("and its refusals are the caller's own", async () => {
    await assert.rejects(target(ann).put("refuse"), /refused on purpose/);
    for (const client of [ann, ben]) {
      assert.deepEqual(client.errors, [], client.story());
      assert.equal(client.messages.length, 10, client.story());
    }
  });

  await t.test("a message over the socket is refused with a sentence", async () => {
    ann.send("not this way");
    await ann.until(20_000, "close", () => ann.closed);
    assert.match(ann.closed.reason, /This route takes no messages/);
    await target(ben).say("still here");
    assert.equal((await ben.received(11)).at(-1), "still here");
    assert.deepEqual(ben.errors, [], ben.story());
  });
});

test("through a call, the canister sees the relay canister as its caller", async (t) => {
  const relay = await startRelay(t, guestbookConfig({ canisters: { target: TARGET_WASM }, calls: [["target", "put"]], feeds: [["target", "since"]] }));
  const ann = await openStock(t, relay, "relay", IDL.Text);
  const target = actor(relay, "target", targetInterface, ann.identity);
  ann.send("one");
  const callers = await until(20_000, "the call", async () => {
    const list = await target.putBy();
    return list.length > 0 && list;
  });
  assert.deepEqual(callers.map(String), [relay.canister("relay")]);
});
