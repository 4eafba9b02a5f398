// Whatever is wrong: one clear sentence, nothing hangs, nobody else's session is touched.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import test from "node:test";
import { AnonymousIdentity } from "@dfinity/agent";
import { IDL } from "@dfinity/candid";
import { Secp256k1KeyIdentity } from "@dfinity/identity-secp256k1";
import { Principal } from "@dfinity/principal";
import { actor, GuestbookMessage, relayInterface, wire } from "./lib/interfaces.mjs";
import { connectRaw } from "./lib/raw.mjs";
import { FAULTY_WASM, guestbookConfig, heads, runToExit, startRelay } from "./lib/relay.mjs";
import { newStock, openStock } from "./lib/stock.mjs";
import { until } from "./lib/wait.mjs";

test("a bad configuration is refused with every problem, its key and line", async (t) => {
  const config = `[gateway]
listen = "nowhere"
colour = "blue"

[network]
url = "embedded"

[[network.canister]]
name = "guestbook"
wasm = "no-such-file.wasm"

[[network.canister]]
name = "relay"
wasm = "builtin:relay"

[[route]]
canister = "relay"
adapter = "pigeon"

[[route]]
canister = "nobody"
adapter = "relay"

  [[route.relay.call]]
  target = "guestbook"

  [[route.relay.feed]]
  target = "guestbok"
  method = "since"
`;
  const expected = {
    "gateway.listen": 2,
    "gateway.colour": 3,
    "network.canister[0].wasm": 10,
    "route[0].adapter": 18,
    "route[1].canister": 21,
    "route[1].relay.call[0].method": 24,
    "route[1].relay.feed[0].target": 28,
  };
  const { code, stderr, stdout, file } = await runToExit(t, config);
  assert.notEqual(code, 0);
  assert.equal(stdout, "", "nothing was started");
  for (const [key, line] of Object.entries(expected)) {
    const about = stderr.split("\n").filter((l) => l.includes(`${key}:`));
    assert.equal(about.length, 1, `one line about ${key}\n${stderr}`);
    assert.ok(about[0].includes(`${file}:${line}:`), `line ${line} for ${key}, not: ${about[0]}`);
  }
});

test("a file that is not TOML is refused with its line", async (t) => {
  const { code, stderr } = await runToExit(t, `[gateway]\nlisten = "127.0.0.1:0"\nidentity "x"\n`);
  assert.notEqual(code, 0);
  assert.match(stderr, /config\.toml:3: /);
});

for (const { setting, config } of [
  { setting: "network.listen", config: (taken) => guestbookConfig({ network: taken }) },
  { setting: "gateway.listen", config: (taken) => guestbookConfig({ listen: taken }) },
]) {
  test(`a taken port is named with its setting: ${setting}`, async (t) => {
    const server = createServer();
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    const taken = `127.0.0.1:${server.address().port}`;
    const { code, stderr } = await runToExit(t, config(taken));
    assert.notEqual(code, 0);
    const last = stderr.trim().split("\n").at(-1);
    assert.ok(last.includes(setting) && last.includes(taken), stderr);
  });
}

