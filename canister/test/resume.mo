/// Going on after a lost connection, where there is no room or very much.

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Runtime "mo:core/Runtime";
import Clients "../src/Clients";
import Gateways "../src/Gateways";
import Hub "../src/Hub";
import Queue "../src/Queue";
import Resume "../src/Resume";
import Settings "../src/Settings";
import Types "../src/Types";
import Check "Check";

let second : Nat64 = 1_000_000_000;
let window = 100 * second;

let settings : Settings.Settings = switch (
  Settings.check({
    calls = [];
    feeds = [];
    admins = [];
    hooks = null;
    pushers = null;
    gateways = null;
    interface = null;
    ack_interval_ms = null;
    keep_alive_timeout_ms = null;
    max_messages = null;
    max_calls_in_flight = null;
    resume_ms = ?(100_000 : Nat64);
    resume_tag = null;
  })
) {
  case (#ok(settings)) settings;
  case (#err(e)) Runtime.trap(e);
};
Check.isTrue("the window", settings.resumeWindow == window);

func key(client : Nat, nonce : Nat64) : Types.ClientKey = { client_principal = Check.principal(client); client_nonce = nonce };

func open(hub : Hub.Hub, client : Nat, nonce : Nat64, gateway : Nat, now : Nat64) {
  switch (Hub.open(hub, settings, Check.principal(client), { client_nonce = nonce; gateway_principal = Check.principal(gateway) }, [], now)) {
    case (#ok) {};
    case (#err(e)) Check.text("open", e, "");
  };
};

func found(hub : Hub.Hub, key : Types.ClientKey) : Clients.Client = switch (Clients.find(hub.clients, key)) {
  case (?client) client;
  case null Runtime.trap("client not found");
};

func bytes(size : Nat) : Blob = Blob.fromArray(Array.repeat<Nat8>(7, size));

func tell(hub : Hub.Hub, client : Nat, size : Nat, now : Nat64) = Hub.sendAll(hub, settings, Hub.allOf(hub, settings, Check.principal(client), now), bytes(size), now);

func isWaiting(hub : Hub.Hub, principal : Principal, now : Nat64) : Bool = switch (Resume.waitingOf(hub.resume, principal, now, window)) {
  case null false;
  case (?_) true;
};

/// Messages and bytes that are kept, counted again.
func check(what : Text, hub : Hub.Hub) {
  var letters = 0;
  var waiting = 0;
  for (boxes in [hub.resume.open, hub.resume.lost].values()) {
    for (box in Map.values(boxes)) letters += Resume.size(box).count;
  };
  for (box in Map.values(hub.resume.lost)) if (box.heir == null) waiting += 1;
  Check.nat(what # ": messages", hub.resume.letters, letters);
  Check.nat(what # ": waiting", hub.resume.waiting, waiting);
  if (letters == 0) Check.nat(what # ": bytes", hub.resume.bytes, 0);
};

// -- many are lost at once, and are all back already

do {
  let hub = Hub.empty();
  for (i in Nat.range(0, 11)) {
    open(hub, i, 1, 900, 0);
    for (_ in Nat.range(0, 500)) tell(hub, i, 10, 0);
  };
  for (i in Nat.range(0, 11)) open(hub, i, 2, 901, 0);
  Hub.acknowledge(hub, settings, 300 * second);
  for (i in Nat.range(0, 11)) found(hub, key(i, 2)).isAskedForKeepAlive := false;
  var rounds = 0;
  while (Hub.expire(hub, settings, 361 * second)) rounds += 1;
  Check.nat("slices", rounds, 1);
  Check.nat("those that are there", Clients.size(hub.clients), 11);
  for (i in Nat.range(0, 11)) Check.isTrue("they have it all", found(hub, key(i, 2)).sent >= 502);
  check("after many", hub);
};

// -- no room for a reply

let large = bytes(1_000_000);

do {
  let hub = Hub.empty();
  open(hub, 1, 1, 900, 0);
  open(hub, 2, 1, 901, 0);
  func fill(gateway : Nat, now : Nat64) {
    switch (Gateways.find(hub.gateways, Check.principal(gateway))) {
      case (?g) while (Gateways.makeRoom(hub.gateways, g, 1, 1_000_000, now)) Queue.push(g.queue, { key = key(99, 1); content = large; at = now }, "");
      case null Check.isTrue("gateway found", false);
    };
  };
  fill(900, second);
  let to = Hub.everybody(hub, settings, second);
  Check.isTrue("one has no room", not Hub.sendOrClose(hub, settings, to, large, second));
  Check.nat("one is left", Clients.size(hub.clients), 1);
  check("without room", hub);
  switch (Hub.open(hub, settings, Check.principal(1), { client_nonce = 2; gateway_principal = Check.principal(900) }, [], 2 * second)) {
    case (#ok) Check.isTrue("no room to come back either", false);
    case (#err(_)) Check.nat("it is still waited for", hub.resume.waiting, 1);
  };
  open(hub, 1, 3, 901, 2 * second);
  Check.nat("the open message, the reply, and the question whether it has that", Nat64.toNat(found(hub, key(1, 3)).sent), 3);

  // the successor of a lost connection has no room: it is lost, too, and both go on as one
  open(hub, 1, 4, 902, 3 * second);
  tell(hub, 1, 100, 3 * second);
  fill(902, 3 * second);
  ignore Hub.lost(hub, settings, Check.principal(901), key(1, 3), 3 * second);
  Check.nat("only the other client is left", Clients.size(hub.clients), 1);
  Check.nat("one is waited for", hub.resume.waiting, 1);
  check("merged", hub);
  // when there is room again
  open(hub, 1, 5, 901, 20 * second);
  Check.nat("both messages, and the question", Nat64.toNat(found(hub, key(1, 5)).sent), 4);
  Hub.remove(hub, settings, found(hub, key(1, 5)), null, 20 * second);
  Hub.remove(hub, settings, found(hub, key(2, 1)), null, 20 * second);
  check("nobody", hub);
};

// -- so many that the oldest must go

do {
  let hub = Hub.empty();
  let resume = hub.resume;
  func lose(client : Nat, now : Nat64) {
    let box = Resume.add(resume, key(client, 1), Check.principal(900), 0);
    Resume.keep(resume, box, Resume.letter(resume, "x", false), 1);
    ignore Resume.lose(resume, box, true, now, window);
  };
  for (i in Nat.range(0, Resume.maxLost + 5)) lose(i, Nat64.fromNat(i));
  Check.nat("lost ones", resume.waiting, Resume.maxLost);
  Check.isTrue("the longest lost is forgotten", not isWaiting(hub, Check.principal(4), second));
  Check.isTrue("the next is not", isWaiting(hub, Check.principal(5), second));
  // the same client over and over, with the same key
  for (n in Nat.range(0, 35_000)) lose(7, second);
  Check.isTrue("what is to expire is bounded", resume.expiry.size <= 4 * Resume.maxLost);
  check("many", hub);
  Resume.prune(resume, 200 * second, window);
  Check.nat("all expired", Map.size(resume.lost) + resume.expiry.size, 0);
  check("expired", hub);
};

// -- what all are to get is there once

do {
  let hub = Hub.empty();
  for (i in Nat.range(0, 10)) open(hub, i, 1, 900, 0);
  Hub.sendAll(hub, settings, Hub.everybody(hub, settings, 0), bytes(1_000), 0);
  Check.nat("bytes of a broadcast", hub.resume.bytes, 1_000);
  Check.nat("for ten", hub.resume.letters, 10);
  for (i in Nat.range(0, 9)) {
    switch (Resume.find(hub.resume, key(i, 1))) {
      case (?box) Resume.acknowledged(hub.resume, box, 2);
      case null Check.isTrue("box found", false);
    };
  };
  Check.nat("until the last has it", hub.resume.bytes, 1_000);
  ignore Hub.lost(hub, settings, Check.principal(900), key(9, 1), 0);
  Check.nat("or may come back for it", hub.resume.bytes, 1_000);
  Resume.prune(hub.resume, 101 * second, window);
  check("all done", hub);
  // when there is no room for all together, who would need it begins anew
  hub.resume.bytes := Resume.maxTotalBytes - 10;
  open(hub, 20, 1, 900, 102 * second);
  tell(hub, 20, 100, 102 * second);
  ignore Hub.lost(hub, settings, Check.principal(900), key(20, 1), 102 * second);
  Check.isTrue("nothing is handed on with a gap", not isWaiting(hub, Check.principal(20), 103 * second));
  Check.isTrue("and that is counted", hub.resume.overflowed == 1);
};

