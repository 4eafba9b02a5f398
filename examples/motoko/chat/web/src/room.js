// What is shown of a room: who is there, and what was said.
import { element, faceOf } from "../../../shared/page.js";

const SHOWN = 500; // lines

export class Room {
  #$;
  #own = "";
  #people = new Set();

  /** elements: {title, people, log, lines, empty, announce} */
  constructor(elements) {
    this.#$ = elements;
  }

  /** Shows a room as it was found on entering. */
  enter({ room, name, present, lines }) {
    this.#own = name;
    this.#people = new Set(present);
    this.#$.title.textContent = room;
    this.#$.lines.replaceChildren(...lines.map((line) => this.#itemOf(line)));
    this.#show();
    this.#$.log.scrollTop = this.#$.log.scrollHeight;
  }

  came(name) {
    this.#people.add(name);
    this.#add(element("li", "event", `${name} came in.`));
    this.#$.announce.textContent = `${name} came in.`;
  }

  went(name) {
    this.#people.delete(name);
    this.#add(element("li", "event", `${name} left.`));
    this.#$.announce.textContent = `${name} left.`;
  }

  said(line) {
    this.#add(this.#itemOf(line));
    if (line.name !== this.#own) this.#$.announce.textContent = `${line.name} said: ${line.text}`;
  }

  #add(item) {
    const { log, lines } = this.#$;
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40; // whoever reads older lines is left there
    lines.append(item);
    if (lines.children.length > SHOWN) lines.firstElementChild.remove();
    this.#show();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  #show() {
    this.#$.people.replaceChildren(...[...this.#people].map((name) => element("li", "", name === this.#own ? `${name} (you)` : name)));
    this.#$.empty.hidden = this.#$.lines.children.length > 0;
  }

  #itemOf({ name, text, time }) {
    const item = element("li", "line");
    const at = new Date(Number(time / 1_000_000n));
    const when = element("time", "", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    when.dateTime = at.toISOString();
    when.title = at.toLocaleString();
    const head = element("p", "head");
    head.append(element("strong", name === this.#own ? "own" : "", name), " ", when);
    const body = element("div", "body");
    body.append(head, element("p", "text", text));
    item.append(faceOf(name), body);
    return item;
  }
}
