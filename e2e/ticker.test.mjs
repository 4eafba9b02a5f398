// The ticker: a feed that the relay canister asks by a timer, the last items for whoever joins, nothing to send.
import assert from "node:assert/strict";
import test, { before } from "node:test";
import { Secp256k1KeyIdentity } from "@dfinity/identity-secp256k1";
import { chromiumPath, launchChromium } from "./lib/chromium.mjs";
import { actor, Price, relayInterface, tickerInterface } from "./lib/interfaces.mjs";
import { exampleConfig, replaced, startRelay } from "./lib/relay.mjs";
import { openStock } from "./lib/stock.mjs";
import { buildPage, fitsEveryWidth, visit, WAIT } from "./lib/visitors.mjs";
import { until } from "./lib/wait.mjs";

// There is one price a second: nobody wants to wait for 20.
const LAST = 5n;
const admin = Secp256k1KeyIdentity.generate();
const config = exampleConfig("ticker", {
  change: (text) => [
    [/^ *last .*$/m, `last = ${LAST}`],
    ["  [[route.relay.feed]]", `[route.relay]\nadmins = ["${admin.getPrincipal().toText()}"]\n[[route.relay.feed]]`],
  ].reduce(replaced, text),
});

const count = async (ticker) => (await ticker.since(10_000n)).next;
const reaches = (ticker, n) => until(60_000, `${n} prices`, async () => (await count(ticker)) >= n);

/** Prices follow each other without a gap. */
const inOrder = (prices) => prices.every(({ id }, i) => i === 0 || id === prices[i - 1].id + 1n);

test("ticker", async (t) => {
  const relay = await startRelay(t, config);
  const ticker = actor(relay, "ticker", tickerInterface);
  await reaches(ticker, LAST + 3n);

  /** Joins, and returns the client when it has the last prices. Those that the relay canister has not asked for come next. */
  const join = async (notAskedFor) => {
    const before = await count(ticker);
    const client = await openStock(t, relay, "relay", Price);
    await client.received(Number(LAST));
    const first = client.messages[0].id;
    const earliest = before - LAST - notAskedFor;
    const latest = (await count(ticker)) - LAST;
    assert.ok(first >= earliest && first <= latest, `the first is ${first}, not between ${earliest} and ${latest}`);
    return client;
  };

  const ann = await join(0n);
  await t.test("the first client gets the last prices, then each new one", async () => {
    await ann.received(Number(LAST) + 3);
    assert.ok(inOrder(ann.messages), JSON.stringify(ann.messages.map(({ id }) => Number(id))));
  });

  await t.test("a client that joins later gets the last prices, too, and the same as the first", async () => {
    const ben = await join(2n); // it asks every second, as often as there is a price
    await ben.received(Number(LAST) + 2);
    await ann.until(20_000, "the same price", () => ann.messages.at(-1).id >= ben.messages.at(-1).id);
    assert.ok(inOrder(ben.messages), JSON.stringify(ben.messages.map(({ id }) => Number(id))));
    assert.ok(inOrder(ann.messages), "nothing comes twice to who was there before");
    ben.close();
    const common = ben.messages.length;
    const start = ann.messages.findIndex(({ id }) => id === ben.messages[0].id);
    assert.deepEqual(ann.messages.slice(start, start + common), ben.messages);
  });

  await t.test("they are the ticker's prices", async () => {
    const { items } = await ticker.since(ann.messages[0].id);
    assert.deepEqual(items.slice(0, ann.messages.length), ann.messages);
    assert.ok(new Set(ann.messages.map(({ cents }) => cents)).size > 1, "which change");
  });

  await t.test("a message is refused with a sentence, and the others go on", async () => {
    const cleo = await openStock(t, relay, "relay", Price);
    cleo.send({ id: 0n, time: 0n, cents: 1n });
    await cleo.until(20_000, "close", () => cleo.closed);
    assert.match(cleo.closed.reason, /This route takes no messages/);
    await ann.received(ann.messages.length + 2);
    assert.ok(inOrder(ann.messages));
    assert.deepEqual(ann.errors, [], ann.story());
  });

  await t.test("when all have gone and one comes back, it gets the last prices once more", async () => {
    ann.close();
    const control = actor(relay, "relay", relayInterface, admin);
    await until(20_000, "nobody there", async () => (await control.clients()).length === 0);
    await reaches(ticker, (await count(ticker)) + 2n);
    const dora = await join(0n);
    await dora.received(Number(LAST) + 2);
    assert.ok(inOrder(dora.messages), JSON.stringify(dora.messages.map(({ id }) => Number(id))));
  });
});

if (chromiumPath() === null) {
  console.log("LEFT OUT: the ticker's page in Chromium was not tested, because no Chromium is installed (apt-get install chromium, or set CHROMIUM).");
} else {
  before(() => buildPage("ticker"));

  test("the ticker's page in Chromium", async (t) => {
    const relay = await startRelay(t, config);
    const ticker = actor(relay, "ticker", tickerInterface);
    await reaches(ticker, LAST + 1n);
    const browser = await launchChromium(t);
    const page = await visit(browser, relay.url);
    const rows = async () => (await page.locator("#rows tr td:first-child").allTextContents()).map(Number);

    await t.test("it draws the last prices at once, and each new one", async () => {
      await page.locator("#chart").waitFor(WAIT);
      const shown = await until(30_000, "the last prices", async () => (await rows()).length >= Number(LAST) && rows());
      await until(30_000, "new prices", async () => (await rows()).length >= shown.length + 2);
      const numbers = await rows();
      assert.deepEqual(numbers, numbers.map((_, i) => numbers[0] - i), "the newest first, without a gap");

      const { items } = await ticker.since(BigInt(numbers.at(-1)));
      const { cents, label, points } = await page.evaluate(() => ({
        cents: [...document.querySelectorAll("#rows tr td:last-child")].map((td) => Math.round(Number(td.textContent.replace(/[^\d.]/g, "")) * 100)),
        label: document.querySelector("#summary").textContent,
        points: document.querySelector("#curve").getAttribute("d").split(/[ML]/).length - 1,
      }));
      assert.deepEqual(cents.slice(-numbers.length).reverse(), items.slice(0, cents.length).map((price) => Number(price.cents)));
      assert.equal(points, cents.length, "one point a price");
      assert.match(label, /between \d/);
      assert.match(await page.locator("#price").textContent(), /^\d+\.\d\d$/);
    });

    await t.test("a page that was away shows each price once", async () => {
      await page.reload();
      await page.locator("#chart").waitFor(WAIT);
      await until(30_000, "the last prices", async () => (await rows()).length > Number(LAST));
      const numbers = await rows();
      assert.equal(new Set(numbers).size, numbers.length);
    });

    await t.test("the page has no scrollbar to the side, narrow or wide", () => fitsEveryWidth(page));

    assert.deepEqual(page.problems, [], "nothing was reported in the console");
  });
}
