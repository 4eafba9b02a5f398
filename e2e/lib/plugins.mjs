// The example plugins with the configurations that they come with.
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { replaced, ROOT } from "./relay.mjs";

const quote = (text) => JSON.stringify(text);

/**
 * The configuration of an example, on ports of the system's choice, for a file that is somewhere else.
 * changes are [place, by] that must be there.
 */
export async function pluginConfig(name, changes = []) {
  const folder = join(ROOT, "examples/plugins", name);
  const text = [
    [/^listen .*$/m, 'listen = "127.0.0.1:0"'],
    [/^url = "embedded"$/m, 'url = "embedded"\nlisten = "127.0.0.1:0"'],
    ...changes,
  ].reduce(replaced, readFileSync(join(folder, "config.toml"), "utf8"));
  const binary = join(await binaries(), name);
  return text
    .replace(/^web .*\n/m, "")
    .replaceAll(quote(`../../../bin/${name}`), quote(binary))
    .replaceAll(/"(\.\.\/[^"]*|\w+\.(?:wasm|py))"/g, (_, path) => quote(join(folder, path)))
    .replace('"python3"', () => quote(python() ?? "python3"));
}

let built;

/** The folder of the Go plugins: RELAY_PLUGINS, or one where they are built. */
function binaries() {
  built ??= process.env.RELAY_PLUGINS ? Promise.resolve(process.env.RELAY_PLUGINS) : build();
  return built;
}

async function build() {
  const folder = mkdtempSync(join(tmpdir(), "relay-plugins-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  await promisify(execFile)("go", ["build", "-o", `${folder}/`, "./examples/plugins/..."], { cwd: ROOT });
  return folder;
}

let found;

/** A Python that has gRPC, or null. With RELAY_REQUIRE_PYTHON=1 its absence is an error. */
export function python() {
  const candidates = process.env.RELAY_PYTHON ? [process.env.RELAY_PYTHON] : ["python3", "/usr/bin/python3"];
  found ??= candidates.map(executable).find(Boolean) ?? "";
  if (!found && process.env.RELAY_REQUIRE_PYTHON === "1") {
    throw new Error("no Python with gRPC found and RELAY_REQUIRE_PYTHON=1: install Debian's python3-grpcio and python3-protobuf, or set RELAY_PYTHON");
  }
  return found || null;
}

/** The path of this Python itself, not of a script that looks for it, if it has what the gate needs. */
function executable(command) {
  try {
    const check = "import sys, grpc.aio, google.protobuf; print(sys.executable)";
    return execFileSync(command, ["-c", check], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return null;
  }
}
