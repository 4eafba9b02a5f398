// Makes and checks the vectors of this folder; see README.md.
"use strict";
const { IDL } = require("@dfinity/candid");
const { Principal } = require("@dfinity/principal");
const { Cbor, Expiry, requestIdOf, fromHex } = require("@dfinity/agent");

// The decoder turns large integers into objects that the hash function does not know.
const bigints = (v) => v?._isBigNumber ? BigInt(v.toFixed())
  : Array.isArray(v) ? v.map(bigints)
  : v && Object.getPrototypeOf(v) === Object.prototype ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, bigints(x)]))
  : v;
const decode = (b) => bigints(Cbor.decode(b));
const hex = (b) => Buffer.from(b).toString("hex");
const p = (text) => Principal.fromText(text);
const blob = (n) => Uint8Array.from({ length: n }, (_, i) => (i * 7) & 255);

const gateway = p("sqdfl-mr4km-2hfjy-gajqo-xqvh7-hf4mf-nra4i-3it6l-neaw4-soolw-tae");
const client = Principal.fromHex("0102030405060708090a");
const clientKey = { client_principal: client, client_nonce: 18446744073709551615n };
const content = blob(300);
const message = { client_key: clientKey, sequence_num: 7n, timestamp: 1700000000123456789n, is_service_message: false, content };

const ClientKey = IDL.Record({ client_principal: IDL.Principal, client_nonce: IDL.Nat64 });
const Message = IDL.Record({
  client_key: ClientKey, sequence_num: IDL.Nat64, timestamp: IDL.Nat64, is_service_message: IDL.Bool,
  content: IDL.Vec(IDL.Nat8),
});
const OpenArgs = IDL.Record({ client_nonce: IDL.Nat64, gateway_principal: IDL.Principal });
const CloseArgs = IDL.Record({ client_key: ClientKey });
const MessageArgs = IDL.Record({ msg: Message });
const GetMessagesArgs = IDL.Record({ nonce: IDL.Nat64 });
const Result = IDL.Variant({ Ok: IDL.Null, Err: IDL.Text });
const Output = IDL.Record({ client_key: ClientKey, key: IDL.Text, content: IDL.Vec(IDL.Nat8) });
const batchFields = { messages: IDL.Vec(Output), cert: IDL.Vec(IDL.Nat8), tree: IDL.Vec(IDL.Nat8) };
const Batch = IDL.Record({ ...batchFields, is_end_of_queue: IDL.Bool });
const BatchResult = IDL.Variant({ Ok: Batch, Err: IDL.Text });
const Service = IDL.Variant({
  OpenMessage: IDL.Record({ client_key: ClientKey }),
  AckMessage: IDL.Record({ last_incoming_sequence_num: IDL.Nat64 }),
  KeepAliveMessage: IDL.Record({ last_incoming_sequence_num: IDL.Nat64 }),
  CloseMessage: IDL.Record({ reason: IDL.Variant({
    WrongSequenceNumber: IDL.Null, InvalidServiceMessage: IDL.Null, KeepAliveTimeout: IDL.Null, ClosedByApplication: IDL.Null,
  }) }),
});

const key = (n) => gateway.toText() + "_" + String(n).padStart(20, "0");
const batch = {
  messages: [0, 1].map((n) => ({ client_key: clientKey, key: key(n), content: blob(40 + n) })),
  cert: blob(1000), tree: blob(200), is_end_of_queue: false,
};
const { is_end_of_queue: _, ...oldBatch } = batch;

const zooTypes = {
  null: IDL.Null, bool: IDL.Bool, nat: IDL.Nat, int: IDL.Int, nat8: IDL.Nat8, nat16: IDL.Nat16, nat32: IDL.Nat32, nat64: IDL.Nat64,
  int8: IDL.Int8, int16: IDL.Int16, int32: IDL.Int32, int64: IDL.Int64, float32: IDL.Float32, float64: IDL.Float64, text: IDL.Text,
  reserved: IDL.Reserved, principal: IDL.Principal, opt: IDL.Opt(IDL.Opt(IDL.Nat8)), vec: IDL.Vec(IDL.Nat16), blob: IDL.Vec(IDL.Nat8),
  tuple: IDL.Tuple(IDL.Text, IDL.Bool), variant: IDL.Variant({ red: IDL.Null, green: IDL.Int }),
};
const zoo = {
  null: null, bool: true, nat: 2n ** 100n, int: -(2n ** 100n), nat8: 255, nat16: 65535, nat32: 4294967295, nat64: 2n ** 64n - 1n,
  int8: -128, int16: -32768, int32: -2147483648, int64: -(2n ** 63n), float32: 0.5, float64: -1e300, text: "t",
  reserved: null, principal: gateway, opt: [[3]], vec: [1, 2, 3], blob: [1, 2, 3], tuple: ["z", false], variant: { green: -3n },
};

