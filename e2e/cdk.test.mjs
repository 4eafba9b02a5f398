// A canister that speaks the CDK's interface itself, without a relay canister, through the cdk adapter.
import assert from "node:assert/strict";
import test from "node:test";
import { IDL } from "@dfinity/candid";
import { Secp256k1KeyIdentity } from "@dfinity/identity-secp256k1";
import { connectRaw } from "./lib/raw.mjs";
import { ECHO_WASM, heads, startRelay } from "./lib/relay.mjs";
import { openStock } from "./lib/stock.mjs";

const Message = IDL.Record({ text: IDL.Text });
const content = (text) => new Uint8Array(IDL.encode([Message], [{ text }]));

test("a canister with the CDK's interface", async (t) => {
  const relay = await startRelay(t, `${heads({ canisters: { echo: ECHO_WASM } })}
[[route]]
canister = "echo"
adapter = "cdk"
`);
  const canister = relay.canister("echo");

  await t.test("messages come back to their sender, in order, to nobody else", async (t) => {
    const ann = await openStock(t, relay, "echo", Message);
    const ben = await openStock(t, relay, "echo", Message);
    const texts = (name) => Array.from({ length: 50 }, (_, i) => ({ text: `${name} ${i}` }));
    for (let i = 0; i < 50; i++) {
      ann.send({ text: `ann ${i}` });
      ben.send({ text: `ben ${i}` });
    }
    await Promise.all([ann.received(50), ben.received(50)]);
    assert.deepEqual(ann.messages, texts("ann"));
    assert.deepEqual(ben.messages, texts("ben"));
    for (const client of [ann, ben]) {
      assert.deepEqual(client.errors, [], client.story());
      assert.equal(client.closed, null, client.story());
    }
  });

  await t.test("a message out of turn is refused by the canister, and its client told why", async (t) => {
    const other = await openStock(t, relay, "echo", Message);
    const identity = Secp256k1KeyIdentity.generate();
    const client = await connectRaw(t, relay);
    await client.open(identity, canister);
    await client.frame(1);
    await client.message(identity, canister, { sequence: 2n, content: content("too early") });
    const { code, reason } = await client.ended();
    assert.equal(code, 4103, reason);
    assert.match(reason, /sequence number 1 but got 2/);
    other.send({ text: "still here" });
    await other.received(1);
    assert.deepEqual(other.errors, [], other.story());
  });

  await t.test("a client that closed can come back with the same identity", async (t) => {
    const identity = Secp256k1KeyIdentity.generate();
    for (let i = 0; i < 3; i++) {
      const client = await openStock(t, relay, "echo", Message, { identity });
      client.send({ text: `visit ${i}` });
      assert.deepEqual(await client.received(1), [{ text: `visit ${i}` }]);
      client.close();
      await client.until(10_000, "close", () => client.closed);
      assert.deepEqual(client.errors, [], client.story());
    }
  });
});
