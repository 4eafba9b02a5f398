// Candid test vectors made with @dfinity/candid: random types and values, the same in every run. What the Motoko
// modules make of them comes back to `examine` and is decoded with the types that it must have.

import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import { judge } from "./mutations.mjs";

const require = createRequire(import.meta.url);
const { IDL, idlLabelToId } = require("@dfinity/candid");
const { Principal } = require("@dfinity/principal");

const pageCount = 300;
const tupleCount = 300;
// more of them, and others, for a longer look
const mutationCount = Number(process.env.CANDID_MUTATIONS ?? 3000);
const mutationSeed = Number(process.env.CANDID_SEED ?? 1);

/** mulberry32 */
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = generator(7);
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];
const bits = (n) => BigInt.asUintN(n, (BigInt(below(2 ** 32)) << 32n) | BigInt(below(2 ** 32)));
const times = (n, make) => Array.from({ length: n }, (_, i) => make(i));
const letters = [..."abcdefghijklmnopqrstuvwxyzäπ漢🙂_0123 "];
const word = () => times(1 + below(8), () => pick(letters)).join("");
// numbers are written like this for @dfinity/candid
const number = () => `_${pick([below(4), below(200), 2 ** 32 - 1 - below(3)])}_`;
const label = () => (below(6) === 0 ? number() : word());
const text = () => times(below(20), () => pick(["a", "ä", "漢", "🙂", " ", "\0", "\u{10ffff}"])).join("");
const principal = () => Principal.fromUint8Array(Uint8Array.from(times(below(30), () => below(256))));

const primitives = [
  [IDL.Null, () => null],
  [IDL.Bool, () => below(2) === 1],
  [IDL.Text, text],
  [IDL.Text, text],
  [IDL.Nat, () => bits(64) ** BigInt(below(4))],
  [IDL.Int, () => (below(2) ? 1n : -1n) * bits(64) ** BigInt(below(4))],
  [IDL.Int, () => BigInt(below(300) - 150)],
  [IDL.Nat8, () => below(256)],
  [IDL.Nat16, () => below(65536)],
  [IDL.Nat32, () => below(2 ** 32)],
  [IDL.Nat64, () => bits(64)],
  [IDL.Int8, () => below(256) - 128],
  [IDL.Int16, () => below(65536) - 32768],
  [IDL.Int32, () => below(2 ** 32) - 2 ** 31],
  [IDL.Int64, () => BigInt.asIntN(64, bits(64))],
  [IDL.Float32, () => below(1000) / 4],
  [IDL.Float64, () => pick([random(), -random() * 1e300, NaN, Infinity])],
  [IDL.Reserved, () => null],
  [IDL.Principal, principal],
  [IDL.Opt(IDL.Empty), () => []],
  [IDL.Vec(IDL.Empty), () => []],
  [IDL.Vec(IDL.Nat8), () => Uint8Array.from(times(below(40), () => below(256)))],
  [IDL.Vec(IDL.Null), () => times(below(10), () => null)],
  [IDL.Func([IDL.Text, IDL.Opt(IDL.Nat)], [IDL.Bool], ["query"]), () => [principal(), word()]],
  [IDL.Func([IDL.Record({ a: IDL.Vec(IDL.Nat) })], [], ["oneway"]), () => [Principal.fromText("aaaaa-aa"), ""]],
  [IDL.Service({ go: IDL.Func([], [IDL.Nat], []), "漢": IDL.Func([], [], ["composite_query"]), a: IDL.Func([], [], []) }), principal],
  [IDL.Service({}), principal],
];

const fieldsOf = (n, depth) => Object.fromEntries(times(n, () => [label(), type(depth)]));
const types = (fields) => Object.fromEntries(Object.entries(fields).map(([name, [t]]) => [name, t]));
const values = (fields) => Object.fromEntries(Object.entries(fields).map(([name, [, value]]) => [name, value()]));

