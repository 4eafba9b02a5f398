// The page: history by an ordinary query, then every new entry over the WebSocket.
import { $, firstLine, Page } from "../../../shared/page.js";
import { entryOf, guestbookActor, Message } from "./canisters.js";
import { Entries } from "./entries.js";
import { Form } from "./form.js";

const entries = new Entries({ list: $("entries"), empty: $("empty"), count: $("count") });

let guestbook = null; // the canister that /info named at the last attempt
let cursor = 0n; // how far `since` has been read

const page = new Page({
  name: "guestbook",
  T: Message,
  needed: ["guestbook"],
  meet: async (world, isNew) => {
    if (isNew) {
      guestbook = guestbookActor(world);
      cursor = 0n;
      entries.clear();
    }
    await readHistory();
  },
  state: (name) => {
    form.setLive(name === "live");
    entries.loading(name !== "closed");
  },
  live: () => readHistory().catch((error) => page.error(error.message)),
  message: (message) => {
    const entry = entryOf(message);
    if (entry.id === undefined) {
      page.error("The relay canister sent something that is not an entry.");
      return;
    }
    if (entries.add(entry, { certified: true })) {
      $("announce").textContent = `${entry.author} wrote: ${entry.text}`;
    }
    form.arrived(entry);
  },
});

const form = new Form(
  {
    form: $("form"), author: $("author"), text: $("text"), send: $("send"), count: $("text-count"), sent: $("sent"),
    authorError: $("author-error"), textError: $("text-error"),
  },
  {
    write: ({ author, text }) => page.send({ author, text, id: [], time: [] }),
    error: (text) => page.error(text),
  },
);

/** Reads with `since` whatever is new. Live messages begin where the connection opened, so it is asked again then. */
async function readHistory() {
  const asked = guestbook;
  try {
    for (;;) {
      const items = await asked.since(cursor);
      if (asked !== guestbook) return; // another network answered meanwhile
      if (items.length === 0) break;
      cursor += BigInt(items.length);
      for (const entry of items.map(entryOf)) {
        entries.add(entry);
        form.arrived(entry);
      }
    }
    entries.loaded();
  } catch (error) {
    throw new Error(`The guestbook cannot be asked for its entries: ${firstLine(error)}`, { cause: error });
  }
}

page.open();
