// GET /info of the gateway that served this page: everything the page has to know.

/**
 * @returns {Promise<{gateway: string, networkUrl: string, rootKey: ArrayBuffer, guestbook: string, relay: string}>}
 * @throws {Error} with a sentence for the visitor
 */
export async function loadInfo(signal) {
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

  const canisters = info.canisters ?? {};
  const route = (info.routes ?? []).find((r) => r.adapter === "relay");
  if (!route) {
    throw new Error('The gateway has no route with the adapter "relay".');
  }
  // On a network that is not embedded, canisters have no names: the page's own address may give the id (?guestbook=...).
  const guestbook = new URLSearchParams(location.search).get("guestbook") ?? canisters.guestbook;
  if (!guestbook) {
    throw new Error('The gateway knows no canister named "guestbook". Add ?guestbook=<canister id> to this page\'s address.');
  }
  return {
    gateway: info.gateway_principal,
    networkUrl: info.network.url,
    rootKey: bytesOfHex(info.network.root_key_hex),
    guestbook,
    relay: canisters[route.canister] ?? route.canister,
  };
}

/** Whether two infos describe the same canisters of the same network. An embedded network starts anew with the gateway. */
export function isSameWorld(a, b) {
  const world = (i) => [i.guestbook, i.relay, i.networkUrl, ...new Uint8Array(i.rootKey)].join(" ");
  return world(a) === world(b);
}

function bytesOfHex(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16)).buffer;
}