/** The constructors of types; each gives a type with a generator of its values. */
const constructors = [
  function opt(depth) {
    const [t, value] = type(depth);
    return [IDL.Opt(t), () => (below(2) ? [] : [value()])];
  },
  function vec(depth) {
    const [t, value] = type(depth);
    return [IDL.Vec(t), () => times(below(5), value)];
  },
  function record(depth) {
    const fields = fieldsOf(below(6), depth);
    return [IDL.Record(types(fields)), () => values(fields)];
  },
  function variant(depth) {
    const tags = fieldsOf(1 + below(6), depth);
    const of = { ...types(tags), ...(below(4) ? {} : { never: IDL.Empty }) };
    return [
      IDL.Variant(of),
      () => {
        const name = pick(Object.keys(tags));
        return { [name]: tags[name][1]() };
      },
    ];
  },
  function tuple(depth) {
    const parts = times(1 + below(4), () => type(depth));
    return [IDL.Tuple(...parts.map(([t]) => t)), () => parts.map(([, value]) => value())];
  },
  function list(depth) {
    const [t, value] = type(depth);
    const self = IDL.Rec();
    self.fill(IDL.Opt(IDL.Record({ head: t, tail: self })));
    const make = (n) => (n === 0 ? [] : [{ head: value(), tail: make(n - 1) }]);
    return [self, () => make(below(6))];
  },
  function tree(depth) {
    const [t, value] = type(depth);
    const self = IDL.Rec();
    self.fill(IDL.Variant({ leaf: t, node: IDL.Vec(self), none: IDL.Null }));
    const make = (n) => (n === 0 ? pick([{ none: null }, { leaf: value() }]) : { node: times(below(3), () => make(n - 1)) });
    return [self, () => make(below(4))];
  },
  function mutual(depth) {
    const [t, value] = type(depth);
    const even = IDL.Rec();
    const odd = IDL.Rec();
    even.fill(IDL.Record({ value: t, rest: IDL.Opt(odd) }));
    odd.fill(IDL.Tuple(IDL.Nat16, IDL.Vec(even)));
    const makeEven = (n) => ({ value: value(), rest: n === 0 ? [] : [makeOdd(n - 1)] });
    const makeOdd = (n) => [n, times(n === 0 ? 0 : 1 + below(2), () => makeEven(n - 1))];
    return [even, () => makeEven(below(4))];
  },
  // more types than a type number of one byte can tell apart
  function wide(depth) {
    const fields = Object.fromEntries(times(70, (i) => [`f${i}`, [IDL.Opt(IDL.Record({ [`g${i}`]: IDL.Nat8 })), () => pick([[], [{ [`g${i}`]: i }]])]]));
    fields.last = type(depth);
    return [IDL.Record(types(fields)), () => values(fields)];
  },
];

/** A random type with a generator of its values. */
function type(depth) {
  if (depth === 0 || below(5) === 0) return pick(primitives);
  // the wide one is seldom wanted
  const constructor = below(40) === 0 ? constructors.at(-1) : pick(constructors.slice(0, -1));
  return constructor(depth - 1);
}

/** Names of tags, and what @dfinity/candid calls them. */
const tag = () => pick([word(), word(), "0", "7", "4294967295", "4294967296", "007"]);
const labelOf = (name) => (/^(0|[1-9][0-9]*)$/.test(name) && Number(name) < 2 ** 32 ? `_${name}_` : name);

const cursors = [
  [IDL.Nat, () => pick([0n, 1n, 127n, 128n, bits(64), 2n ** 64n - 1n])],
  [IDL.Nat8, () => below(256)],
  [IDL.Nat16, () => below(65536)],
  [IDL.Nat32, () => below(2 ** 32)],
  [IDL.Nat64, () => pick([bits(64), 2n ** 64n - 1n])],
];

const pages = times(pageCount, () => {
  let [t, value] = type(4);
  let recipient = null;
  if (below(3) === 0) {
    recipient = pick([word(), "0", "to"]);
    const fields = { ...fieldsOf(below(5), 3), [labelOf(recipient)]: pick([[IDL.Principal, principal], [IDL.Opt(IDL.Principal), () => pick([[], [principal()]])]]) };
    [t, value] = [IDL.Record(types(fields)), () => values(fields)];
  }
  const items = times(below(6), value);
  const extra = times(below(3), () => type(2));
  const page = { t, recipient, tag: below(2) ? tag() : null };
  let [first, firstValue] = [IDL.Vec(t), items];
  if (below(2)) {
    const [cursor, next] = pick(cursors);
    const others = fieldsOf(below(3), 2);
    page.next = next();
    first = IDL.Record({ ...types(others), items: first, next: cursor });
    firstValue = { ...values(others), items, next: page.next };
  }
  page.first = first;
  page.bytes = new Uint8Array(IDL.encode([first, ...extra.map(([x]) => x)], [firstValue, ...extra.map(([, x]) => x())]));
  return page;
});

const tuples = times(tupleCount, (i) => {
  const parts = times(i % 5, () => type(4));
  if (parts.length > 0 && below(2)) parts[0] = constructors.find(({ name }) => name === "variant")(3);
  const of = parts.map(([t]) => t);
  return { of, tag: tag(), bytes: new Uint8Array(IDL.encode(of, parts.map(([, value]) => value()))) };
});

