// GET /info of the gateway that served this page: everything the page has to know.

/**
 * needed: names of the canisters that the page itself calls.
 * @returns {Promise<{gateway: string, networkUrl: string, rootKey: ArrayBuffer, relay: string, canisters: Object<string, string>}>}
 * @throws {Error} with a sentence for the visitor
 */
export async function loadInfo(needed, signal) {
  let answer;
  try {
    answer = await fetch("info", { signal, cache: "no-store" });
  } catch (error) {
    throw new Error("The gateway cannot be reached.", { cause: error });
  }
  if (!answer.ok) {
    throw new Error(`The gateway answered /info with status ${answer.status}.`);
  }
  let info;
  try {
    info = await answer.json();
  } catch (error) {
    throw new Error("The gateway's /info is not JSON.", { cause: error });
  }

  const canisters = { ...info.canisters };
  const route = (info.routes ?? []).find((r) => r.adapter === "relay");
  if (!route) {
    throw new Error('The gateway has no route with the adapter "relay".');
  }
  const relay = canisters[route.canister] ?? route.canister;
  for (const name of needed) {
    // On a network that is not embedded, canisters have no names: the page's own address may give the id (?guestbook=...).
    canisters[name] = new URLSearchParams(location.search).get(name) ?? canisters[name];
    if (!canisters[name]) {
      throw new Error(`The gateway knows no canister named "${name}". Add ?${name}=<canister id> to this page's address.`);
    }
  }
  return {
    gateway: info.gateway_principal,
    networkUrl: info.network.url,
    rootKey: bytesOfHex(info.network.root_key_hex),
    relay,
    canisters,
  };
}

/** Whether two infos describe the same canisters of the same network. An embedded network starts anew with the gateway. */
export function isSameWorld(a, b) {
  const world = (i) => JSON.stringify([i.relay, i.networkUrl, ...new Uint8Array(i.rootKey), Object.entries(i.canisters).sort()]);
  return world(a) === world(b);
}

function bytesOfHex(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16)).buffer;
}
