// Builds every canister of this repository with the npm package `motoko`.
//
//   node canister/build.mjs           writes the .wasm and .did files
//   node canister/build.mjs --check   compares instead, and fails when a committed file is not what its sources give
//
// The output depends only on the sources and on the version of `motoko`, which package.json pins.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const script = fileURLToPath(import.meta.url);
const root = dirname(dirname(script));

/**
 * source: the actor; out: where .wasm and .did go, without the extension; deployed: as the compiler builds by default, for
 * the Internet Computer, and without a .did of its own. All others are for the embedded network.
 */
export const canisters = [
  { source: "canister/src/Main.mo", out: "canister/relay" },
  { source: "canister/src/Main.mo", out: "canister/relay64", deployed: true },
  { source: "examples/motoko/guestbook/guestbook.mo", out: "examples/motoko/guestbook/guestbook" },
  { source: "examples/motoko/chat/chat.mo", out: "examples/motoko/chat/chat" },
  { source: "examples/motoko/ticker/ticker.mo", out: "examples/motoko/ticker/ticker" },
  { source: "examples/plugins/gate/token.mo", out: "examples/plugins/gate/token" },
  { source: "e2e/canisters/diary/diary.mo", out: "e2e/canisters/diary/diary" },
  { source: "e2e/canisters/echo/echo.mo", out: "e2e/canisters/echo/echo" },
  { source: "e2e/canisters/faulty/faulty.mo", out: "e2e/canisters/faulty/faulty" },
  { source: "e2e/canisters/target/target.mo", out: "e2e/canisters/target/target" },
  { source: "localnet/testdata/tester/tester.mo", out: "localnet/testdata/tester/tester" },
];

/** The compiler with mo:core and all Motoko files of `folders` (paths relative to the root) loaded. */
export function compiler(folders, { deployed = false } = {}) {
  const motoko = require("motoko").default ?? require("motoko");
  motoko.loadPackage(require("motoko/packages/latest/core.json"));
  // By default the compiler emits wasm64 with enhanced orthogonal persistence, and the incremental garbage collector. The
  // embedded network runs 32-bit memories in every build, and so gets wasm32 with classical persistence.
  if (!deployed) motoko.compiler.gcFlags("classicOP");
  motoko.setPublicMetadata(["candid:service", "candid:args"]);
  for (const folder of folders) {
    for (const name of readdirSync(join(root, folder))) {
      if (name.endsWith(".mo")) motoko.write(`${folder}/${name}`, readFileSync(join(root, folder, name), "utf8"));
    }
  }
  return motoko;
}

/** Compiles one file; mode "ic" for an actor, "wasi" for a program. Throws all errors, and warnings where `strict`. */
export function compile(motoko, source, { mode = "ic", strict = true } = {}) {
  const { code, diagnostics } = motoko.compiler.compileWasm(mode, source);
  const problems = (diagnostics ?? []).filter(({ severity }) => strict || severity === 1);
  if (!code || problems.length > 0) {
    throw new Error(
      problems.map(({ source: file, range, message }) => `${file}:${range.start.line + 1}:${range.start.character + 1}: ${message}`).join("\n"),
    );
  }
  return code;
}

/** The files that one canister consists of. */
function build({ source, deployed }) {
  const motoko = compiler([...new Set(["canister/src", dirname(source)])], { deployed });
  const { wasm } = compile(motoko, source);
  if (deployed) return { wasm: Buffer.from(wasm) };
  // with the sources' comments, unlike the text inside the module
  const did = motoko.candid(source).trimEnd() + "\n";
  return { wasm: Buffer.from(wasm), did: Buffer.from(did) };
}

// Each canister is compiled in a process of its own: the compiler numbers what it compiles, and a second module in the
// same process would depend on the first. As many compile at a time as there are processors.
async function main(args) {
  const only = args.indexOf("--only");
  if (only >= 0) {
    try {
      return buildOne(args[only + 1], args.includes("--check"));
    } catch (error) {
      // its stack would show the compiler's minified source
      console.error(error.message);
      return 1;
    }
  }
  const check = args.includes("--check");
  const waiting = canisters.map(({ out }) => out);
  const stale = [];
  const work = async () => {
    for (let out; (out = waiting.shift()); ) {
      const [code] = await once(spawn(process.execPath, [script, "--only", out, ...args], { stdio: "inherit" }), "close");
      if (code !== 0) stale.push(out);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  if (stale.length > 0) {
    console.error(check ? 'Run "make canister" and commit the result.' : `Not built: ${stale.join(", ")}`);
    return 1;
  }
  if (check) console.log(`${canisters.length} modules are what their sources give`);
  return 0;
}

function buildOne(name, check) {
  const stale = [];
  for (const [extension, content] of Object.entries(build(canisters.find(({ out }) => out === name)))) {
    const file = join(root, `${name}.${extension}`);
    if (!check) {
      writeFileSync(file, content);
      console.log(`${relative(root, file)}: ${content.length} bytes`);
    } else if (!committed(file)?.equals(content)) stale.push(relative(root, file));
  }
  if (stale.length === 0) return 0;
  console.error(`Not what the sources give: ${stale.join(", ")}`);
  return 1;
}

function committed(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

if (process.argv[1] === script) process.exitCode = await main(process.argv.slice(2));