test("a client's bad frames close that client alone, with a sentence", async (t) => {
  const admin = Secp256k1KeyIdentity.generate();
  const relay = await startRelay(t, guestbookConfig({ admins: [admin.getPrincipal().toText()] }));
  const control = actor(relay, "relay", relayInterface, admin);
  const canister = relay.canister("relay");
  const witness = await openStock(t, relay, "relay", GuestbookMessage);
  let sent = 0;

  /** The other client's session is alive: it posts and gets its entry. */
  const others = async () => {
    witness.send({ author: "witness", text: `entry ${sent}`, id: [], time: [] });
    sent++;
    await witness.until(20_000, `entry ${sent - 1}`, () => witness.messages.some((m) => m.text === `entry ${sent - 1}`));
    assert.deepEqual(witness.errors, [], witness.story());
    assert.equal(witness.closed, null, witness.story());
  };

  const opened = async (client, identity) => {
    await client.open(identity, canister);
    await client.frame(1); // the OpenMessage
  };

  const cases = [
    {
      name: "a frame that is not CBOR",
      code: 4200,
      reason: /CBOR/,
      send: (client) => client.socket.send(Buffer.from("not cbor")),
    },
    {
      name: "an empty frame",
      code: 4200,
      reason: /./,
      send: (client) => client.socket.send(Buffer.alloc(0)),
    },
    {
      name: "CBOR without an envelope",
      code: 4200,
      reason: /envelope/,
      send: (client) => client.socket.send(Buffer.from("a161780a", "hex")),
    },
    {
      name: "CBOR nested ten thousand deep",
      code: 4200,
      reason: /./,
      send: (client) => client.socket.send(Buffer.alloc(10_000, 0x81)),
    },
    {
      name: "a CBOR array that claims 2^63 elements",
      code: 4200,
      reason: /./,
      send: (client) => client.socket.send(Buffer.from("9b7fffffffffffffff", "hex")),
    },
    {
      name: "a text frame",
      code: 1003,
      reason: /binary/,
      send: (client) => client.socket.send("hello"),
    },
    {
      name: "a frame of 3 MiB",
      code: 1009,
      reason: /^/, // the code says it
      send: (client) => client.socket.send(Buffer.alloc(3 << 20)),
    },
    {
      name: "an envelope for a canister without a route",
      code: 4201,
      reason: /no route to canister/,
      send: (client, identity) => client.open(identity, relay.canister("guestbook")),
    },
    {
      name: "another method than ws_open first",
      code: 4202,
      reason: /ws_open/,
      send: (client, identity) => client.message(identity, canister),
    },
    {
      name: "a ws_open for another gateway",
      code: 4202,
      reason: /gateway/,
      send: (client, identity) => client.open(identity, canister, { gateway: Principal.anonymous() }),
    },
    {
      name: "a ws_open with an argument of another type",
      code: 4200,
      reason: /ws_open/,
      send: (client, identity) => client.call(identity, canister, "ws_open", IDL.encode([IDL.Text], ["hello"])),
    },
    {
      name: "a ws_open that the canister refuses: nobody's",
      code: 4203,
      reason: /[Aa]nonymous/,
      send: (client) => client.open(new AnonymousIdentity(), canister),
    },
    {
      name: "an envelope that expired",
      code: 4202,
      reason: /expir/,
      send: (client, identity) => client.call(identity, canister, "ws_open", IDL.encode([wire.OpenArgs], [{
        client_nonce: 1n, gateway_principal: Principal.fromText(relay.info.gateway_principal),
      }]), (content) => ({ ...content, ingress_expiry: BigInt(Date.now() - 60_000) * 1_000_000n })),
    },
    {
      name: "an envelope whose signature is another's",
      code: 4202,
      reason: /sign|sender/,
      send: (client, identity) => client.call(identity, canister, "ws_open", new Uint8Array(), (content) => ({
        ...content, sender: Secp256k1KeyIdentity.generate().getPrincipal(),
      })),
    },
    {
      name: "an open client's message for another canister",
      code: 4202,
      reason: /canister/,
      send: async (client, identity) => {
        await opened(client, identity);
        await client.message(identity, relay.canister("guestbook"));
      },
    },
    {
      name: "an open client's message signed by another",
      code: 4202,
      reason: /signed/,
      send: async (client, identity) => {
        await opened(client, identity);
        await client.message(Secp256k1KeyIdentity.generate(), canister);
      },
    },
    {
      name: "an open client's call of another method",
      code: 4202,
      reason: /ws_message/,
      send: async (client, identity) => {
        await opened(client, identity);
        await client.call(identity, canister, "relay_configure", new Uint8Array());
      },
    },
    {
      name: "an open client's message far out of turn",
      code: 4103,
      reason: /sequence number/,
      send: async (client, identity) => {
        await opened(client, identity);
        await client.message(identity, canister, { sequence: 1_000_000n });
      },
    },
    {
      name: "an open client's message twice",
      code: 4103,
      reason: /sequence number/,
      send: async (client, identity) => {
        await opened(client, identity);
        await client.message(identity, canister, { sequence: 1n });
        await client.message(identity, canister, { sequence: 1n });
      },
    },
    {
      name: "an open client's message in the name of another connection",
      code: 4103,
      reason: /client/i,
      send: async (client, identity) => {
        await opened(client, identity);
        await client.message(identity, canister, { nonce: 2n });
      },
    },
    {
      name: "an open client's message with an argument of another type",
      code: 4103,
      reason: /./,
      send: async (client, identity) => {
        await opened(client, identity);
        await client.call(identity, canister, "ws_message", IDL.encode([IDL.Text], ["hello"]));
      },
    },
    {
      name: "an open client's frame that is not CBOR",
      code: 4200,
      reason: /CBOR/,
      send: async (client, identity) => {
        await opened(client, identity);
        client.socket.send(Buffer.from([0xff, 0xff]));
      },
    },
  ];
  for (const { name, code, reason, send } of cases) {
    await t.test(name, async (t) => {
      const client = await connectRaw(t, relay);
      await send(client, Secp256k1KeyIdentity.generate());
      const ended = await client.ended();
      assert.equal(ended.code, code, `${ended.code} ${ended.reason}`);
      assert.match(ended.reason, reason);
      await others();
    });
  }

  await t.test("a client key that is connected already", async (t) => {
    const identity = Secp256k1KeyIdentity.generate();
    const first = await connectRaw(t, relay);
    await opened(first, identity);
    const second = await connectRaw(t, relay);
    await second.open(identity, canister);
    const ended = await second.ended();
    assert.equal(ended.code, 4204, ended.reason);
    // The first is still served.
    const text = "from the first";
    await first.message(identity, canister, { content: new Uint8Array(IDL.encode([GuestbookMessage], [{ author: "a", text, id: [], time: [] }])) });
    await first.frame(2);
    await others();
  });

  await t.test("a client whose socket breaks is forgotten by the relay canister", async (t) => {
    const identity = Secp256k1KeyIdentity.generate();
    const client = await connectRaw(t, relay);
    await opened(client, identity);
    const listed = async () => (await control.clients()).some((key) => key.client_principal.toText() === identity.getPrincipal().toText());
    assert.ok(await listed());
    client.socket.terminate();
    await until(20_000, "the client off the list", async () => !(await listed()));
    await others();
  });

  await t.test("connections that say nothing and clients that flood do not disturb others", async (t) => {
    await Promise.all(Array.from({ length: 100 }, () => connectRaw(t, relay)));
    const identity = Secp256k1KeyIdentity.generate();
    const flood = await connectRaw(t, relay);
    await opened(flood, identity);
    const content = new Uint8Array(IDL.encode([IDL.Nat], [7n])); // nothing that the guestbook takes
    for (let i = 1n; i <= 200n; i++) await flood.message(identity, canister, { sequence: i, content });
    await others();
    assert.equal(flood.socket.readyState, flood.socket.OPEN);
  });

  await t.test("a message that the guestbook cannot take is no reason to close", async (t) => {
    const identity = Secp256k1KeyIdentity.generate();
    const client = await connectRaw(t, relay);
    await opened(client, identity);
    const texts = [IDL.encode([IDL.Nat], [7n]), new Uint8Array([1, 2, 3]), new Uint8Array()];
    for (const [i, content] of texts.entries()) {
      await client.message(identity, canister, { sequence: BigInt(i + 1), content: new Uint8Array(content) });
    }
    const good = IDL.encode([GuestbookMessage], [{ author: "a", text: "after the bad ones", id: [], time: [] }]);
    await client.message(identity, canister, { sequence: BigInt(texts.length + 1), content: new Uint8Array(good) });
    await witness.until(20_000, "the good entry", () => witness.messages.some((m) => m.text === "after the bad ones"));
    assert.equal(client.socket.readyState, client.socket.OPEN);
    await others();
  });
});

