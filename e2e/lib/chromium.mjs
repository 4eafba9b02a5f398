// A headless Chromium of the system, driven by playwright-core.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PATHS = process.env.CHROMIUM ? [process.env.CHROMIUM] : ["/usr/bin/chromium", "/usr/bin/chromium-browser"];

/** Path of the browser, or null. With RELAY_REQUIRE_CHROMIUM=1 its absence is an error. */
export function chromiumPath() {
  const path = PATHS.find(existsSync) ?? null;
  if (!path && process.env.RELAY_REQUIRE_CHROMIUM === "1") {
    throw new Error("no Chromium found and RELAY_REQUIRE_CHROMIUM=1: install Debian's chromium, or set CHROMIUM to its path");
  }
  return path;
}

/** Starts a browser with a profile of its own. It ends with the test t. */
export async function launchChromium(t) {
  const browser = await chromium.launch({
    executablePath: chromiumPath(),
    headless: true,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
  t.after(() => browser.close());
  return browser;
}
