// The stock client, unmodified, with its events collected so that a test can wait for them.
import "./globals.mjs";
import { IcWebSocket, createWsConfig, generateRandomIdentity } from "ic-websocket-js";
import { actor, webSocketInterface } from "./interfaces.mjs";
import { within } from "./wait.mjs";

const OPEN_MS = 30_000;

/** Opens a stock client to a route of this relay and waits until it is open. It is closed with the test t. */
export async function openStock(t, relay, canister, T, options) {
  const client = newStock(t, relay, canister, T, options);
  await within(OPEN_MS, () => `open of a stock client\n${client.story()}\n${relay.logs()}`, client.opened);
  return client;
}

/** As openStock, but does not wait. */
export function newStock(t, relay, canister, T, { identity = generateRandomIdentity(), ackMessageIntervalMs } = {}) {
  const client = new StockClient(relay, canister, T, identity, ackMessageIntervalMs);
  t.after(() => client.dispose());
  return client;
}

export class StockClient {
  messages = [];
  times = []; // when they came, as performance.now() has it
  errors = [];
  closed = null; // {code, reason} once it is
  #waiters = new Set();
  #socket;

  constructor(relay, canister, T, identity, ackMessageIntervalMs) {
    this.identity = identity;
    this.#socket = new IcWebSocket(relay.webSocketUrl, undefined, createWsConfig({
      canisterId: relay.canister(canister),
      canisterActor: actor(relay, canister, webSocketInterface(T), identity),
      identity,
      networkUrl: relay.info.network.url,
      ackMessageIntervalMs,
    }));
    this.#socket.onmessage = (event) => this.#note(() => {
      this.messages.push(event.data);
      this.times.push(performance.now());
    });
    this.#socket.onerror = (event) => this.#note(() => this.errors.push(event.error));
    this.opened = new Promise((resolve, reject) => {
      this.#socket.onopen = () => resolve(this);
      this.#socket.onclose = ({ code, reason }) => {
        this.#note(() => (this.closed = { code, reason }));
        reject(new Error(`closed before it was open: ${code} ${reason}`));
      };
    });
    this.opened.catch(() => {}); // whoever waits for it sees it
  }

  get principal() {
    return this.identity.getPrincipal().toText();
  }

  send(message) {
    this.#socket.send(message);
  }

  close() {
    this.#socket.close();
  }

  /** Waits until condition() is true; it is asked after every event of this client. */
  async until(ms, what, condition) {
    let waiter;
    const promise = new Promise((resolve) => {
      waiter = () => condition() && resolve();
      this.#waiters.add(waiter);
      waiter();
    });
    try {
      await within(ms, () => `${what}\n${this.story()}`, promise);
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  /** Waits for the n-th message, and returns all. */
  async received(n, ms = 60_000) {
    await this.until(ms, `${n} messages`, () => this.messages.length >= n || this.closed);
    if (this.messages.length < n) throw new Error(`closed before message ${n}\n${this.story()}`);
    return this.messages;
  }

  /** What happened to this client, for a failure's text. */
  story() {
    const closed = this.closed ? `closed with ${this.closed.code} "${this.closed.reason}"` : "not closed";
    return `${this.principal}: ${this.messages.length} messages, ${closed}, errors: [${this.errors.map(String).join("; ")}]`;
  }

  async dispose() {
    this.#socket.close();
    // The stock client leaves its 60 s timer running when it is closed before it was open.
    this.#socket._cancelOpenTimeout();
    await this.until(10_000, "close", () => this.closed);
  }

  #note(change) {
    change();
    for (const waiter of this.#waiters) waiter();
  }
}
