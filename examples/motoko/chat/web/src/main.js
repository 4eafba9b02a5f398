// The page: a room to enter, and what happens in it. Everything goes over the WebSocket.
import { $, Page, store, stored } from "../../../shared/page.js";
import { Message } from "./messages.js";
import { Room } from "./room.js";

// A message is a call, then a push: some seconds on a real network.
const PATIENCE_MS = 20_000;

const PLACE = "chat.place"; // {room, name} of this tab
const NAME = "chat.name"; // the name of the last visit

const room = new Room({
  title: $("place-title"), people: $("people"), log: $("log"), lines: $("lines"), empty: $("empty"), announce: $("announce"),
});

let wanted = keptPlace(); // the place to be in, as soon as there is a connection
let shown = null; // the room in view
let isLive = false;
let isInside = false; // this connection's Join has been answered
let isLeaving = false;
let early = []; // what came from the room before that answer
let lastLine = -1n; // id of the newest line in view
let joining; // timer of a Join that is not answered
const waiting = []; // {text, timer}: what was said and has not come back

const page = new Page({ name: "chat", T: Message, meet, state: connectionChanged, live: enter, message: received });

// --- what comes

function received(message) {
  const [[tag, value]] = Object.entries(message);
  switch (tag) {
    case "Joined":
      return joined(value);
    case "Left":
      return outside("");
    case "Refused":
      return refused(value);
    default:
      // what happens in a room
      if (value.room !== wanted?.room) return;
      if (isInside) happened(tag, value);
      else early.push([tag, value]);
  }
}

function joined(welcome) {
  if (welcome.room !== wanted?.room || welcome.name !== wanted.name) return; // left meanwhile
  clearTimeout(joining);
  const isBack = shown !== null; // the connection was away: whoever was reading goes on reading
  isInside = true;
  shown = welcome.room;
  room.enter(welcome);
  const known = new Set(welcome.lines.map(({ id }) => id));
  for (const line of welcome.lines) if (line.id > lastLine) heard(line); // said before the connection was lost
  for (const [tag, value] of early.splice(0)) {
    if (tag !== "Said" || !known.has(value.line.id)) happened(tag, value);
  }
  show();
  if (!isBack) $("text").focus();
}

function happened(tag, { name, line }) {
  if (tag === "Said") {
    room.said(line);
    heard(line);
  } else if (tag === "Came") room.came(name);
  else if (name !== wanted.name) room.went(name);
  else if (!isLeaving) outside("You left the room, perhaps in another window.");
}

/** Line ids of another network say nothing. */
function meet(_, isNew) {
  if (isNew) lastLine = -1n;
}

/** A line is in view: if it is ours, it is confirmed. */
function heard({ id, name, text }) {
  lastLine = id;
  const at = name === wanted.name ? waiting.findIndex((said) => said.text === text) : -1;
  if (at >= 0) settle(at);
}

function refused(text) {
  isLeaving = false;
  show();
  if (!isInside) outside(text);
  else if (waiting.length > 0) giveBack(0, text);
  else page.error(text);
}

// --- entering and leaving

function enter() {
  isInside = false;
  early = [];
  if (!wanted) return;
  page.send({ Join: wanted });
  clearTimeout(joining);
  joining = setTimeout(() => outside("The chat has not answered."), PATIENCE_MS);
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const place = { room: $("room").value.trim(), name: $("name").value.trim() };
  const missing = [["name", "Please give a name."], ["room", "Please name a room."]].find(([id]) => !place[id]);
  for (const id of ["name", "room"]) $(id).ariaInvalid = String(missing?.[0] === id);
  joinProblem(missing?.[1] ?? "");
  if (missing) {
    $(missing[0]).focus();
    return;
  }
  wanted = place;
  lastLine = -1n;
  store(PLACE, JSON.stringify(place), "sessionStorage");
  store(NAME, place.name);
  if (!attempt(enter)) wanted = null;
  show();
});

$("leave").addEventListener("click", () => {
  isLeaving = attempt(() => page.send({ Leave: null }));
  show();
});

/** In no room, for this reason. */
function outside(reason) {
  clearTimeout(joining);
  wanted = shown = null;
  isInside = isLeaving = false;
  early = [];
  store(PLACE, "", "sessionStorage");
  while (waiting.length > 0) settle(0);
  joinProblem(reason);
  show();
  $("name").focus();
}

function joinProblem(text) {
  $("join-error").textContent = text;
  $("join-error").hidden = !text;
}

// --- saying something

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  attempt(() => {
    page.send({ Say: text });
    const said = { text, timer: setTimeout(() => giveBack(waiting.indexOf(said), "The chat has not confirmed your message."), PATIENCE_MS) };
    waiting.push(said);
    $("text").value = "";
    $("sent").textContent = "Sending...";
  });
});

/** What was said has come back, or never will. */
function settle(at) {
  const [{ text, timer }] = waiting.splice(at, 1);
  clearTimeout(timer);
  if (waiting.length === 0) $("sent").textContent = "";
  return text;
}

function giveBack(at, reason) {
  const text = settle(at);
  page.error(reason);
  if (!$("text").value) $("text").value = text;
}

function attempt(send) {
  try {
    send();
    return true;
  } catch (problem) {
    page.error(`That could not be sent: ${problem.message}`);
    return false;
  }
}

// --- what the visitor sees

function connectionChanged(name) {
  isLive = name === "live";
  if (!isLive) {
    isInside = false;
    clearTimeout(joining);
    if (isLeaving) outside("");
  }
  show();
}

function show() {
  $("join").hidden = shown !== null; // the room stays in view while the connection is away
  $("place").hidden = shown === null;
  $("enter").disabled = !isLive || wanted !== null;
  $("send").disabled = $("leave").disabled = !isInside || isLeaving;
}

function keptPlace() {
  try {
    const place = JSON.parse(stored(PLACE, "sessionStorage") || "null");
    return place && { room: String(place.room), name: String(place.name) };
  } catch {
    return null;
  }
}

$("name").value = wanted?.name ?? stored(NAME);
$("room").value = wanted?.room ?? $("room").value;
show();
page.open();
