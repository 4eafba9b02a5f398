// Starts the relay under test as its own process, from a configuration in a folder of its own.
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { until, within } from "./wait.mjs";

/** The project's root folder. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const GUESTBOOK_WASM = join(ROOT, "examples/motoko/guestbook/guestbook.wasm");

/** Canisters for these tests: one with the CDK's interface that echoes, one whose methods all fail. */
export const ECHO_WASM = process.env.ECHO_WASM ?? join(ROOT, "e2e/canisters/echo/echo.wasm");
export const FAULTY_WASM = join(ROOT, "e2e/canisters/faulty/faulty.wasm");
/** One that writes down what it is told, and by which client. */
export const DIARY_WASM = join(ROOT, "e2e/canisters/diary/diary.wasm");
/** One that records who called it. */
export const TARGET_WASM = join(ROOT, "e2e/canisters/target/target.wasm");

const START_MS = 60_000; // compiling the canisters' Wasm takes a while on a slow machine
const STOP_MS = 20_000;

let binary;

/** The path of the relay binary: RELAY_BIN, or one built here. */
export function relayBinary() {
  binary ??= process.env.RELAY_BIN ? Promise.resolve(process.env.RELAY_BIN) : build();
  return binary;
}

async function build() {
  const folder = await mkdtemp(join(tmpdir(), "relay-bin-"));
  process.on("exit", () => execFile("rm", ["-rf", folder]));
  const path = join(folder, "relay");
  await promisify(execFile)("go", ["build", "-o", path, "./cmd/relay"], { cwd: ROOT });
  return path;
}

/**
 * The guestbook behind the relay canister, as config.toml has it, or with other calls and feeds: [canister, method].
 * guestbook is its name; canisters are more of them, name -> path of the Wasm.
 */
export function guestbookConfig({ listen, network, web, guestbook = "guestbook", canisters = {}, admins = [], calls, feeds, route = "" } = {}) {
  const each = (kind, list) => list.map(([target, method]) =>
    `[[route.relay.${kind}]]\ntarget = ${quote(target)}\nmethod = ${quote(method)}\n`).join("\n");
  const wasm = { [guestbook]: GUESTBOOK_WASM, relay: "builtin:relay", ...canisters };
  return `${heads({ listen, network, web, canisters: wasm })}
[[route]]
canister = "relay"
adapter = "relay"

[route.relay]
admins = [${admins.map(quote).join(", ")}]
${route}
${each("call", calls ?? [[guestbook, "post"]])}
${each("feed", feeds ?? [[guestbook, "since"]])}`;
}

/**
 * The beginning of every configuration here: ports of the system's choice, identity beside the configuration, and the
 * canisters to install (name -> path of the Wasm). The routes follow.
 */
export function heads({ listen = "127.0.0.1:0", network = "127.0.0.1:0", web, canisters = {} } = {}) {
  return `[gateway]
listen = ${quote(listen)}
identity = "identity.pem"
${web ? `web = ${quote(web)}` : ""}

[network]
url = "embedded"
listen = ${quote(network)}

${Object.entries(canisters).map(([name, wasm]) => `[[network.canister]]\nname = ${quote(name)}\nwasm = ${quote(wasm)}\n`).join("\n")}`;
}

const quote = (text) => JSON.stringify(text);

/** The folder of an example. */
export const exampleFolder = (name) => join(ROOT, "examples/motoko", name);

/** The configuration that an example comes with, on ports of the system's choice. change(text) may change it further. */
export function exampleConfig(name, { listen = "127.0.0.1:0", network = "127.0.0.1:0", change = (text) => text } = {}) {
  const folder = exampleFolder(name);
  return [
    [/^listen .*$/m, `listen = ${quote(listen)}`],
    [/^url = "embedded"$/m, `url = "embedded"\nlisten = ${quote(network)}`],
    [/^web .*$/m, `web = ${quote(join(folder, "web/dist"))}`],
    [`"${name}.wasm"`, quote(join(folder, `${name}.wasm`))],
  ].reduce(replaced, change(readFileSync(join(folder, "config.toml"), "utf8")));
}

/** The text with one place changed, which must be there. */
export function replaced(text, [place, by]) {
  const result = text.replace(place, () => by);
  if (result === text) throw new Error(`nothing to replace: ${place}`);
  return result;
}

/**
 * Starts relay with this configuration and waits until clients can connect. It ends with the test (or suite) t.
 * @returns {Promise<Relay>}
 */
export async function startRelay(t, config) {
  const relay = await Relay.spawn(config);
  t.after(() => relay.dispose());
  await relay.ready();
  return relay;
}

/**
 * Starts an embedded network alone, with the canisters of this configuration or without any. Its address is what it
 * printed as "network". It ends with the test t.
 */
