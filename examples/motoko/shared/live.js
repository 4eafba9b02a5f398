// One live connection at a time: the stock client, opened again with growing pauses when it closes.
import { IcWebSocket, createWsConfig } from "ic-websocket-js";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

// Codes that the gateway gives when trying again in the same way would fail in the same way.
const isFinal = (code) => code >= 4200 && code < 4300;

/**
 * Keeps a connection. Events, all functions:
 * - state({name: "connecting" | "live" | "closed", reason, retryAt}): what to show; retryAt is a time in ms, if there is one
 * - message(m): a verified application message
 * - error(text): something the visitor should read
 */
export class Live {
  #connectTo; // async (signal) -> {url, config}, asked before every attempt
  #events;
  #socket = null;
  #attempt = null; // AbortController of the attempt under way
  #timer = null;
  #pause = FIRST_PAUSE_MS;

  constructor(connectTo, events) {
    this.#connectTo = connectTo;
    this.#events = events;
  }

  get isLive() {
    return this.#socket?.isConnectionEstablished() ?? false;
  }

  /** Opens a connection now, unless there is one or one is being opened. */
  async open() {
    if (this.#attempt || this.#socket) return;
    clearTimeout(this.#timer);
    this.#events.state({ name: "connecting" });
    const attempt = new AbortController();
    this.#attempt = attempt;
    try {
      const { url, config } = await this.#connectTo(attempt.signal);
      if (!attempt.signal.aborted) this.#bind(new IcWebSocket(url, undefined, createWsConfig(config)));
    } catch (error) {
      if (!attempt.signal.aborted) this.#closed(error.message, true);
    } finally {
      if (this.#attempt === attempt) this.#attempt = null;
    }
  }

  send(message) {
    this.#socket.send(message);
  }

  /** Closes, and stays closed until open() is called. */
  close() {
    clearTimeout(this.#timer);
    this.#attempt?.abort();
    this.#attempt = null;
    const socket = this.#socket;
    this.#socket = null; // its events are nobody's business from here on
    socket?.close();
  }

  #bind(socket) {
    this.#socket = socket;
    const current = (handle) => (event) => {
      if (socket === this.#socket) handle(event);
    };
    socket.onopen = current(() => {
      this.#pause = FIRST_PAUSE_MS;
      this.#events.state({ name: "live" });
    });
    socket.onmessage = current((event) => this.#events.message(event.data));
    socket.onerror = current((event) => {
      const text = event.error?.message ?? "";
      // A socket's own error says nothing ("[object Event]"); the close that follows it says more.
      if (!text.startsWith("WebSocket error")) this.#events.error(text);
    });
    socket.onclose = current((event) => {
      this.#socket = null;
      this.#closed(event.reason || reasonOf(event.code), !isFinal(event.code));
    });
  }

  #closed(reason, mayRetry) {
    if (!mayRetry) {
      this.#events.state({ name: "closed", reason });
      return;
    }
    const pause = this.#pause * (0.75 + Math.random() / 2); // so that not all windows come back in the same moment
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS);
    this.#events.state({ name: "closed", reason, retryAt: Date.now() + pause });
    this.#timer = setTimeout(() => this.open(), pause);
  }
}

function reasonOf(code) {
  switch (code) {
    case 1000:
      return "The connection was closed.";
    case 1001:
      return "The gateway is stopping.";
    case 1006:
      return "The connection to the gateway was lost.";
    case 1013:
      return "The gateway is busy.";
    default:
      return `The connection was closed with code ${code}.`;
  }
}
