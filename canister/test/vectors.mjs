// Candid test vectors made with @dfinity/candid: random types and values, the same in every run.

import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";

const require = createRequire(import.meta.url);
const { IDL } = require("@dfinity/candid");
const { Principal } = require("@dfinity/principal");

const count = 400;

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
const bits = (n) => BigInt.asUintN(n, (BigInt(below(2 ** 32)) << 32n) | BigInt(below(2 ** 32)));
const times = (n, make) => Array.from({ length: n }, (_, i) => make(i));
const word = () => times(1 + below(8), () => "abcdefghijklmnopqrstuvwxyzäπ🙂_0123"[below(26)]).join("");

const primitives = [
  [IDL.Null, () => null],
  [IDL.Bool, () => below(2) === 1],
  [IDL.Text, () => times(below(20), () => ["a", "ä", "漢", "🙂", " "][below(5)]).join("")],
  [IDL.Nat, () => bits(64) ** BigInt(below(4))],
  [IDL.Int, () => (below(2) ? 1n : -1n) * bits(64) ** BigInt(below(4))],
  [IDL.Nat8, () => below(256)],
  [IDL.Nat16, () => below(65536)],
  [IDL.Nat32, () => below(2 ** 32)],
  [IDL.Nat64, () => bits(64)],
  [IDL.Int8, () => below(256) - 128],
  [IDL.Int16, () => below(65536) - 32768],
  [IDL.Int32, () => below(2 ** 32) - 2 ** 31],
  [IDL.Int64, () => BigInt.asIntN(64, bits(64))],
  [IDL.Float32, () => below(1000) / 4],
  [IDL.Float64, () => random()],
  [IDL.Reserved, () => null],
  [IDL.Principal, () => Principal.fromUint8Array(Uint8Array.from(times(below(30), () => below(256))))],
  [IDL.Func([IDL.Text, IDL.Opt(IDL.Nat)], [IDL.Bool], ["query"]), () => [Principal.fromText("aaaaa-aa"), word()]],
  [IDL.Service({ go: IDL.Func([], [IDL.Nat], []) }), () => Principal.fromText("aaaaa-aa")],
];

/** A random type with a generator of its values. */
function type(depth) {
  const kind = depth === 0 ? 0 : below(8);
  if (kind === 1) {
    const [t, value] = type(depth - 1);
    return [IDL.Opt(t), () => (below(2) ? [] : [value()])];
  }
  if (kind === 2) {
    const [t, value] = type(depth - 1);
    return [IDL.Vec(t), () => times(below(5), value)];
  }
  if (kind === 3 || kind === 4) {
    const fields = Object.fromEntries(times(below(6), () => [word(), type(depth - 1)]));
    const of = (pick) => Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, pick(field)]));
    return [IDL.Record(of(([t]) => t)), () => of(([, value]) => value())];
  }
  if (kind === 5) {
    const tags = Object.entries(Object.fromEntries(times(1 + below(6), () => [word(), type(depth - 1)])));
    return [
      IDL.Variant(Object.fromEntries(tags.map(([name, [t]]) => [name, t]))),
      () => {
        const [name, [, value]] = tags[below(tags.length)];
        return { [name]: value() };
      },
    ];
  }
  if (kind === 6) {
    const parts = times(1 + below(4), () => type(depth - 1));
    return [IDL.Tuple(...parts.map(([t]) => t)), () => parts.map(([, value]) => value())];
  }
  if (kind === 7) {
    const [t, value] = type(depth - 1);
    const list = IDL.Rec();
    list.fill(IDL.Opt(IDL.Record({ head: t, tail: list })));
    const make = (n) => (n === 0 ? [] : [{ head: value(), tail: make(n - 1) }]);
    return [list, () => make(below(6))];
  }
  return primitives[below(primitives.length)];
}

const splits = times(count, () => {
  const [t, value] = type(4);
  const extra = times(below(3), () => type(2));
  const values = times(below(6), value);
  const bytes = IDL.encode([IDL.Vec(t), ...extra.map(([x]) => x)], [values, ...extra.map(([, x]) => x())]);
  return { t, bytes: new Uint8Array(bytes) };
});

const literal = (bytes) => `"${[...bytes].map((b) => "\\" + b.toString(16).padStart(2, "0")).join("")}"`;

export const vectors = {
  sources: {
    "CandidVectors.mo": `module { public let splits : [Blob] = [\n${splits.map(({ bytes }) => literal(bytes)).join(",\n")}\n] };\n`,
  },
  examine: {
    /** The parts of vector `index` must be argument tuples of one element each. */
    async split([index, ...items]) {
      const { t, bytes } = splits[Number(index)];
      const [want] = IDL.decode([IDL.Vec(t)], bytes.buffer);
      if (items.length !== want.length) return `${index}: ${items.length} parts, want ${want.length}`;
      for (const [i, item] of items.entries()) {
        const got = IDL.decode([t], new Uint8Array(Buffer.from(item, "hex")).buffer);
        if (!isDeepStrictEqual(got, [want[i]])) return `${index}: part ${i} differs`;
      }
    },
  },
};
