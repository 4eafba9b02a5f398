// The page in a real browser.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import test, { before } from "node:test";
import { promisify } from "node:util";
import { chromiumPath, launchChromium } from "./lib/chromium.mjs";
import { FAULTY_WASM, guestbookConfig, ROOT, startRelay } from "./lib/relay.mjs";

const PAGE = join(ROOT, "examples/motoko/guestbook/web");
const web = join(PAGE, "dist");
const WAIT = { timeout: 30_000 };

if (chromiumPath() === null) {
  console.log("LEFT OUT: the page in Chromium was not tested, because no Chromium is installed (apt-get install chromium, or set CHROMIUM).");
} else {
  before(() => promisify(execFile)(process.execPath, ["build.mjs"], { cwd: PAGE }));

  test("the page in Chromium", async (t) => {
    const relay = await startRelay(t, guestbookConfig({ web }));
    const browser = await launchChromium(t);

    /** A visitor of his own: another window with its own storage. */
    const visitor = async () => {
      const context = await browser.newContext();
      const page = await context.newPage();
      page.problems = [];
      page.on("pageerror", (error) => page.problems.push(String(error)));
      page.on("console", (line) => line.type() === "error" && page.problems.push(line.text()));
      await page.goto(relay.url);
      await isLive(page);
      return page;
    };

    const ann = await visitor();
    const ben = await visitor();

    await t.test("a visitor writes an entry, and a second window shows it without reload", async () => {
      await write(ann, "Ann", "Hello from the first window");
      for (const page of [ann, ben]) {
        const entry = page.locator("#entries li", { hasText: "Hello from the first window" });
        await entry.waitFor(WAIT);
        assert.equal(await entry.locator("strong").textContent(), "Ann");
        assert.equal(await entry.locator(".proof").textContent(), "certified");
      }
      await ann.getByText("Your entry is in the guestbook.").waitFor(WAIT);
      assert.equal(await ann.locator("#text").inputValue(), "", "the form is empty again");

      await write(ben, "Ben", "Hello back <b>in bold</b>");
      const entry = ann.locator("#entries li").first();
      await entry.getByText("Hello back <b>in bold</b>").waitFor(WAIT);
      assert.equal(await entry.locator("b").count(), 0, "an entry is text, never HTML");
      for (const page of [ann, ben]) {
        assert.equal(await page.locator("#entries li").count(), 2);
        assert.equal(await page.locator("#count").textContent(), "2 entries");
      }
    });

    await t.test("a window that is opened later shows the history once", async () => {
      const cleo = await visitor();
      await cleo.locator("#entries li").nth(1).waitFor(WAIT);
      assert.deepEqual(await cleo.locator("#entries .text").allTextContents(), ["Hello back <b>in bold</b>", "Hello from the first window"]);
      await write(cleo, "Cleo", "Late");
      await cleo.locator("#entries li", { hasText: "Late" }).waitFor(WAIT);
      assert.equal(await cleo.locator("#entries li").count(), 3);
      await cleo.context().close();
    });

    await t.test("what is happening is explained, with this gateway's and these canisters' names", async () => {
      const facts = await ann.locator("#facts").textContent();
      for (const fact of [relay.canister("guestbook"), relay.canister("relay"), relay.info.gateway_principal]) {
        assert.ok(facts.includes(fact), `${fact} in ${facts}`);
      }
    });

    await t.test("a form that is not filled in says so, and sends nothing", async () => {
      await write(ann, "", "");
      await ann.getByText("Please give a name.").waitFor(WAIT);
      await ann.getByText("Please write something.").waitFor(WAIT);
      assert.equal(await ann.locator("#author").getAttribute("aria-invalid"), "true");
      await write(ann, "Ann", "x".repeat(2003));
      await ann.getByText("The entry is 3 characters too long: at most 2000.").waitFor(WAIT);
      await ann.getByText("3 characters too many").waitFor(WAIT);
      assert.equal(await ann.getByText("Please give a name.").isVisible(), false);
      assert.equal(await ann.locator("#entries li").count(), 3);
      assert.equal(await ann.locator("#sent").textContent(), "", "nothing was sent");
    });

    await t.test("the page has no scrollbar to the side, narrow or wide", async () => {
      for (const width of [320, 768, 1280]) {
        await ann.setViewportSize({ width, height: 800 });
        const over = await ann.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(over, 0, `${over} pixels too wide at ${width}`);
      }
    });

    assert.deepEqual([...ann.problems, ...ben.problems], [], "nothing was reported in the console");

    await t.test("a gateway that stops is shown, and one that starts again is found", async (t) => {
      assert.equal(await relay.stop(), 0, relay.logs());
      await ann.locator('#connection[data-state="closed"]').waitFor(WAIT);
      assert.match(await ann.locator("#reason").textContent(), /Trying again in \d+ s\./);
      assert.equal(await ann.locator("#send").isDisabled(), true);
      assert.equal(await ann.locator("#reconnect").isVisible(), true);

      const again = await startRelay(t, guestbookConfig({ web, listen: new URL(relay.url).host }));
      await ann.locator("#reconnect").click({ timeout: 2_000 }).catch(() => {}); // it may have come back by itself just now
      await isLive(ann);
      // The embedded network started anew: another guestbook, empty, with a key of its own.
      await ann.getByText("Nobody has written anything yet.").waitFor(WAIT);
      await write(ann, "Ann", "Back again");
      await ann.locator("#entries li", { hasText: "Back again" }).waitFor(WAIT);
      const facts = await ann.locator("#facts").textContent();
      assert.ok(facts.includes(again.info.gateway_principal), facts);
      await isLive(ben); // by itself
      await ben.locator("#entries li", { hasText: "Back again" }).waitFor(WAIT);
    });
  });

  test("an entry that the guestbook never shows is reported, and given back", async (t) => {
    const relay = await startRelay(t, guestbookConfig({ web, canisters: { faulty: FAULTY_WASM }, calls: [["faulty", "refuse"]] }));
    const page = await (await launchChromium(t)).newPage();
    await page.clock.install(); // so that nobody has to wait for the page's patience
    await page.goto(relay.url);
    await isLive(page);
    await write(page, "Ann", "Lost");
    await page.getByText("Waiting for the guestbook...").waitFor(WAIT);
    await page.clock.fastForward(20_000);
    await page.getByRole("alert").getByText('The guestbook has not confirmed your entry "Lost".').waitFor(WAIT);
    assert.equal(await page.locator("#text").inputValue(), "Lost");
    await page.getByRole("button", { name: "Dismiss" }).click();
    assert.equal(await page.getByRole("alert").isVisible(), false);
    await isLive(page);
  });

  test("a page that does not find its guestbook says so, and what to do", async (t) => {
    const relay = await startRelay(t, guestbookConfig({ web, guestbook: "book" }));
    const page = await (await launchChromium(t)).newPage();
    await page.goto(relay.url);
    await page.getByText('The gateway knows no canister named "guestbook".').waitFor(WAIT);
    assert.equal(await page.locator("#connection").getAttribute("data-state"), "closed");
    await page.goto(`${relay.url}?guestbook=${relay.canister("book")}`);
    await isLive(page);
    await write(page, "Ann", "Found");
    await page.locator("#entries li", { hasText: "Found" }).waitFor(WAIT);
  });
}

const isLive = (page) => page.locator('#connection[data-state="live"]').waitFor(WAIT);

async function write(page, author, text) {
  await page.locator("#author").fill(author);
  await page.locator("#text").fill(text);
  await page.locator("#send").click();
}