for (const { name, feed, says } of [
  { name: "does not exist", feed: ["guestbook", "nosuch"], says: /nosuch/ },
  { name: "is no query", feed: ["guestbook", "post"], says: /post/ },
  { name: "returns no vec", feed: ["faulty", "textSince"], says: /textSince.*(text|vec)/ },
  { name: "takes another argument", feed: ["faulty", "ws_get_messages"], says: /ws_get_messages/ },
  { name: "always fails", feed: ["faulty", "trapSince"], says: /trapSince.*trapped on purpose/ },
  { name: "never ends", feed: ["faulty", "endlessSince"], says: /endlessSince/ },
]) {
  test(`a feed method that ${name}: the log and the relay canister say it, the other feed works`, async (t) => {
    const admin = Secp256k1KeyIdentity.generate();
    const relay = await startRelay(t, guestbookConfig({
      canisters: { faulty: FAULTY_WASM },
      admins: [admin.getPrincipal().toText()],
      feeds: [["guestbook", "since"], feed],
    }));
    const client = await openStock(t, relay, "relay", GuestbookMessage);
    for (let i = 0; i < 3; i++) {
      client.send({ author: "ann", text: `entry ${i}`, id: [], time: [] });
      await client.received(i + 1, 20_000);
    }
    await until(20_000, () => `a line about ${feed[1]}\n${relay.logs()}`, () => relay.stderr.some((line) => says.test(line)));
    assert.deepEqual(client.messages.map((m) => m.text), ["entry 0", "entry 1", "entry 2"]);
    assert.deepEqual(client.errors, [], client.story());
    assert.equal(client.closed, null, client.story());
    const control = actor(relay, "relay", relayInterface, admin);
    const status = await until(20_000, "the relay canister's word on the feed", async () => {
      const answer = await control.relay_status();
      return answer.feeds.find((f) => f.method === feed[1]).last_error.length === 1 && answer;
    });
    assert.deepEqual(status.feeds.find((f) => f.method === "since").last_error, []);
    const about = relay.stderr.filter((line) => says.test(line));
    assert.ok(about.length < 20, `${about.length} lines about one feed in some seconds\n${relay.logs()}`);
  });
}

