// A client that writes its frames by hand, for frames that the stock client would never send.
import { Cbor, Expiry, makeNonce, SubmitRequestType } from "@dfinity/agent";
import { IDL } from "@dfinity/candid";
import { Principal } from "@dfinity/principal";
import { WebSocket } from "ws";
import { wire } from "./interfaces.mjs";
import { within } from "./wait.mjs";

const ANSWER_MS = 20_000;

/** Connects and waits for the gateway's handshake. The socket is closed with the test t. */
export async function connectRaw(t, relay) {
  const client = new RawClient(relay);
  t.after(() => client.socket.terminate());
  await client.frame(0);
  return client;
}

class RawClient {
  frames = []; // what the gateway sent, decoded
  #arrived = [];

  constructor(relay) {
    this.relay = relay;
    this.socket = new WebSocket(relay.webSocketUrl);
    this.socket.binaryType = "arraybuffer";
    this.closed = new Promise((resolve) => {
      this.socket.onclose = ({ code, reason }) => resolve({ code, reason });
    });
    this.socket.onerror = () => {}; // the close that follows tells more
    this.socket.onmessage = ({ data }) => {
      this.frames.push(Cbor.decode(data));
      this.#arrived.splice(0).forEach((tell) => tell());
    };
  }

  /** The n-th frame from the gateway; 0 is the handshake. */
  async frame(n) {
    while (this.frames.length <= n) {
      const arrived = new Promise((resolve) => this.#arrived.push(resolve));
      const closed = this.closed.then(({ code, reason }) => {
        throw new Error(`closed with ${code} "${reason}" before frame ${n}`);
      });
      await within(ANSWER_MS, () => `frame ${n}\n${this.relay.logs()}`, Promise.race([arrived, closed]));
    }
    return this.frames[n];
  }

  /** How the gateway closed. It must do so by itself, and soon. */
  async ended() {
    return within(ANSWER_MS, () => `close by the gateway\n${this.relay.logs()}`, this.closed);
  }

  /** Signs a call and sends it. What is not given is as a stock client would have it. */
  async call(identity, canister, methodName, arg, change = (content) => content) {
    const content = change({
      request_type: SubmitRequestType.Call,
      canister_id: Principal.fromText(canister),
      method_name: methodName,
      arg,
      sender: identity.getPrincipal(),
      ingress_expiry: new Expiry(4 * 60 * 1000),
      nonce: makeNonce(),
    });
    const signed = await identity.transformRequest({ endpoint: "call", request: { method: "POST", headers: {}, body: null }, body: content });
    this.socket.send(Cbor.encode({ envelope: signed.body }));
  }

  /** Sends ws_open. */
  async open(identity, canister, { nonce = 1n, gateway } = {}) {
    const handshake = await this.frame(0);
    await this.call(identity, canister, "ws_open", IDL.encode([wire.OpenArgs], [{
      client_nonce: nonce,
      gateway_principal: gateway ?? Principal.from(handshake.gateway_principal),
    }]));
  }

  /** Sends ws_message with this content. */
  async message(identity, canister, { nonce = 1n, sequence = 1n, content = new Uint8Array() } = {}) {
    await this.call(identity, canister, "ws_message", IDL.encode([wire.MessageArgs, IDL.Opt(IDL.Null)], [{
      msg: {
        client_key: { client_principal: identity.getPrincipal(), client_nonce: nonce },
        sequence_num: sequence,
        timestamp: BigInt(Date.now()) * 1_000_000n,
        is_service_message: false,
        content,
      },
    }, []]));
  }
}
