// The way to a network that is not embedded, as docs/bridge-your-canister.md has it: icp-cli deploys the relay canister.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { ChatMessage } from "./lib/interfaces.mjs";
import { exampleConfig, exampleFolder, relayBinary, replaced, ROOT, startNetwork, startRelay } from "./lib/relay.mjs";
import { openStock } from "./lib/stock.mjs";

const ICP = join(ROOT, "node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp");

const project = (network, initArgs) => `canisters:
  - name: chat
    build:
      steps:
        - type: pre-built
          path: chat.wasm
  - name: relay
    build:
      steps:
        - type: pre-built
          path: relay.wasm
${initArgs ? "    init_args:\n      path: relay.hex\n      format: hex\n" : ""}
networks:
  - name: here
    mode: connected
    url: ${network}
    root-key: fetch
environments:
  - name: here
    network: here
`;

if (!existsSync(ICP)) {
  console.log("LEFT OUT: deploying with icp-cli was not tested, because npm has it for Linux on x64 only.");
} else {
  test("the chat on a network at a URL, deployed with icp-cli", async (t) => {
    const url = (await startNetwork(t)).printed("network");
    const folder = await mkdtemp(join(tmpdir(), "relay-deploy-"));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const env = { PATH: process.env.PATH, HOME: folder, ICP_HOME: join(folder, "icp"), DO_NOT_TRACK: "1", NO_COLOR: "1" };
    const run = (program) => async (...args) => (await promisify(execFile)(program, args, { cwd: folder, env, encoding: "buffer", maxBuffer: 1 << 26 })).stdout;
    const relay = run(await relayBinary());
    const icp = run(ICP);
    const write = (name, content) => writeFile(join(folder, name), content);
    await icp("identity", "new", "tester", "--storage", "plaintext", "--output-seed", "seed");
    await icp("identity", "default", "tester");

    // 1. and 2.: the canisters, without code yet
    await copyFile(join(exampleFolder("chat"), "chat.wasm"), join(folder, "chat.wasm"));
    await write("relay.wasm", await relay("canister", "wasm", "--wasm32")); // what this network runs without a C compiler
    await write("icp.yaml", project(url, false));
    const ids = {};
    for (const name of ["chat", "relay"]) ids[name] = String(await icp("canister", "create", name, "-e", "here", "-q")).trim();

    // 3.: the example's configuration with ids instead of names
    const config = [
      [/^\[\[network\.canister\]\][^]*(?=^\[\[route\]\])/m, ""],
      [/^url = "embedded"\nlisten = .*$/m, `url = "${url}"`],
      [/^identity .*$/m, `identity = "${join(folder, "identity.pem")}"`],
      [/^canister = .*$/m, `canister = "${ids.relay}"`],
      [/^( +target +=) "chat"$/gm, `  target = "${ids.chat}"`],
    ].reduce(replaced, exampleConfig("chat"));
    await write("config.toml", config);

    // 4.: the install argument
    await relay("check");
    await write("relay.hex", await relay("canister", "config", "--format", "hex"));
    await write("icp.yaml", project(url, true));

    // 5.
    await icp("deploy", "-e", "here", "--yes");
    assert.match(String(await relay("canister", "configure", "--dry-run")), /nothing would change/);

    // 6.
    const gateway = await startRelay(t, config);
    gateway.info.canisters.relay = ids.relay; // names exist on the embedded network only
    const ann = await openStock(t, gateway, "relay", ChatMessage);
    const ben = await openStock(t, gateway, "relay", ChatMessage);
    await t.test("clients talk through it", async () => {
      ann.send({ Join: { room: "lobby", name: "Ann" } });
      await ann.received(1);
      ben.send({ Join: { room: "lobby", name: "Ben" } });
      await ben.received(1);
      ann.send({ Say: "hello" });
      const [, , heard] = await ann.received(3); // Joined, Came, Said
      assert.equal(heard.Said.line.text, "hello");
      assert.deepEqual((await ben.received(2))[1], heard);
    });

    await t.test("the route is changed while they are connected", async () => {
      await write("config.toml", replaced(config, ['"Say"', '"Shout"']));
      assert.match(String(await relay("canister", "configure")), /Shout/);
      ben.send({ Shout: "HELLO" });
      for (const client of [ann, ben]) {
        const said = (await client.received(client === ann ? 4 : 3)).at(-1);
        assert.equal(said.Said.line.text, "HELLO");
        assert.deepEqual(client.errors, [], client.story());
      }
    });

    await t.test("an upgrade of both canisters closes nobody, and takes over the configuration in its argument", async () => {
      await icp("deploy", "-e", "here", "--yes");
      ann.send({ Say: "after the upgrade" });
      for (const client of [ann, ben]) {
        const said = (await client.received(client === ann ? 5 : 4)).at(-1);
        assert.equal(said.Said.line.text, "after the upgrade");
        assert.deepEqual(client.errors, [], client.story());
        assert.equal(client.closed, null, client.story());
      }
    });

    await t.test("a controller can take the gateway's power over the relay canister, and clients go on", async () => {
      const argument = replaced(String(await relay("canister", "config")), [/admins = vec \{[^}]*\}/, "admins = vec {}"]);
      assert.match(String(await icp("canister", "call", "relay", "relay_configure", argument, "-e", "here")), /Ok/);
      await assert.rejects(relay("canister", "configure"), /admin/);
      ann.send({ Shout: "still here" });
      for (const client of [ann, ben]) {
        const said = (await client.received(client === ann ? 6 : 5)).at(-1);
        assert.equal(said.Said.line.text, "still here");
      }
    });
  });
}
