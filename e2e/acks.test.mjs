// Acknowledgements and keep-alives, with intervals short enough to watch.
import assert from "node:assert/strict";
import test from "node:test";
import { Cbor } from "@dfinity/agent";
import { IDL } from "@dfinity/candid";
import { Secp256k1KeyIdentity } from "@dfinity/identity-secp256k1";
import { actor, GuestbookMessage, relayInterface } from "./lib/interfaces.mjs";
import { connectRaw } from "./lib/raw.mjs";
import { FAULTY_WASM, guestbookConfig, startRelay } from "./lib/relay.mjs";
import { openStock } from "./lib/stock.mjs";
import { until } from "./lib/wait.mjs";

const Service = IDL.Variant({
  OpenMessage: IDL.Record({}),
  AckMessage: IDL.Record({ last_incoming_sequence_num: IDL.Nat64 }),
  KeepAliveMessage: IDL.Record({ last_incoming_sequence_num: IDL.Nat64 }),
  CloseMessage: IDL.Record({ reason: IDL.Variant({
    WrongSequenceNumber: IDL.Null, InvalidServiceMessage: IDL.Null, KeepAliveTimeout: IDL.Null, ClosedByApplication: IDL.Null,
  }) }),
});

test("clients that answer acknowledgements stay, one that does not is removed", async (t) => {
  const admin = Secp256k1KeyIdentity.generate();
  const relay = await startRelay(t, guestbookConfig({
    admins: [admin.getPrincipal().toText()],
    route: 'ack_interval = "2s"\nkeep_alive_timeout = "1500ms"\n',
  }));
  const control = actor(relay, "relay", relayInterface, admin);
  const stock = await openStock(t, relay, "relay", GuestbookMessage, { ackMessageIntervalMs: 2000 });
  const identity = Secp256k1KeyIdentity.generate();
  const silent = await connectRaw(t, relay);
  await silent.open(identity, relay.canister("relay"));

  const kinds = [];
  for (let n = 1; kinds.at(-1) !== "CloseMessage"; n++) {
    const message = Cbor.decode((await silent.frame(n)).content);
    assert.equal(BigInt(message.sequence_num), BigInt(n));
    assert.equal(message.is_service_message, true);
    const [service] = IDL.decode([Service], message.content);
    const [kind] = Object.keys(service);
    kinds.push(kind);
    if (kind === "CloseMessage") assert.deepEqual(service.CloseMessage.reason, { KeepAliveTimeout: null });
  }
  assert.deepEqual(kinds, ["OpenMessage", "AckMessage", "CloseMessage"]);
  await until(10_000, "the silent client off the list", async () => (await control.clients()).length === 1);

  // The stock client goes on through several rounds, idle and busy.
  for (let i = 0; i < 4; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    stock.send({ author: "ann", text: `after round ${i}`, id: [], time: [] });
    await stock.received(i + 1, 10_000);
  }
  assert.deepEqual(stock.errors, [], stock.story());
  assert.equal(stock.closed, null, stock.story());
  assert.deepEqual((await control.clients()).map((key) => key.client_principal.toText()), [stock.principal]);
});

test("a message of a megabyte arrives", async (t) => {
  const relay = await startRelay(t, guestbookConfig({
    canisters: { faulty: FAULTY_WASM },
    calls: [["faulty", "accept"]],
  }));
  const counter = actor(relay, "faulty", () => IDL.Service({ count: IDL.Func([], [IDL.Nat], ["query"]) }));
  const client = await openStock(t, relay, "relay", IDL.Text);
  for (const letter of ["a", "b", "c"]) client.send(letter.repeat(1 << 20));
  await until(30_000, "three messages", async () => (await counter.count()) === 3n);
  assert.deepEqual(client.errors, [], client.story());
  assert.equal(client.closed, null, client.story());
});
