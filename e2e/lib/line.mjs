// What lies between a gateway and its network. Every call takes a random time there and back, so that calls under way
// together overtake one another, and now and then a request or an answer is lost with its connection. It notes what it
// sees of each client's messages.
import { Agent, createServer, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Cbor } from "@dfinity/agent";
import { IDL } from "@dfinity/candid";
import { Principal } from "@dfinity/principal";
import { wire } from "./interfaces.mjs";
import { random } from "./random.mjs";

/** One in so many calls, each. */
const LOST_REQUESTS = 1 / 150;
const LOST_ANSWERS = 1 / 75;

/** Most take up to 30 ms each way, one in twenty up to 300 ms. */
export const usualDelay = ({ chance, between }) => between(0, chance(1 / 20) ? 300 : 30);

/** A line to the network at this URL. It ends with the test t. */
export async function startLine(t, network, seed) {
  const line = new Line(network, random(seed));
  t.after(() => line.stop());
  await line.listen();
  return line;
}

class Line {
  delay = usualDelay;
  #network;
  #random;
  #server = createServer((request, response) => this.#pass(request, response).catch(() => response.destroy()));
  #agent = new Agent({ keepAlive: true });
  #clients = new Map();

  constructor(network, random) {
    this.#network = network;
    this.#random = random;
  }

  async listen() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
  }

  stop() {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  async #pass(request, response) {
    const body = await read(request);
    if (!request.url.endsWith("/call")) return answer(response, await this.#ask(request, body));

    const { content } = Cbor.decode(body);
    const message = content.method_name === "ws_message" ? this.#message(content) : undefined;
    message?.arrived(body.length);
    // As on a replica: a stock client fetches the root key meanwhile.
    await sleep(this.delay(this.#random) + (content.method_name === "ws_open" ? 1000 : 0));
    if (this.#random.chance(LOST_REQUESTS)) return lose(response, message);
    message?.leaves();
    const reply = await this.#ask(request, body);
    if (reply.status === 200) message?.executed(reply.body);
    await sleep(this.delay(this.#random));
    if (this.#random.chance(LOST_ANSWERS)) return lose(response, message);
    if (reply.status === 200) message?.answered();
    answer(response, reply);
  }

  #ask({ method, url, headers }, body) {
    return new Promise((resolve, reject) => {
      const options = { method, agent: this.#agent, headers: { ...headers, "content-length": body.length } };
      httpRequest(new URL(url, this.#network), options, (reply) => {
        read(reply).then((bytes) => resolve({ status: reply.statusCode, headers: reply.headers, body: bytes }), reject);
      }).on("error", reject).end(body);
    });
  }

  #message({ arg, sender }) {
    const [{ msg }] = IDL.decode([wire.MessageArgs], arg);
    return this.client(Principal.from(sender).toText()).message(Number(msg.sequence_num));
  }

  /** What was seen of a client, by its principal. */
  client(principal) {
    if (!this.#clients.has(principal)) this.#clients.set(principal, new Seen());
    return this.#clients.get(principal);
  }
}

/** What the line has seen of one client's messages. */
class Seen {
  messages = 0;
  /** How many were passed on after a later one had been executed. */
  overtaken = 0;
  lost = 0;
  /** Answers that say that a message came out of turn. */
  outOfTurn = 0;
  /** The most that came before the oldest was answered, that one included: messages, bytes of them. */
  ahead = 0;
  bytesAhead = 0;
  /** Milliseconds from a message's first arrival to its answer. */
  times = [];
  #all = [];
  #oldest = 1; // that is not answered
  #executed = 0; // the latest

  message(number) {
    const message = (this.#all[number] ??= { left: false });
    return {
      arrived: (size) => {
        if (message.at) return;
        Object.assign(message, { size, at: performance.now() });
        this.messages++;
        this.ahead = Math.max(this.ahead, number - this.#oldest + 1);
        let bytes = 0;
        for (let n = this.#oldest; n < this.#all.length; n++) bytes += this.#all[n]?.size ?? 0;
        this.bytesAhead = Math.max(this.bytesAhead, bytes);
      },
      leaves: () => {
        if (!message.left && this.#executed > number) this.overtaken++;
        message.left = true;
      },
      executed: (reply) => {
        if (reply.includes("Expected incoming sequence number")) this.outOfTurn++;
        this.#executed = Math.max(this.#executed, number);
      },
      answered: () => {
        if (message.answered) return;
        message.answered = true;
        this.times.push(performance.now() - message.at);
        while (this.#all[this.#oldest]?.answered) this.#oldest++;
      },
      lost: () => this.lost++,
    };
  }
}

function answer(response, { status, headers, body }) {
  const { "transfer-encoding": _, ...others } = headers;
  response.writeHead(status, { ...others, "content-length": body.length });
  response.end(body);
}

function lose(response, message) {
  message?.lost();
  response.destroy();
}

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
