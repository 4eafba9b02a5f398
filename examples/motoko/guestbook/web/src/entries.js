// The list of entries: newest first, each one once.
import { element, faceOf } from "../../../shared/page.js";

const SHOWN = 500; // older ones stay in the canister

export class Entries {
  #list;
  #empty;
  #count;
  #items = new Map(); // id -> <li>
  #order = []; // ids, ascending
  #loaded = false;

  constructor({ list, empty, count }) {
    this.#list = list;
    this.#empty = empty;
    this.#count = count;
  }

  /** Adds an entry unless it is there already; says whether it was new. A certified copy marks the one that is there. */
  add(entry, { certified = false } = {}) {
    const known = this.#items.get(entry.id);
    if (known) {
      if (certified) markCertified(known);
      return false;
    }
    const item = itemOf(entry);
    if (certified) markCertified(item);
    this.#items.set(entry.id, item);

    // Nearly always the newest: look for its place from the end.
    let at = this.#order.length;
    while (at > 0 && this.#order[at - 1] > entry.id) at--;
    this.#order.splice(at, 0, entry.id);
    const newer = this.#items.get(this.#order[at + 1]);
    if (newer) newer.after(item);
    else this.#list.prepend(item);

    const oldest = this.#order[this.#order.length - SHOWN - 1];
    if (oldest !== undefined) this.#items.get(oldest).remove();
    this.#summary();
    return true;
  }

  /** Says that the history has been read, so that an empty list can be called empty. */
  loaded() {
    this.#loaded = true;
    this.#empty.textContent = "Nobody has written anything yet. Be the first.";
    this.#summary();
  }

  clear() {
    this.#items.clear();
    this.#order = [];
    this.#list.replaceChildren();
    this.#loaded = false;
    this.loading(true);
    this.#summary();
  }

  /** What an empty list says while it is not known to be empty. */
  loading(isConnected) {
    if (!this.#loaded) this.#empty.textContent = isConnected ? "Loading the entries..." : "The entries cannot be loaded yet.";
  }

  #summary() {
    const total = this.#order.length;
    this.#empty.hidden = total > 0;
    this.#count.textContent = total > SHOWN ? `the newest ${SHOWN} of ${total}` : total === 1 ? "1 entry" : total ? `${total} entries` : "";
  }
}

function itemOf({ id, author, text, time }) {
  const item = element("li", "entry");
  item.dataset.id = id;

  const when = element("time", "", time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  when.dateTime = time.toISOString();
  when.title = time.toLocaleString();

  const head = element("p", "head");
  head.append(element("strong", "", author), " ", when);
  const body = element("div", "body");
  body.append(head, element("p", "text", text));
  item.append(faceOf(author), body);
  return item;
}

function markCertified(item) {
  if (item.querySelector(".proof")) return;
  const proof = element("span", "proof", "certified");
  proof.title = "This browser checked the network's signature on this entry.";
  item.querySelector(".head").append(" ", proof);
}
