// Runs the unit tests of the Motoko modules: compiles each test/*.mo to a program and runs it here. The programs print
// a line for each check. Lines "examine" carry values that are checked here with the libraries that clients use.
//
//   node canister/test.mjs [beginning of a name ...]

import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRequire } from "node:module";
import { compile, compiler } from "./build.mjs";
import { vectors } from "./test/vectors.mjs";

const require = createRequire(import.meta.url);
const { Cbor, LookupStatus, lookup_path, reconstruct } = require("@dfinity/agent");

const folder = "canister/test";
const bytes = (hex) => new Uint8Array(hex === "-" ? [] : Buffer.from(hex, "hex"));
const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

/** The checks behind Check.examine: each returns what is wrong, or nothing. */
const examine = {
  async sha256([input, hash]) {
    if (createHash("sha256").update(bytes(input)).digest("hex") !== hash) return `of ${input}: got ${hash}`;
  },

  async witness([root, witness, ...leaves]) {
    const tree = Cbor.decode(bytes(witness));
    if (!same(await reconstruct(tree), bytes(root))) return "the root hash differs";
    for (let i = 0; i < leaves.length; i += 2) {
      const found = lookup_path(["websocket", leaves[i]], tree);
      if (found.status !== LookupStatus.Found) return `${leaves[i]}: ${found.status}`;
      if (!same(found.value, bytes(leaves[i + 1]))) return `${leaves[i]}: another value`;
    }
  },

  async message([encoded, principal, number, isService, content]) {
    const m = Cbor.decode(bytes(encoded));
    if (!same(m.client_key.client_principal, bytes(principal))) return "client_principal";
    for (const n of [m.client_key.client_nonce, m.sequence_num, m.timestamp]) {
      if (BigInt(n) !== BigInt(number)) return `number ${n}, want ${number}`;
    }
    if (m.is_service_message !== (isService === "true")) return "is_service_message";
    if (!same(m.content, bytes(content))) return "content";
  },

  ...vectors.examine,
};

async function run(motoko, name) {
  const path = `${folder}/${name}.mo`;
  const { output, trap } = await execute(compile(motoko, path, { mode: "wasi", strict: false }).wasm);
  let checks = 0;
  let failures = 0;
  const fail = (text) => {
    failures += 1;
    console.error(`${name}: ${text}`);
  };
  for (const line of output.split("\n")) {
    const [word, what, ...values] = line.split(" ");
    if (word === "ok" || word === "FAIL" || word === "examine") checks += 1;
    if (word === "FAIL") fail(line);
    if (word === "examine") {
      const wrong = await examine[what](values).catch((error) => error.message);
      if (wrong) fail(`${what}: ${wrong}`);
    }
  }
  if (trap) fail(`${trap.message}\n${output.split("\n").slice(-4).join("\n")}`);
  if (checks === 0) fail("no checks");
  return { checks, failures };
}

/** Runs a program whose only import is fd_write. */
async function execute(wasm) {
  const chunks = [];
  let instance;
  const fd_write = (_fd, vectors, count, written) => {
    const view = new DataView((instance.exports.mem ?? instance.exports.memory).buffer);
    let total = 0;
    for (let i = 0; i < count; i++) {
      const at = view.getUint32(vectors + 8 * i, true);
      const size = view.getUint32(vectors + 8 * i + 4, true);
      chunks.push(Buffer.from(view.buffer.slice(at, at + size)));
      total += size;
    }
    view.setUint32(written, total, true);
    return 0;
  };
  ({ instance } = await WebAssembly.instantiate(wasm, { wasi_snapshot_preview1: { fd_write } }));
  let trap;
  try {
    instance.exports._start();
  } catch (error) {
    trap = error;
  }
  return { output: Buffer.concat(chunks).toString("utf8"), trap };
}

const root = dirname(fileURLToPath(import.meta.url));
const wanted = process.argv.slice(2);
const names = readdirSync(join(root, "test"))
  .filter((file) => /^[a-z].*\.mo$/.test(file))
  .map((file) => file.slice(0, -".mo".length))
  .filter((name) => wanted.length === 0 || wanted.some((word) => name.startsWith(word)));

const motoko = compiler(["canister/src", folder]);
for (const [file, source] of Object.entries(vectors.sources)) motoko.write(`${folder}/${file}`, source);
let checks = 0;
let failures = 0;
for (const name of names) {
  // an error's stack would show the compiler's minified source
  const result = await run(motoko, name).catch((error) => {
    console.error(`${name}: ${error.message}`);
    return { checks: 0, failures: 1 };
  });
  checks += result.checks;
  failures += result.failures;
}
console.log(`Motoko unit tests: ${names.length} files, ${checks} checks, ${failures} failures`);
process.exitCode = failures > 0 || names.length === 0 ? 1 : 0;
