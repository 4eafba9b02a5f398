// Visitors of an example's page, each in a Chromium window with storage of its own.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { exampleFolder } from "./relay.mjs";

export const WAIT = { timeout: 30_000 };

/** Builds the page of an example. */
export const buildPage = (name) => promisify(execFile)(process.execPath, ["build.mjs"], { cwd: join(exampleFolder(name), "web") });

/** Opens the page and waits until it is live. What the page reports is in its problems. */
export async function visit(browser, url, viewport) {
  const page = await (await browser.newContext({ viewport })).newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (line) => line.type() === "error" && page.problems.push(line.text()));
  await page.goto(url);
  await isLive(page);
  return page;
}

export const isLive = (page) => page.locator('#connection[data-state="live"]').waitFor(WAIT);

export const isClosed = (page) => page.locator('#connection[data-state="closed"]').waitFor(WAIT);

/** On a narrow phone, a tablet, a wide screen. */
export async function fitsEveryWidth(page) {
  for (const width of [320, 768, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(over, 0, `${over} pixels too wide at ${width}`);
  }
}