const candid = {
  open_args: [[OpenArgs], [{ client_nonce: 42n, gateway_principal: gateway }]],
  open_args_extra_fields: [
    [IDL.Record({ a: IDL.Opt(IDL.Text), client_nonce: IDL.Nat64, gateway_principal: IDL.Principal, zzz: IDL.Vec(IDL.Record({ x: IDL.Int, y: IDL.Float64 })) })],
    [{ a: ["hello"], client_nonce: 42n, gateway_principal: gateway, zzz: [{ x: -5n, y: 1.5 }, { x: 10n ** 30n, y: 2 }] }]],
  close_args: [[CloseArgs], [{ client_key: clientKey }]],
  message_args: [[MessageArgs, IDL.Opt(IDL.Null)], [{ msg: message }, []]],
  message_args_one: [[MessageArgs], [{ msg: message }]],
  message_args_typed: [
    [MessageArgs, IDL.Opt(IDL.Variant({ A: IDL.Record({ text: IDL.Text, f: IDL.Func([], [], ["query"]) }), B: IDL.Null }))],
    [{ msg: message }, [{ A: { text: "abc", f: [client, "method"] } }]]],
  get_messages_args: [[GetMessagesArgs], [{ nonce: 99n }]],
  result_ok: [[Result], [{ Ok: null }]],
  result_err: [[Result], [{ Err: "Client with key … doesn't have an open connection" }]],
  result_ok_record: [[IDL.Variant({ Ok: IDL.Record({ id: IDL.Nat }), Err: IDL.Text })], [{ Ok: { id: 5n } }]],
  result_three_tags: [[IDL.Variant({ Aaa: IDL.Null, Err: IDL.Text, Ok: IDL.Nat })], [{ Err: "no" }]],
  batch: [[BatchResult], [{ Ok: batch }]],
  batch_without_end: [[IDL.Variant({ Ok: IDL.Record(batchFields), Err: IDL.Text })], [{ Ok: oldBatch }]],
  batch_opt_end: [[IDL.Variant({ Ok: IDL.Record({ ...batchFields, is_end_of_queue: IDL.Opt(IDL.Bool) }), Err: IDL.Text })], [{ Ok: { ...oldBatch, is_end_of_queue: [false] } }]],
  batch_empty: [[BatchResult], [{ Ok: { messages: [], cert: [], tree: [], is_end_of_queue: true } }]],
  batch_err: [[BatchResult], [{ Err: "not now" }]],
  service_open: [[Service], [{ OpenMessage: { client_key: clientKey } }]],
  service_ack: [[Service], [{ AckMessage: { last_incoming_sequence_num: 12n } }]],
  service_keep_alive: [[Service], [{ KeepAliveMessage: { last_incoming_sequence_num: 13n } }]],
  service_close_wrong: [[Service], [{ CloseMessage: { reason: { WrongSequenceNumber: null } } }]],
  service_close_invalid: [[Service], [{ CloseMessage: { reason: { InvalidServiceMessage: null } } }]],
  service_close_timeout: [[Service], [{ CloseMessage: { reason: { KeepAliveTimeout: null } } }]],
  service_close_application: [[Service], [{ CloseMessage: { reason: { ClosedByApplication: null } } }]],
  nat: [[IDL.Nat], [300n]],
  nat_large: [[IDL.Nat], [2n ** 64n]],
  text: [[IDL.Text], ["Grüße, 世界"]],
  vec_records: [[IDL.Vec(IDL.Record({ a: IDL.Text, b: IDL.Opt(IDL.Nat) }))], [[{ a: "x", b: [] }, { a: "y", b: [7n] }, { a: "", b: [] }]]],
  zoo: [[IDL.Record(zooTypes)], [zoo]],
  zoo_with_references: [
    [IDL.Record({ ...zooTypes, func: IDL.Func([IDL.Text], [IDL.Nat], ["query"]), service: IDL.Service({ f: IDL.Func([], [], []) }) })],
    [{ ...zoo, func: [client, "go"], service: client }]],
};

const websocketMessage = {
  client_key: { client_principal: client.toUint8Array(), client_nonce: clientKey.client_nonce },
  sequence_num: 7n, timestamp: 1700000000123456789n, is_service_message: false, content,
};
const cbor = {
  handshake: { gateway_principal: gateway.toUint8Array() },
  output_frame: { key: key(3), content, cert: blob(1000), tree: blob(200) },
  websocket_message: websocketMessage,
};

function vectors() {
  const out = { candid: {}, cbor: {}, principals: {} };
  for (const [name, [types, values]] of Object.entries(candid)) out.candid[name] = hex(IDL.encode(types, values));
  for (const [name, value] of Object.entries(cbor)) out.cbor[name] = hex(Cbor.encode(value));
  for (const raw of ["", "04", "abcd01", "00000000000000010101", "00000000002000000101", "0102030405060708", hex(gateway.toUint8Array())]) {
    out.principals[raw] = Principal.fromHex(raw).toText();
  }
  return out;
}

