// Judges what the Motoko modules make of hostile bytes: what they accept, @dfinity/candid accepts too and sees the same
// values in; what they refuse, it refuses too, unless it is one of the differences that are listed here.

import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import { createContext, Script } from "node:vm";

const require = createRequire(import.meta.url);
const { IDL, PipeArrayBuffer } = require("@dfinity/candid");

/** Refusals of bytes that @dfinity/candid accepts. */
const stricter = [
  // bounds
  /too many values for its size/,
  /nested deeper than/,
  /its types take too many bytes/,
  /more than 10000 types/,
  // @dfinity/candid does not check these; what canisters are built with does
  /a principal of more than 29 bytes/,
  /methods of a service that are not in order/,
];

/** What only @dfinity/candid refuses: types of later versions of Candid. */
const isOnlyOurs = (message) => /future value not supported/.test(message) || Number(/Illegal op_code: (-?\d+)/.exec(message)?.[1]) < -24;

// hostile bytes can keep @dfinity/candid busy for ages
const call = new Script("f()");
const sandbox = createContext({ f: undefined });
function decode(count, bytes) {
  sandbox.f = () => IDL.decode(Array(count).fill(IDL.Unknown), bytes.slice().buffer);
  try {
    return { values: call.runInContext(sandbox, { timeout: 2000 }).map(plain) };
  } catch (error) {
    return { error: String(error.message), isTimeout: error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT" };
  }
}

/** Values of unknown types come as objects, whatever they are. */
function plain(value) {
  const type = value.type();
  if (type instanceof IDL.NullClass || type instanceof IDL.ReservedClass) return null;
  return value instanceof Number || value instanceof BigInt || value instanceof String || value instanceof Boolean ? value.valueOf() : value;
}

/** @dfinity/candid takes a vec of numbers that is shorter than its length says; this finds out whether that is it. */
function isShortVec(bytes) {
  const read = PipeArrayBuffer.prototype.read;
  PipeArrayBuffer.prototype.read = function (count) {
    if (count > this.byteLength) throw new Error("too short");
    return read.call(this, count);
  };
  try {
    return decode(0, bytes).error !== undefined;
  } finally {
    PipeArrayBuffer.prototype.read = read;
  }
}

const unhex = (hex) => new Uint8Array(hex === "-" ? [] : Buffer.from(hex, "hex"));
const same = (a, b) => isDeepStrictEqual(a, b);

/**
 * `verdict` is the number of values, or what is wrong with dashes for spaces. Then come the same bytes behind a
 * principal, in the tag 5, the payload ("none" without), a page's items, or what is wrong with them.
 */
export async function judge([hex, verdict, prepended, wrapped, payload, items]) {
  const bytes = unhex(hex);
  const refusal = /^\d+$/.test(verdict) ? undefined : verdict.replaceAll("-", " ");
  if (refusal !== undefined) {
    if (stricter.some((reason) => reason.test(refusal))) return;
    const { error } = decode(0, bytes);
    if (error !== undefined) return;
    if (/it ends too early/.test(refusal) && isShortVec(bytes)) return;
    // in names of methods of a service, which @dfinity/candid does not check
    if (/a text that is not UTF 8/.test(refusal) && bytes.includes(0x69)) return;
    return `${hex} is refused (${refusal}), but @dfinity/candid takes it`;
  }

  const count = Number(verdict);
  const { values, error, isTimeout } = decode(count, bytes);
  if (isTimeout || (error !== undefined && isOnlyOurs(error))) return;
  if (error !== undefined) return `${hex} is taken, but @dfinity/candid says: ${error}`;
  const behind = decode(count + 1, unhex(prepended));
  if (!same(behind.values?.slice(1), values)) return `${hex}: ${prepended} is not the same values behind a principal: ${behind.error}`;
  const inside = decode(1, unhex(wrapped));
  const content = count === 0 ? null : count === 1 ? values[0] : values;
  if (!same(inside.values?.[0]._5_, content)) return `${hex}: ${wrapped} is not the same values in a tag: ${inside.error}`;

  const first = values[0];
  if (payload.includes(":")) {
    const [label] = Object.keys(first);
    const [tag, argument] = payload.split(":");
    if (label !== `_${tag}_`) return `${hex}: the tag is ${tag}`;
    const got = decode(1, unhex(argument));
    if (!same(got.values?.[0], first[label])) return `${hex}: ${argument} is not the payload: ${got.error}`;
  }
  if (/^(-|[0-9a-f,]*)$/.test(items)) {
    const want = [...(Array.isArray(first) || ArrayBuffer.isView(first) ? first : first._3255610368_)];
    const got = items === "-" ? [] : items.split(",");
    if (got.length !== want.length) return `${hex}: ${got.length} items`;
    for (const [i, item] of got.entries()) {
      const one = decode(1, unhex(item));
      if (!same(one.values?.[0], want[i])) return `${hex}: ${item} is not item ${i}: ${one.error}`;
    }
  }
}