const literal = (bytes) => `"${[...bytes].map((b) => "\\" + b.toString(16).padStart(2, "0")).join("")}"`;
const textLiteral = (text) => JSON.stringify(text);
const optional = (text) => (text === null ? "null" : `?${textLiteral(text)}`);

const unhex = (hex) => new Uint8Array(hex === "-" ? [] : Buffer.from(hex, "hex"));
const decode = (of, hex) => IDL.decode(of, unhex(hex).buffer);
const plain = (t) => (t instanceof IDL.RecClass ? t.getType() : t);

/** What is wrong with bytes that must decode to these values of these types. */
function differs(hex, of, want) {
  const got = decode(of, hex);
  return isDeepStrictEqual(got, want) ? undefined : `${hex} is not what it must be`;
}

export const vectors = {
  sources: {
    "CandidVectors.mo": `module {
  public let pages : [(Blob, ?Text, ?Text)] = [\n${pages.map((p) => `(${literal(p.bytes)}, ${optional(p.tag)}, ${optional(p.recipient)})`).join(",\n")}\n];
  public let tuples : [(Blob, Text)] = [\n${tuples.map((p) => `(${literal(p.bytes)}, ${textLiteral(p.tag)})`).join(",\n")}\n];
  public let mutations = ${mutationCount};
  public let seed : Nat64 = ${mutationSeed};
};\n`,
  },
  examine: {
    /** A page: `next` or "-", and for each item the recipient or "*" and the content. */
    async page([index, next, ...found]) {
      const { t, first, bytes, recipient, tag, ...page } = pages[Number(index)];
      const [value] = IDL.decode([first], bytes.buffer);
      if (next !== String(page.next ?? "-")) return `${index}: next is ${next}, want ${page.next}`;
      const items = [...("next" in page ? value.items : value)];
      if (found.length !== 2 * items.length) return `${index}: ${found.length / 2} items, want ${items.length}`;
      for (const [i, item] of items.entries()) {
        const [to, content] = found.slice(2 * i);
        const wrapped = tag === null ? [[t], [item]] : [[IDL.Variant({ [labelOf(tag)]: t })], [{ [labelOf(tag)]: item }]];
        const wrong = differs(content, ...wrapped);
        if (wrong) return `${index}: item ${i}: ${wrong}`;
        const client = recipient === null ? [] : [item[labelOf(recipient)]].flat();
        if (to !== (client.length === 0 ? "*" : client[0].toText())) return `${index}: item ${i} is for ${to}`;
      }
    },

    /** Arguments: their number, them behind a principal, them in a tag, and the first one's tag and payload. */
    async tuple([index, count, client, prepended, wrapped, tagNumber, payload]) {
      const { of, tag, bytes } = tuples[Number(index)];
      if (Number(count) !== of.length) return `${index}: ${count} values`;
      const want = IDL.decode(of, bytes.buffer);
      const label = labelOf(tag);
      const [t, value] = want.length === 0 ? [IDL.Null, null] : want.length === 1 ? [of[0], want[0]] : [IDL.Tuple(...of), want];
      const wrong =
        differs(prepended, [IDL.Principal, ...of], [Principal.fromText(client), ...want]) ??
        differs(wrapped, [IDL.Variant({ [label]: t })], [{ [label]: value }]);
      if (wrong) return `${index}: ${wrong}`;
      if (of.length === 0) return tagNumber === "refused" ? undefined : `${index}: a payload`;
      const variant = plain(of[0]);
      if (!(variant instanceof IDL.VariantClass)) return tagNumber === "none" ? undefined : `${index}: a payload`;
      const [name] = Object.keys(want[0]);
      if (Number(tagNumber) !== idlLabelToId(name)) return `${index}: the tag of ${name} is ${tagNumber}`;
      const [, payloadType] = variant._fields.find(([key]) => key === name);
      return differs(payload, [payloadType], [want[0][name]]);
    },

    async client([hex, client, nonce]) {
      return differs(hex, [IDL.Principal, IDL.Nat64], [Principal.fromText(client), BigInt(nonce)]);
    },

    async nat([hex, value]) {
      return differs(hex, [IDL.Nat], [BigInt(value)]);
    },

    /** The tag and the text come as hex of their UTF-8. */
    async variantText([hex, tag, text]) {
      const [name, value] = [tag, text].map((x) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(unhex(x)));
      return differs(hex, [IDL.Variant({ [labelOf(name)]: IDL.Text })], [{ [labelOf(name)]: value }]);
    },

    mutated: judge,
  },
};
