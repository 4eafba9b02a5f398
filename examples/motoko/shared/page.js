// What the pages of the examples have in common: a live connection, its state in the header, errors, and the facts below.
import { HttpAgent } from "@dfinity/agent";
import { visitorIdentity } from "./identity.js";
import { isSameWorld, loadInfo } from "./info.js";
import { Live } from "./live.js";
import { relayActor } from "./relay.js";

export const $ = (id) => document.getElementById(id);

/**
 * A page of an example, connected with open(). It is made of
 * - name: of the example
 * - T: the application's message type, in Candid
 * - needed: names of the canisters that the page itself calls
 * and of functions, all but message optional:
 * - message(m): a verified message
 * - meet(world, isNew): before every attempt to connect; world is {info, agent}, and new when the network has started anew
 * - live(): the connection is there
 * - state(name): "connecting", "live" or "closed"
 */
export class Page {
  #name;
  #T;
  #needed;
  #on;
  #live;
  #identity;
  #world = null;
  #countdown;

  constructor({ name, T, needed = [], message, meet = () => {}, live = () => {}, state = () => {} }) {
    this.#name = name;
    this.#T = T;
    this.#needed = needed;
    this.#on = { meet, live, state };
    this.#identity = visitorIdentity(`${name}.identity`);
    this.#live = new Live((signal) => this.#connectTo(signal), {
      state: (state) => this.#showState(state),
      message,
      error: (text) => this.error(text, "live"),
    });
    $("reconnect").addEventListener("click", () => this.open());
    $("alert-dismiss").addEventListener("click", hideError);
    addEventListener("online", () => this.open());
    addEventListener("error", (event) => this.error(`Something went wrong on this page: ${event.message}`));
    // The stock client asks the network for its root key on its own and lets a failure go: it ends up here.
    addEventListener("unhandledrejection", (event) => this.error(`Something went wrong: ${firstLine(event.reason)}`, "live"));
    addEventListener("pagehide", () => this.#live.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  open() {
    this.#live.open();
  }

  /** Throws where there is no connection. */
  send(message) {
    if (!this.#live.isLive) throw new Error("there is no live connection at the moment.");
    this.#live.send(message);
  }

  /** Shows an error until it is dismissed, or, if it is about the connection, until there is one again. */
  error(text, until = "dismissed") {
    console.error(text);
    $("alert").dataset.until = until;
    $("alert-text").textContent = text;
    $("alert").hidden = false;
  }

  async #connectTo(signal) {
    const info = await loadInfo(this.#needed, signal);
    const isNew = !this.#world || !isSameWorld(this.#world.info, info);
    if (isNew) {
      // The agent checks every answer against the network's root key, which /info names.
      const agent = HttpAgent.createSync({ host: info.networkUrl, rootKey: info.rootKey });
      this.#world = { info, agent, relay: relayActor(this.#T, agent, info.relay) };
    }
    const world = this.#world;
    this.#showFacts(info);
    await this.#on.meet(world, isNew);
    const url = new URL("./", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = url.hash = "";
    return {
      url: url.href,
      config: { canisterId: info.relay, canisterActor: world.relay, identity: this.#identity, networkUrl: info.networkUrl },
    };
  }

  #showState({ name, reason = "", retryAt }) {
    $("connection").dataset.state = name;
    $("state").textContent = name;
    $("reconnect").hidden = name !== "closed";
    clearInterval(this.#countdown);
    const place = $("reason");
    place.hidden = name !== "closed";
    if (name === "closed") {
      const tell = () => {
        const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
        place.textContent = `${sentence(reason)} ${retryAt ? `Trying again in ${seconds} s.` : "Trying again by itself would not help."}`;
      };
      tell();
      if (retryAt) this.#countdown = setInterval(tell, 1000);
    }
    if (name === "live" && $("alert").dataset.until === "live") hideError();
    this.#on.state(name);
    if (name === "live") this.#on.live();
  }

  #showFacts(info) {
    const own = info.canisters[this.#name];
    const facts = [
      ...(own ? [[`${this.#name} canister`, own]] : []),
      ["relay canister", info.relay],
      ["gateway principal", info.gateway],
      ["you", this.#identity.getPrincipal().toText()],
      ["network", info.networkUrl],
    ];
    $("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
  }
}

function hideError() {
  $("alert").hidden = true;
}

export function element(tag, className, text = "") {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.textContent = text; // never HTML: it may be strangers' words
  return e;
}

/** A round picture of somebody: the first letter on a colour that the name decides. */
export function faceOf(name) {
  const face = element("span", "face", [...name.trim()][0]?.toUpperCase() ?? "?");
  face.ariaHidden = "true";
  let hue = 0;
  for (const c of name) hue = (hue * 31 + c.codePointAt(0)) % 360;
  face.style.setProperty("--hue", hue);
  return face;
}

export const firstLine = (error) => String(error?.message ?? error).split("\n")[0];

/** A reason as a sentence of its own: the gateway gives them without. */
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** What the browser ("localStorage") or this tab ("sessionStorage") has kept; "" if nothing. Storage may be switched off. */
export function stored(key, storage = "localStorage") {
  try {
    return globalThis[storage].getItem(key) ?? "";
  } catch {
    return "";
  }
}

export function store(key, value, storage = "localStorage") {
  try {
    globalThis[storage].setItem(key, value);
  } catch {
    // it is asked for again next time
  }
}