async function envelopes() {
  const { Ed25519KeyIdentity, DelegationChain, DelegationIdentity, ECDSAKeyIdentity } = require("@dfinity/identity");
  const { Secp256k1KeyIdentity } = require("@dfinity/identity-secp256k1");
  globalThis.WebSocket ??= { OPEN: 1 };
  const { WsAgent } = require("ic-websocket-js/lib/cjs/agent");

  const canister = p("bkyz2-fmaaa-aaaaa-qaaaq-cai");
  const seed = (n) => Uint8Array.from({ length: 32 }, (_, i) => i + n);
  const ed25519 = Ed25519KeyIdentity.generate(seed(1));
  const secp256k1 = Secp256k1KeyIdentity.fromSecretKey(seed(40));
  const p256 = await ECDSAKeyIdentity.generate();
  const session = Ed25519KeyIdentity.generate(seed(80));
  const far = new Date("2100-01-01T00:00:00Z");
  const toSession = await DelegationChain.create(ed25519, session.getPublicKey(), far, { targets: [canister, client] });
  const toMiddle = await DelegationChain.create(p256, secp256k1.getPublicKey(), far);
  const chain = await DelegationChain.create(secp256k1, session.getPublicKey(), far, { previous: toMiddle, targets: [canister] });
  const identities = {
    ed25519, secp256k1, p256,
    delegated: DelegationIdentity.fromDelegation(session, toSession),
    chain: DelegationIdentity.fromDelegation(session, chain),
  };
  const arg = IDL.encode([OpenArgs], [{ client_nonce: 42n, gateway_principal: gateway }]);

  const out = [];
  for (const [name, identity] of Object.entries(identities)) {
    let frame;
    const ws = { readyState: 1, send: (b) => { frame = b; } };
    await new WsAgent({ identity, httpAgent: {}, ws }).call(canister, { methodName: "ws_open", arg });
    const content = decode(frame).envelope.content;
    out.push({ name, frame: hex(frame), request_id: hex(requestIdOf(content)), sender: identity.getPrincipal().toText(), kind: "call" });
  }
  // What the agent itself posts: without a frame around the envelope.
  for (const [name, body] of Object.entries({
    query: { request_type: "query", canister_id: canister, method_name: "since", arg, sender: ed25519.getPrincipal(), ingress_expiry: new Expiry(240_000) },
    read_state: { request_type: "read_state", paths: [[new TextEncoder().encode("time")], [new TextEncoder().encode("request_status"), blob(32)]], sender: ed25519.getPrincipal(), ingress_expiry: new Expiry(240_000) },
    bignum: { request_type: "call", canister_id: canister, method_name: "post", arg, sender: ed25519.getPrincipal(), ingress_expiry: 1700000000000000000n },
    extra: { request_type: "call", canister_id: canister, method_name: "post", arg, sender: ed25519.getPrincipal(), ingress_expiry: 1700000000000000000n, sender_info: { info: blob(5), signer: canister, sig: blob(9), more: [1, 2, "three"] } },
  })) {
    const { body: envelope } = await ed25519.transformRequest({ request: { body: null, method: "POST", headers: {} }, endpoint: "call", body });
    out.push({ name, envelope: hex(Cbor.encode(envelope)), request_id: hex(requestIdOf(body)), sender: ed25519.getPrincipal().toText(), kind: body.request_type });
  }
  return out;
}

const sorted = (v) => Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)));
const plain = (v) => JSON.stringify(v, (_, x) =>
  x && Object.getPrototypeOf(x) === Object.prototype ? sorted(x) : typeof x === "bigint" || typeof x === "number" ? x.toString() : x?._isPrincipal ? x.toText() : x instanceof Uint8Array || x instanceof ArrayBuffer ? hex(x) : x);

function check(file) {
  const ours = JSON.parse(require("fs").readFileSync(file));
  let bad = 0;
  const same = (name, got, want) => {
    if (plain(got) !== plain(want)) { console.error(name, "\n got ", plain(got), "\n want", plain(want)); bad++; }
  };
  for (const [name, raw] of Object.entries(ours.candid)) {
    const [types, values] = candid[name];
    same(name, IDL.decode(types, fromHex(raw)), values.map((v) => IDL.decode(types, IDL.encode(types, values))[values.indexOf(v)]));
  }
  for (const [name, raw] of Object.entries(ours.cbor)) same(name, decode(fromHex(raw)), decode(Cbor.encode(cbor[name])));
  for (const e of ours.envelopes) same(e.name, hex(requestIdOf(decode(fromHex(e.envelope)).content)), e.request_id);
  if (bad) process.exit(1);
  console.log("all accepted");
}

const json = (v) => console.log(JSON.stringify(v, null, 1));
const command = process.argv[2];
if (command === "vectors") json(vectors());
else if (command === "envelopes") envelopes().then(json);
else if (command === "check") check(process.argv[3]);
else throw new Error("usage: vectors.cjs vectors | envelopes | check <file>");
