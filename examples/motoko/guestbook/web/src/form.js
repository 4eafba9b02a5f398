// The form: checks what is written before it is sent, and watches until it comes back as an entry.
import { store, stored } from "../../../shared/page.js";

const MAX_AUTHOR = 40;
const MAX_TEXT = 2_000;
// A post is a call, then a feed read: some seconds on a real network.
const CONFIRM_MS = 20_000;

const NAME = "guestbook.author";

export class Form {
  #$;
  #waiting = new Map(); // what was sent and has not come back: "author\0text" -> timer

  /** elements: {form, author, text, send, count, sent, authorError, textError}; write({author, text}) sends. */
  constructor(elements, { write, error }) {
    this.#$ = elements;
    const { form, author, text } = elements;
    author.value = stored(NAME);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(write, error);
    });
    text.addEventListener("input", () => this.#counted());
    text.addEventListener("keydown", (event) => {
      // Ctrl+Enter or Cmd+Enter writes, as in most boxes of this kind.
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    this.#counted();
  }

  setLive(live) {
    this.#$.send.disabled = !live;
  }

  /** An entry has arrived: if it is ours, it is confirmed. */
  arrived({ author, text }) {
    const key = keyOf(author, text);
    if (!this.#waiting.has(key)) return;
    clearTimeout(this.#waiting.get(key));
    this.#waiting.delete(key);
    this.#status(this.#waiting.size ? "Waiting for the guestbook..." : "Your entry is in the guestbook.");
  }

  #submit(write, error) {
    const author = this.#$.author.value.trim();
    const text = this.#$.text.value.trim();
    const authorProblem = problemOf(author, "Please give a name.", "The name", MAX_AUTHOR);
    const textProblem = problemOf(text, "Please write something.", "The entry", MAX_TEXT);
    show(this.#$.author, this.#$.authorError, authorProblem);
    show(this.#$.text, this.#$.textError, textProblem);
    if (authorProblem || textProblem) {
      if (this.#waiting.size === 0) this.#status(""); // it is about an earlier entry
      (authorProblem ? this.#$.author : this.#$.text).focus();
      return;
    }
    try {
      write({ author, text });
    } catch (problem) {
      error(`Your entry could not be sent: ${problem.message}`);
      return;
    }
    store(NAME, author);
    this.#$.text.value = "";
    this.#counted();
    this.#status("Waiting for the guestbook...");
    const key = keyOf(author, text);
    clearTimeout(this.#waiting.get(key));
    this.#waiting.set(key, setTimeout(() => this.#lost(key, text, error), CONFIRM_MS));
  }

  #lost(key, text, error) {
    this.#waiting.delete(key);
    this.#status("");
    error(`The guestbook has not confirmed your entry "${shortened(text)}". It may have refused it.`);
    if (!this.#$.text.value) {
      this.#$.text.value = text;
      this.#counted();
    }
  }

  #counted() {
    const left = MAX_TEXT - length(this.#$.text.value.trim());
    this.#$.count.textContent = left < 0 ? `${characters(-left)} too many` : `${characters(left)} left`;
    this.#$.count.classList.toggle("over", left < 0);
  }

  #status(text) {
    this.#$.sent.textContent = text;
  }
}

function problemOf(value, empty, what, max) {
  if (value === "") return empty;
  const over = length(value) - max;
  return over > 0 ? `${what} is ${characters(over)} too long: at most ${max}.` : "";
}

function show(input, place, problem) {
  place.textContent = problem;
  place.hidden = !problem;
  input.ariaInvalid = problem ? "true" : "false";
}

const characters = (n) => (n === 1 ? "1 character" : `${n} characters`);
const length = (text) => [...text].length; // characters, not UTF-16 halves
const keyOf = (author, text) => `${author}\0${text}`;
const shortened = (text) => (length(text) > 40 ? `${[...text].slice(0, 40).join("")}...` : text);
