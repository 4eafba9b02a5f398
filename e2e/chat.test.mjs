// The chat: tags to methods that are given the client, pushes to the members of a room, hooks that say who is there.
import assert from "node:assert/strict";
import test, { before } from "node:test";
import { Principal } from "@dfinity/principal";
import { Secp256k1KeyIdentity } from "@dfinity/identity-secp256k1";
import { chromiumPath, launchChromium } from "./lib/chromium.mjs";
import { actor, chatInterface, ChatMessage } from "./lib/interfaces.mjs";
import { exampleConfig, startRelay } from "./lib/relay.mjs";
import { openStock } from "./lib/stock.mjs";
import { buildPage, fitsEveryWidth, isClosed, isLive, visit, WAIT } from "./lib/visitors.mjs";

/** A stock client that waits for its messages one after the other. */
async function chatter(t, relay, options) {
  const client = await openStock(t, relay, "relay", ChatMessage, options);
  let seen = 0;
  client.next = async () => (await client.received(++seen))[seen - 1];
  client.join = (room, name) => client.send({ Join: { room, name } });
  client.enter = async (room, name) => {
    client.join(room, name);
    const { Joined } = await client.next();
    return Joined;
  };
  return client;
}

const quiet = (...clients) => {
  for (const client of clients) {
    assert.deepEqual(client.errors, [], client.story());
    assert.equal(client.closed, null, client.story());
  }
};

/** What was said, without its number and time. */
const said = ({ Said }) => ({ room: Said.room, name: Said.line.name, text: Said.line.text });

