// The page: history by an ordinary query, then every new entry over the WebSocket.
import { actors, entryOf } from "./canisters.js";
import { Entries } from "./entries.js";
import { Form } from "./form.js";
import { visitorIdentity } from "./identity.js";
import { isSameWorld, loadInfo } from "./info.js";
import { Live } from "./live.js";

const $ = (id) => document.getElementById(id);
const identity = visitorIdentity();
const entries = new Entries({ list: $("entries"), empty: $("empty"), count: $("count") });

let world = null; // {info, guestbook, relay}: the canisters that /info named at the last attempt
let cursor = 0n; // how far `since` has been read

const live = new Live(connectTo, {
  state: showState,
  message: (message) => {
    const entry = entryOf(message);
    if (entry.id === undefined) {
      showError("The relay canister sent something that is not an entry.");
      return;
    }
    if (entries.add(entry, { certified: true })) {
      $("announce").textContent = `${entry.author} wrote: ${entry.text}`;
    }
    form.arrived(entry);
  },
  error: (text) => showError(text, "live"),
});

const form = new Form(
  {
    form: $("form"), author: $("author"), text: $("text"), send: $("send"), count: $("text-count"), sent: $("sent"),
    authorError: $("author-error"), textError: $("text-error"),
  },
  {
    write: ({ author, text }) => {
      if (!live.isLive) throw new Error("there is no live connection at the moment.");
      live.send({ author, text, id: [], time: [] });
    },
    error: showError,
  },
);

/** Before every attempt to connect: what is there now, and what was written until now. */
async function connectTo(signal) {
  const info = await loadInfo(signal);
  if (!world || !isSameWorld(world.info, info)) {
    world = { info, ...actors(info) };
    cursor = 0n;
    entries.clear();
  }
  showFacts(info);
  await readHistory();
  const url = new URL("./", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return {
    url: url.href,
    config: { canisterId: info.relay, canisterActor: world.relay, identity, networkUrl: info.networkUrl },
  };
}

/** Reads with `since` whatever is new. Live messages begin where the connection opened, so it is asked again then. */
async function readHistory() {
  const asked = world;
  try {
    for (;;) {
      const page = await asked.guestbook.since(cursor);
      if (asked !== world) return; // another network answered meanwhile
      if (page.length === 0) break;
      cursor += BigInt(page.length);
      for (const entry of page.map(entryOf)) {
        entries.add(entry);
        form.arrived(entry);
      }
    }
    entries.loaded();
  } catch (error) {
    throw new Error(`The guestbook cannot be asked for its entries: ${firstLine(error)}`, { cause: error });
  }
}

// --- what the visitor sees

let countdown;

function showState({ name, reason = "", retryAt }) {
  $("connection").dataset.state = name;
  $("state").textContent = name;
  $("reconnect").hidden = name !== "closed";
  form.setLive(name === "live");
  entries.loading(name !== "closed");
  clearInterval(countdown);
  const place = $("reason");
  place.hidden = name !== "closed";
  if (name === "closed") {
    const tell = () => {
      const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
      place.textContent = retryAt ? `${reason} Trying again in ${seconds} s.` : `${reason} Trying again by itself would not help.`;
    };
    tell();
    if (retryAt) countdown = setInterval(tell, 1000);
  }
  if (name === "live") {
    if ($("alert").dataset.until === "live") hideError();
    readHistory().catch((error) => showError(error.message));
  }
}

/** Shows an error until it is dismissed, or, if it is about the connection, until there is one again. */
function showError(text, until = "dismissed") {
  console.error(text);
  $("alert").dataset.until = until;
  $("alert-text").textContent = text;
  $("alert").hidden = false;
}

function hideError() {
  $("alert").hidden = true;
}

function showFacts(info) {
  const facts = [
    ["guestbook canister", info.guestbook],
    ["relay canister", info.relay],
    ["gateway principal", info.gateway],
    ["you", identity.getPrincipal().toText()],
    ["network", info.networkUrl],
  ];
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => {
    const dt = document.createElement("dt");
    dt.textContent = name;
    const dd = document.createElement("dd");
    dd.textContent = value;
    return [dt, dd];
  }));
}

const firstLine = (error) => String(error?.message ?? error).split("\n")[0];

$("reconnect").addEventListener("click", () => live.open());
$("alert-dismiss").addEventListener("click", hideError);
addEventListener("online", () => live.open());
addEventListener("error", (event) => showError(`Something went wrong on this page: ${event.message}`));
// The stock client asks the network for its root key on its own and lets a failure go: it ends up here.
addEventListener("unhandledrejection", (event) => showError(`Something went wrong: ${firstLine(event.reason)}`, "live"));
addEventListener("pagehide", () => live.close());
addEventListener("pageshow", (event) => event.persisted && live.open());

live.open();
