// What lies between a client and a gateway, and can be cut.
import { connect, createServer } from "node:net";

/** A relay as clients see it through a cable of its own. It ends with the test t. */
export async function throughCable(t, relay) {
  const { hostname, port } = new URL(relay.url);
  const pairs = new Set();
  const server = createServer((client) => {
    const gateway = connect(Number(port), hostname);
    const pair = { client, gateway };
    pairs.add(pair);
    for (const [from, to] of [[client, gateway], [gateway, client]]) {
      from.on("error", () => {});
      from.on("data", (data) => to.write(data));
      from.on("close", () => pair.isDead || to.destroy());
    }
    client.on("close", () => pairs.delete(pair));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const dead = [];
  t.after(async () => {
    for (const { client, gateway } of [...pairs, ...dead]) {
      client.destroy();
      gateway.destroy();
    }
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    webSocketUrl: `ws://127.0.0.1:${server.address().port}/`,
    info: relay.info,
    rootKey: relay.rootKey,
    canister: (name) => relay.canister(name),
    logs: () => relay.logs(),

    /** Both ends notice. */
    cut() {
      for (const { client, gateway } of pairs) {
        gateway.resetAndDestroy();
        client.resetAndDestroy();
      }
    },

    /** Only the client notices. The gateway's end stays open, and nothing comes through any more. */
    loseClient() {
      for (const pair of pairs) {
        pair.isDead = true;
        dead.push(pair);
        pair.gateway.removeAllListeners("data");
        pair.gateway.resume();
        pair.client.resetAndDestroy();
      }
    },
  };
}