export async function startNetwork(t, config = `${heads()}\n[[route]]\ncanister = "*"\nadapter = "cdk"\n`) {
  const relay = await Relay.spawn(config, ["network"]);
  t.after(() => relay.dispose());
  const canisters = config.match(/^\[\[network\.canister\]\]/gm)?.length ?? 0;
  const started = () => relay.printed("network") && Object.keys(relay.printedCanisters).length === canisters;
  await until(START_MS, () => `the network's lines\n${relay.logs()}`, started, 20);
  return relay;
}

/** Runs relay with a configuration that should make it exit by itself. */
export async function runToExit(t, config, ms = START_MS) {
  const relay = await Relay.spawn(config);
  t.after(() => relay.dispose());
  const code = await within(ms, () => `exit of relay\n${relay.logs()}`, relay.exited);
  return { code, stdout: relay.stdout.join("\n"), stderr: relay.stderr.join("\n"), file: relay.file };
}

class Relay {
  stdout = [];
  stderr = [];
  #process;
  #folder;
  #disposed = false;

  static async spawn(config, command = []) {
    const relay = new Relay();
    relay.#folder = await mkdtemp(join(tmpdir(), "relay-e2e-"));
    relay.file = join(relay.#folder, "config.toml");
    await writeFile(relay.file, config);
    relay.#process = spawn(await relayBinary(), [...command, "--config", relay.file], {
      cwd: relay.#folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of ["stdout", "stderr"]) {
      createInterface({ input: relay.#process[stream] }).on("line", (line) => relay[stream].push(line));
    }
    // "close" comes when the streams have ended too, so that the last lines are there.
    relay.exited = new Promise((resolve, reject) => {
      relay.#process.once("error", reject);
      relay.#process.once("close", (code, signal) => resolve(code ?? signal));
    });
    relay.exited.catch(() => {}); // whoever waits for it sees it
    return relay;
  }

  /** Waits for what relay prints, then for /health, then reads /info. */
  async ready() {
    let gone;
    this.exited.then((code) => (gone = code), (error) => (gone = error));
    const alive = (what) => {
      if (gone !== undefined) throw new Error(`relay ended (${gone}) before ${what}\n${this.logs()}`);
    };
    await until(START_MS, () => `the page's line\n${this.logs()}`, () => {
      alive("it printed its page's address");
      return this.printed("page");
    }, 20);
    this.url = this.printed("page");
    await until(START_MS, () => `GET /health\n${this.logs()}`, async () => {
      alive("it was healthy");
      return (await fetch(new URL("health", this.url)).catch(() => ({}))).ok;
    }, 50);
    this.info = await (await fetch(new URL("info", this.url))).json();
  }

  /** The value of a printed line "<key>  <value>". */
  printed(key) {
    const line = this.stdout.find((l) => l.split(/\s+/)[0] === key);
    return line?.slice(key.length).trim();
  }

  /** The canisters that it printed: name -> principal. */
  get printedCanisters() {
    const lines = this.stdout.map((l) => l.split(/\s+/)).filter(([key]) => key === "canister");
    return Object.fromEntries(lines.map(([, name, id]) => [name, id]));
  }

  get webSocketUrl() {
    return this.url.replace(/^http/, "ws");
  }

  get rootKey() {
    return Uint8Array.from(Buffer.from(this.info.network.root_key_hex, "hex")).buffer;
  }

  /** The principal of a canister, by name; of one that a route names, as /info says. */
  canister(name) {
    const id = this.info.canisters[name];
    if (!id) throw new Error(`/info names no canister ${name}: ${JSON.stringify(this.info)}`);
    return id;
  }

  logs() {
    return ["stdout:", ...this.stdout, "stderr:", ...this.stderr].join("\n");
  }

  /** Writes another configuration and has it read. */
  async reload(config) {
    await writeFile(this.file, config);
    this.#process.kill("SIGHUP");
  }

  /** Asks relay to stop, and returns its exit code. */
  async stop(signal = "SIGTERM") {
    this.#process.kill(signal);
    return within(STOP_MS, () => `exit after ${signal}\n${this.logs()}`, this.exited);
  }

  /** Ends what is left. A relay that does not stop when asked, or not with code 0, is a failure. */
  async dispose() {
    if (this.#disposed) return;
    this.#disposed = true;
    try {
      if (this.#process.exitCode === null && this.#process.signalCode === null) {
        const code = await this.stop();
        if (code !== 0) throw new Error(`relay stopped with ${code}\n${this.logs()}`);
      }
    } finally {
      this.#process.kill("SIGKILL"); // nothing happens if it has ended
      await rm(this.#folder, { recursive: true, force: true });
    }
  }
}
