// A stock client that sends bursts of numbered notes, and checks what it is answered.
import assert from "node:assert/strict";
import { DiaryMessage } from "./interfaces.mjs";
import { StockClient } from "./stock.mjs";

const ANSWER_MS = 300_000; // verifying an answer takes a stock client 25 ms and more, and a thread has many clients

export class Talker {
  sent = 0;
  /** Milliseconds from the sending of a burst to the answer to its last message. */
  times = [];
  #client;
  #connection;
  #expected = []; // numbers and sizes of the notes that are to be answered
  #bursts = []; // when they were sent, and how many answers there are after their last message
  #read = 0;

  constructor(relay, canister, { connection, identity }) {
    this.#client = new StockClient(relay, canister, DiaryMessage, identity);
    this.#connection = BigInt(connection);
  }

  get principal() {
    return this.#client.principal;
  }

  get opened() {
    return this.#client.opened;
  }

  /** Sends notes with so many bytes each, all in the same tick. The last is to be answered, with its number or with itself. */
  burst(sizes) {
    const at = performance.now();
    sizes.forEach((size, i) => {
      const number = ++this.sent;
      const answered = i === sizes.length - 1;
      const padding = new Uint8Array(size).fill(number);
      this.#client.send({ [answered ? "Note" : "Tell"]: { connection: this.#connection, number: BigInt(number), padding } });
      if (answered) this.#expected.push({ number, size });
    });
    this.#bursts.push({ at, answers: this.#expected.length });
  }

  /** Waits for the answers to all bursts, and wants each of them once and in order. */
  async answered() {
    const client = this.#client;
    await client.until(ANSWER_MS, `${this.#expected.length} answers`, () => client.messages.length >= this.#expected.length || client.closed);
    this.check();
  }

  /** What has come must be the answers, in order, and nothing else may have happened. */
  check() {
    const client = this.#client;
    for (; this.#read < client.messages.length; this.#read++) {
      const expected = this.#expected[this.#read];
      assert.ok(expected, `an answer too many\n${client.story()}`);
      const { Note, Noted } = client.messages[this.#read];
      const { connection, number, padding } = Note ?? Noted;
      assert.equal(connection, this.#connection, client.story());
      assert.equal(number, BigInt(expected.number), `answer ${this.#read}\n${client.story()}`);
      if (padding) assert.deepEqual(padding, new Uint8Array(expected.size).fill(expected.number));
    }
    while (this.#bursts[0]?.answers <= this.#read) {
      const { at, answers } = this.#bursts.shift();
      this.times.push(client.times[answers - 1] - at);
    }
    assert.deepEqual(client.errors, [], client.story());
    assert.equal(client.closed, null, client.story());
  }

  /** Closes the connection. */
  dispose() {
    return this.#client.dispose();
  }
}