test("chat", async (t) => {
  const relay = await startRelay(t, exampleConfig("chat"));
  const ann = await chatter(t, relay);
  const ben = await chatter(t, relay);
  const cleo = await chatter(t, relay);

  await t.test("whoever enters a room is told who is there, and those who are there are told", async () => {
    assert.deepEqual(await ann.enter("lobby", "Ann"), { room: "lobby", name: "Ann", present: ["Ann"], lines: [] });
    const { present } = await ben.enter("lobby", "Ben");
    assert.deepEqual(present.sort(), ["Ann", "Ben"]);
    assert.deepEqual(await ann.next(), { Came: { room: "lobby", name: "Ben" } });
    assert.deepEqual((await cleo.enter("den", "Ann")).present, ["Ann"], "a name is free in another room");
  });

  await t.test("what is said reaches everybody in the room, and nobody in another", async () => {
    ann.send({ Say: "hello" });
    const heard = await ann.next();
    assert.deepEqual(said(heard), { room: "lobby", name: "Ann", text: "hello" });
    assert.deepEqual(await ben.next(), heard, "the same line, with the same number and time");
    cleo.send({ Say: "alone here" });
    assert.deepEqual(said(await cleo.next()), { room: "den", name: "Ann", text: "alone here" }, "the first thing that cleo hears");
    quiet(ann, ben, cleo);
  });

  await t.test("lines come in the order in which they were said", async () => {
    const texts = Array.from({ length: 60 }, (_, i) => `line ${i}`);
    for (const text of texts) ann.send({ Say: text });
    for (const client of [ann, ben]) {
      const heard = [];
      for (const _ of texts) heard.push((await client.next()).Said.line);
      assert.deepEqual(heard.map(({ text }) => text), texts);
      assert.ok(heard.every(({ id }, i) => i === 0 || id > heard[i - 1].id), "with rising numbers");
    }
  });

  await t.test("a newcomer gets the last 50 lines", async () => {
    const dora = await chatter(t, relay);
    const { present, lines } = await dora.enter("lobby", "Dora");
    assert.deepEqual(present.sort(), ["Ann", "Ben", "Dora"]);
    assert.deepEqual(lines.map(({ text }) => text), Array.from({ length: 50 }, (_, i) => `line ${i + 10}`));
    dora.close();
    for (const client of [ann, ben]) {
      assert.deepEqual(await client.next(), { Came: { room: "lobby", name: "Dora" } });
      assert.deepEqual(await client.next(), { Went: { room: "lobby", name: "Dora" } }, "and closing is leaving");
    }
  });

  await t.test("a refusal is told to its sender alone, who stays connected", async () => {
    const eve = await chatter(t, relay);
    const refusal = async (message) => {
      eve.send(message);
      return (await eve.next()).Refused;
    };
    assert.match(await refusal({ Say: "is anybody here?" }), /You are in no room/);
    assert.match(await refusal({ Join: { room: "lobby", name: "Ann" } }), /Somebody in this room is called Ann/);
    assert.match(await refusal({ Join: { room: "lobby", name: "  " } }), /Your name is empty/);
    assert.match(await refusal({ Join: { room: "r".repeat(41), name: "Eve" } }), /The room's name is longer than 40 characters/);
    await eve.enter("den", "Eve");
    assert.match(await refusal({ Say: "x".repeat(501) }), /The message is longer than 500 characters/);
    eve.send({ Say: "hello" });
    assert.equal((await eve.next()).Said.line.text, "hello");
    assert.deepEqual(await cleo.next(), { Came: { room: "den", name: "Eve" } });
    assert.equal((await cleo.next()).Said.line.text, "hello", "the only line that cleo hears");
    quiet(ann, ben, cleo, eve);
    eve.close();
    assert.deepEqual(await cleo.next(), { Went: { room: "den", name: "Eve" } });
  });

  await t.test("who leaves a room, takes another name, or goes to another room, is told to those who stay", async () => {
    // the answer and the event come in either order
    const both = async (tag) => {
      const messages = [await ben.next(), await ben.next()];
      return { answer: messages.find((m) => tag in m), event: messages.find((m) => "Went" in m) };
    };
    ben.send({ Leave: null });
    assert.deepEqual(await both("Left"), { answer: { Left: null }, event: { Went: { room: "lobby", name: "Ben" } } });
    assert.deepEqual(await ann.next(), { Went: { room: "lobby", name: "Ben" } });
    await ben.enter("lobby", "Ben");
    assert.deepEqual(await ann.next(), { Came: { room: "lobby", name: "Ben" } });

    ben.join("lobby", "Benjamin");
    const renamed = await both("Joined");
    assert.deepEqual(renamed.answer.Joined.present.sort(), ["Ann", "Benjamin"]);
    assert.deepEqual(renamed.event, { Went: { room: "lobby", name: "Ben" } });
    assert.deepEqual(await ann.next(), { Went: { room: "lobby", name: "Ben" } });
    assert.deepEqual(await ann.next(), { Came: { room: "lobby", name: "Benjamin" } });

    ben.join("attic", "Ben");
    const moved = await both("Joined");
    assert.deepEqual(moved.answer.Joined, { room: "attic", name: "Ben", present: ["Ben"], lines: [] });
    assert.deepEqual(moved.event, { Went: { room: "lobby", name: "Benjamin" } });
    assert.deepEqual(await ann.next(), { Went: { room: "lobby", name: "Benjamin" } });
  });

  await t.test("a client with two windows leaves with the second one", async () => {
    const identity = Secp256k1KeyIdentity.generate();
    const first = await chatter(t, relay, { identity });
    const second = await chatter(t, relay, { identity });
    await first.enter("lobby", "Finn");
    assert.deepEqual(await ann.next(), { Came: { room: "lobby", name: "Finn" } });
    assert.deepEqual((await second.enter("lobby", "Finn")).present.sort(), ["Ann", "Finn"], "once");

    first.close();
    await first.until(10_000, "close", () => first.closed);
    second.send({ Say: "still here" });
    assert.equal((await second.next()).Said.line.text, "still here");
    assert.equal((await ann.next()).Said.line.text, "still here", "nothing of Finn's leaving before that");
    second.close();
    assert.deepEqual(await ann.next(), { Went: { room: "lobby", name: "Finn" } });
  });

  await t.test("a tag that nobody takes is refused with a sentence, and the room is told that its sender has gone", async () => {
    const gus = await chatter(t, relay);
    await gus.enter("lobby", "Gus");
    assert.deepEqual(await ann.next(), { Came: { room: "lobby", name: "Gus" } });
    gus.send({ Shout: "HELLO" });
    await gus.until(20_000, "close", () => gus.closed);
    assert.match(gus.closed.reason, /No call is configured for this message/);
    assert.deepEqual(await ann.next(), { Went: { room: "lobby", name: "Gus" } });
  });

  await t.test("the chat believes nobody but the relay canister who a client is", async () => {
    const mallory = actor(relay, "chat", chatInterface, Secp256k1KeyIdentity.generate());
    const victim = Principal.fromText(ann.principal);
    for (const call of [
      () => mallory.join(victim, { room: "lobby", name: "Mallory" }),
      () => mallory.say(victim, "I am Ann"),
      () => mallory.leave(victim),
      () => mallory.opened(victim, 1n),
      () => mallory.closed(victim, 1n),
    ]) {
      await assert.rejects(call(), /Only the relay canister may call this/);
    }
    ann.send({ Say: "nothing happened" });
    assert.equal((await ann.next()).Said.line.text, "nothing happened");
    quiet(ann, ben, cleo);
  });
});

if (chromiumPath() === null) {
  console.log("LEFT OUT: the chat's page in Chromium was not tested, because no Chromium is installed (apt-get install chromium, or set CHROMIUM).");
} else {
  before(() => buildPage("chat"));

  test("the chat's page in Chromium", async (t) => {
    const relay = await startRelay(t, exampleConfig("chat"));
    const browser = await launchChromium(t);
    const enter = async (page, name, room) => {
      await page.getByLabel("Your name").fill(name);
      await page.getByLabel("Room", { exact: true }).fill(room);
      await page.getByRole("button", { name: "Enter" }).click();
      await page.getByRole("heading", { name: room, exact: true }).waitFor(WAIT);
    };
    const say = async (page, text) => {
      await page.getByLabel("Your message").fill(text);
      await page.getByLabel("Your message").press("Enter");
    };
    const line = (page, text) => page.locator("#lines li", { hasText: text });
    const people = async (page, names) => {
      await page.waitForFunction((n) => document.querySelectorAll("#people li").length === n, names.length, WAIT);
      assert.deepEqual((await page.locator("#people li").allTextContents()).sort(), names);
    };

    const ann = await visit(browser, relay.url);
    const ben = await visit(browser, relay.url, { width: 390, height: 800 });
    const cleo = await visit(browser, relay.url);

    await t.test("two in a room talk, a third in another room sees nothing of it", async () => {
      await enter(ann, "Ann", "lobby");
      await enter(ben, "Ben", "lobby");
      await enter(cleo, "Cleo", "den");
      await people(ann, ["Ann (you)", "Ben"]);
      await people(ben, ["Ann", "Ben (you)"]);
      await say(ann, "Hello <b>everybody</b>");
      for (const page of [ann, ben]) {
        await line(page, "Hello <b>everybody</b>").waitFor(WAIT);
        assert.equal(await page.locator("#lines b").count(), 0, "a line is text, never HTML");
      }
      await say(ben, "Hello Ann");
      await line(ann, "Hello Ann").waitFor(WAIT);
      await say(cleo, "Nobody here");
      await line(cleo, "Nobody here").waitFor(WAIT);
      assert.equal(await cleo.locator("#lines li").count(), 1);
      assert.equal(await ann.locator("#sent").textContent(), "", "what was said is confirmed");
    });

    await t.test("a name that is taken is refused, and another one is let in", async () => {
      const dora = await visit(browser, relay.url);
      await dora.getByLabel("Your name").fill("Ann");
      await dora.getByRole("button", { name: "Enter" }).click();
      await dora.getByText("Somebody in this room is called Ann").waitFor(WAIT);
      await enter(dora, "Dora", "lobby");
      assert.deepEqual(await dora.locator("#lines .text").allTextContents(), ["Hello <b>everybody</b>", "Hello Ann"]);
      await people(ann, ["Ann (you)", "Ben", "Dora"]);
      await dora.context().close();
      await people(ann, ["Ann (you)", "Ben"]);
      await line(ann, "Dora left.").waitFor(WAIT);
    });

    await t.test("what is refused is given back", async () => {
      await ann.getByLabel("Your message").evaluate((input) => input.removeAttribute("maxlength"));
      await say(ann, "x".repeat(501));
      await ann.getByRole("alert").getByText("The message is longer than 500 characters").waitFor(WAIT);
      assert.equal(await ann.getByLabel("Your message").inputValue(), "x".repeat(501));
      await ann.getByRole("button", { name: "Dismiss" }).click();
      await ann.getByLabel("Your message").fill("");
      assert.equal(await ben.locator("#lines .line").count(), 2);
      ann.problems.length = 0; // the console was told, too
    });

    await t.test("who leaves is asked for a room again, and another window of the same visitor knows", async () => {
      const kept = await ben.evaluate(() => Object.entries(sessionStorage));
      const twin = await ben.context().newPage(); // as a tab that is duplicated
      await twin.addInitScript((entries) => entries.forEach(([key, value]) => sessionStorage.setItem(key, value)), kept);
      await twin.goto(relay.url);
      await people(twin, ["Ann", "Ben (you)"]);

      await ben.getByRole("button", { name: "Leave the room" }).click();
      await ben.getByRole("button", { name: "Enter" }).waitFor(WAIT);
      await people(ann, ["Ann (you)"]);
      await twin.getByText("You left the room, perhaps in another window.").waitFor(WAIT);
      assert.equal(await ben.locator("#join-error").isVisible(), false);
      await twin.close();
      await enter(ben, "Ben", "lobby");
      await line(ann, "Ben came in.").last().waitFor(WAIT);
    });

    await t.test("a page that is loaded again is in its room again", async () => {
      await ben.reload();
      await ben.getByRole("heading", { name: "lobby", exact: true }).waitFor(WAIT);
      await people(ben, ["Ann", "Ben (you)"]);
      await say(ben, "Back");
      await line(ann, "Back").waitFor(WAIT);
    });

    await t.test("the page has no scrollbar to the side, narrow or wide", async () => {
      await say(ann, "w".repeat(400));
      await line(ann, "wwww").waitFor(WAIT);
      await fitsEveryWidth(ann);
    });

    assert.deepEqual([...ann.problems, ...ben.problems, ...cleo.problems], [], "nothing was reported in the console");

    await t.test("when the gateway is back, so are those who were in a room", async (t) => {
      assert.equal(await relay.stop(), 0, relay.logs());
      await isClosed(ann);
      assert.equal(await ann.getByRole("button", { name: "Send" }).isDisabled(), true);
      assert.equal(await line(ann, "Hello Ann").isVisible(), true, "what was said stays in view");
      await startRelay(t, exampleConfig("chat", { listen: new URL(relay.url).host }));
      for (const page of [ann, ben]) await isLive(page);
      await people(ann, ["Ann (you)", "Ben"]);
      await say(ann, "We are back");
      await line(ben, "We are back").waitFor(WAIT);
    });
  });
}