for (const { name, call, says } of [
  { name: "refuses", call: ["faulty", "refuse"], says: /refused on purpose/ },
  { name: "traps", call: ["faulty", "trap"], says: /trapped on purpose/ },
  { name: "does not exist", call: ["faulty", "nosuch"], says: /nosuch/ },
]) {
  test(`a call whose method ${name}: the relay canister notes it, the client stays`, async (t) => {
    const admin = Secp256k1KeyIdentity.generate();
    const relay = await startRelay(t, guestbookConfig({
      canisters: { faulty: FAULTY_WASM },
      admins: [admin.getPrincipal().toText()],
      calls: [call],
    }));
    const client = await openStock(t, relay, "relay", IDL.Text);
    for (const text of ["one", "two", "three"]) client.send(text);
    const control = actor(relay, "relay", relayInterface, admin);
    const status = await until(20_000, () => `three rejections\n${relay.logs()}`, async () => {
      const answer = await control.relay_status();
      return answer.rejections.length === 3 && answer;
    });
    for (const rejection of status.rejections) {
      assert.match(rejection.text, says);
      assert.equal(rejection.target.toText(), relay.canister("faulty"));
      assert.equal(rejection.method, call[1]);
    }
    assert.equal(status.clients, 1n);
    assert.deepEqual(client.errors, [], client.story());
    assert.equal(client.closed, null, client.story());
  });
}

test("a canister with the CDK's interface that refuses: the client knows at once, others stay", async (t) => {
  const relay = await startRelay(t, `${guestbookConfig({ canisters: { faulty: FAULTY_WASM } })}
[[route]]
canister = "faulty"
adapter = "cdk"
`);
  const other = await openStock(t, relay, "relay", GuestbookMessage);
  const refused = newStock(t, relay, "faulty", IDL.Record({ text: IDL.Text }));
  await refused.until(20_000, "close", () => refused.closed);
  assert.deepEqual(refused.closed, { code: 4203, reason: "This canister accepts no connections" });
  other.send({ author: "ann", text: "still here", id: [], time: [] });
  await other.received(1, 20_000);
  assert.deepEqual(other.errors, [], other.story());
});

test("a canister's Wasm that is none is refused by name", async (t) => {
  const { code, stderr } = await runToExit(t, `${heads({ canisters: { odd: "config.toml" } })}
[[route]]
canister = "odd"
adapter = "cdk"
`);
  assert.notEqual(code, 0);
  assert.match(stderr.trim().split("\n").at(-1), /odd/);
});
