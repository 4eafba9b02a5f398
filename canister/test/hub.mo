import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Iter "mo:core/Iter";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Text "mo:core/Text";
import Clients "../src/Clients";
import Gateways "../src/Gateways";
import CertTree "../src/CertTree";
import Hub "../src/Hub";
import Queue "../src/Queue";
import Ring "../src/Ring";
import Routes "../src/Routes";
import Service "../src/Service";
import Settings "../src/Settings";
import Types "../src/Types";
import Check "Check";

let second : Nat64 = 1_000_000_000;
let config : Types.Config = {
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
  resume_ms = null;
  resume_tag = null;
};

func settingsOf(config : Types.Config) : Settings.Settings = switch (Settings.check(config)) {
  case (#ok(settings)) settings;
  case (#err(e)) {
    Check.text("settings", e, "");
    settingsOf({ config with ack_interval_ms = null; keep_alive_timeout_ms = null; max_messages = null });
  };
};

// -- Settings

let settings = settingsOf(config);
Check.isTrue("the CDK's defaults", settings.ackInterval == 300 * second and settings.keepAliveTimeout == 60 * second and settings.maxMessages == 50);
Check.isTrue("a short interval alone", settingsOf({ config with ack_interval_ms = ?(1_000 : Nat64) }).keepAliveTimeout == second / 2);
Check.isTrue("a long interval alone", settingsOf({ config with ack_interval_ms = ?(600_000 : Nat64) }).keepAliveTimeout == 60 * second);
Check.refused("timeout above the interval", Settings.check({ config with ack_interval_ms = ?(1_000 : Nat64); keep_alive_timeout_ms = ?(2_000 : Nat64) }), "greater than keep_alive_timeout_ms");
Check.refused("no interval", Settings.check({ config with ack_interval_ms = ?(0 : Nat64) }), "ack_interval_ms: must be between");
Check.refused("an interval beyond a day", Settings.check({ config with ack_interval_ms = ?(18_446_744_073_709_551_615 : Nat64) }), "ack_interval_ms: must be between");
Check.refused("no messages", Settings.check({ config with max_messages = ?(0 : Nat64) }), "max_messages");
Check.refused("many calls in flight", Settings.check({ config with max_calls_in_flight = ?(201 : Nat64) }), "max_calls_in_flight: must be between 1 and 200");
Check.refused("anonymous admin", Settings.check({ config with admins = [Check.principal(1), Check.anonymous()] }), "anonymous");

let call : Types.Call = {
  target = Check.principal(1);
  method = "put";
  tag = null;
  pass_client = null;
  reply = null;
  reply_tag = null;
  error_tag = null;
};
let feed : Types.Feed = {
  target = Check.principal(1);
  method = "since";
  tag = null;
  recipient = null;
  last = null;
  interval_ms = null;
};
let long = Text.join(Iter.map<Nat, Text>(Nat.range(0, 1_001), func _ = "x"), "");
for (
  (name, config, want) in [
    ("many feeds", { config with feeds = Array.tabulate<Types.Feed>(65, func i = { feed with target = Check.principal(i) }) }, "feeds: more than 64"),
    ("many calls", { config with calls = Array.tabulate<Types.Call>(257, func i = { call with tag = ?Nat.toText(i) }) }, "calls: more than 256"),
    ("a tag twice", { config with calls = [{ call with tag = ?"A" }, { call with tag = ?"B" }, { call with tag = ?"A" }] }, "the tag A is named twice"),
    ("two calls without a tag", { config with calls = [call, call] }, "only one call can be without a tag"),
    ("an empty tag", { config with calls = [{ call with tag = ?"" }] }, "calls: an empty tag"),
    ("a long error tag", { config with calls = [{ call with error_tag = ?long }] }, "calls: error_tag of more than 1000"),
    ("a reply tag without a reply", { config with calls = [{ call with reply_tag = ?"R" }] }, "calls: reply_tag without reply"),
    ("an empty recipient", { config with feeds = [{ feed with recipient = ?"" }] }, "feeds: an empty recipient"),
    ("many last items", { config with feeds = [{ feed with last = ?(1_001 : Nat64) }] }, "feeds: last must be at most 1000"),
    ("many feeds with last", { config with feeds = Array.tabulate<Types.Feed>(17, func i = { feed with target = Check.principal(i); last = ?(1 : Nat64) }) }, "feeds: more than 16 with last"),
    ("a hasty feed", { config with feeds = [{ feed with interval_ms = ?(99 : Nat64) }] }, "feeds: interval_ms must be between 100"),
    ("a feed twice with other options", { config with feeds = [feed, { feed with tag = ?"T" }] }, ".since is named twice"),
    ("an idle hook", { config with hooks = ?[{ target = Check.principal(1); open = null; close = null }] }, "hooks: neither open nor close"),
    ("a hook without a name", { config with hooks = ?[{ target = Check.principal(1); open = ?""; close = null }] }, "hooks: a method without a name"),
    ("an anonymous pusher", { config with pushers = ?[Check.anonymous()] }, "pushers: the anonymous principal"),
    ("an anonymous target", { config with calls = [{ call with target = Check.anonymous() }] }, "a target is the anonymous principal"),
    ("an anonymous gateway", { config with gateways = ?[Check.anonymous()] }, "gateways: the anonymous principal"),
    ("a short memory", { config with resume_ms = ?(999 : Nat64) }, "resume_ms: must be 0, or between 1000 and 3600000"),
    ("a long memory", { config with resume_ms = ?(3_600_001 : Nat64) }, "resume_ms: must be 0, or between"),
    ("an empty resume tag", { config with resume_ms = ?(1_000 : Nat64); resume_tag = ?"" }, "an empty resume_tag"),
    ("a resume tag for nothing", { config with resume_tag = ?"R" }, "resume_tag without resume_ms"),
    ("a later version", { config with interface = ?(2 : Nat32) }, "interface: the configuration is of version 2, this relay canister knows version 1"),
  ].values()
) Check.refused(name, Settings.check(config), want);
let full = settingsOf({
  config with calls = [{ call with tag = ?"A"; reply = ?#Sender; reply_tag = ?"R" }, { call with target = Check.principal(2) }];
  feeds = [{ feed with target = Check.principal(3) }];
  hooks = ?[{ target = Check.principal(4); open = ?"o"; close = null }];
  pushers = ?[Check.principal(5)];
  gateways = ?[Check.principal(6)];
  interface = ?(1 : Nat32);
});
for (i in Nat.range(1, 6)) Check.isTrue("a target is whoever is named", Settings.isTarget(full, Check.principal(i)));
Check.isTrue("a gateway is none", not Settings.isTarget(full, Check.principal(6)));
Check.isTrue("a listed gateway", Settings.allowsGateway(full, Check.principal(6)));
Check.isTrue("another gateway", not Settings.allowsGateway(full, Check.principal(7)));
Check.isTrue("no list", Settings.allowsGateway(settings, Check.principal(7)));

// -- clients, one at a time and many

let gateway = Check.principal(900);

func open(hub : Hub.Hub, client : Nat, nonce : Nat64, gateway : Principal, now : Nat64) : Text {
  switch (Hub.open(hub, settings, Check.principal(client), { client_nonce = nonce; gateway_principal = gateway }, [], now)) {
    case (#ok) "";
    case (#err(e)) e;
  };
};

func queueOf(hub : Hub.Hub, gateway : Principal) : Queue.Queue = switch (Gateways.find(hub.gateways, gateway)) {
  case (?g) g.queue;
  case null {
    Check.isTrue("gateway found", false);
    Queue.empty(CertTree.addTrack(CertTree.empty(), "", 0), { var bytes = 0 });
  };
};

func sendAll(hub : Hub.Hub, content : Blob, now : Nat64) = Hub.sendAll(hub, settings, Hub.everybody(hub, settings, now), content, now);

func hasRoom(hub : Hub.Hub, size : Nat, now : Nat64) : Bool = Hub.refusal(hub, Clients.toArray(hub.clients), size, now) == null;

func poll(hub : Hub.Hub, gateway : Principal, nonce : Nat64) : Nat {
  ignore Hub.commit(hub);
  switch (Hub.poll(hub, settings, gateway, nonce, ?("certificate" : Blob))) {
    case (#ok(got)) {
      if (got.messages.size() > 0) {
        Check.examine("witness", Array.concat<Text>([Check.hex(Hub.commit(hub)), Check.hex(got.tree)], Array.flatten<Text>(Array.map<Types.CanisterOutputMessage, [Text]>(got.messages, func m = [m.key, Check.sha256Hex(m.content)]))));
      };
      got.messages.size();
    };
    case (#err(e)) {
      Check.text("poll", e, "");
      0;
    };
  };
};

do {
  let hub = Hub.empty();
  Check.nat("nobody polls nothing", poll(hub, gateway, 0), 0);
  for (i in Nat.range(0, 300)) Check.text("open", open(hub, i, 1, Check.principal(900 + i % 3), 0), "");
  Check.nat("clients", Clients.size(hub.clients), 300);
  Check.nat("a poll", poll(hub, gateway, 0), 50);
  Check.nat("the rest", poll(hub, gateway, 95), 5);
  sendAll(hub, "\01\02", second);
  Check.nat("after a broadcast", poll(hub, gateway, 150), 50);
  Check.nat("every gateway its own", poll(hub, Check.principal(902), 199), 1);
  Check.refused("as an update", Hub.poll(hub, settings, gateway, 0, null), "as a query");
  // 5 messages of 100 seconds ago are dropped for each new one
  Check.text("open later", open(hub, 500, 1, gateway, 301 * second), "");
  Check.nat("first nonce", (queueOf(hub, gateway)).track.first, 5);
};

// -- a full queue

func bytesOf(queue : Queue.Queue) : Nat {
  var bytes = 0;
  var n = queue.track.first;
  while (n < queue.track.next) {
    bytes += Queue.at(queue, n).content.size();
    n += 1;
  };
  bytes;
};

do {
  let hub = Hub.empty();
  Check.text("open", open(hub, 1, 1, gateway, 0), "");
  Check.text("open", open(hub, 2, 1, Check.principal(901), 0), "");
  let queue = queueOf(hub, gateway);
  let large = Blob.fromArray(Array.repeat<Nat8>(7, 1_000_000));
  var count = 0;
  for (content in [large, Blob.fromArray(Array.repeat<Nat8>(7, 1_000)), "\07" : Blob].values()) {
    count := 0;
    while (hasRoom(hub, content.size(), second) and count < 1_000) {
      sendAll(hub, content, second);
      count += 1;
    };
    if (content.size() == large.size()) Check.nat("64 MiB are a full queue", count, 67);
  };
  let messages = queue.items.size;
  Check.isTrue("nothing was dropped", queue.track.first == 0);
  Check.text("no room for a client", open(hub, 3, 1, gateway, 9 * second), "The queue of gateway " # debug_show gateway # " is full, try again later");
  Check.nat("it is not there", Clients.size(hub.clients), 2);
  // acknowledgements need no room: a client that gets none closes
  Hub.acknowledge(hub, settings, 9 * second);
  Check.nat("messages", queue.items.size, messages + 1);
  ignore Hub.expire(hub, settings, 10 * second);
  Check.nat("clients", Clients.size(hub.clients), 2);
  // after 10 seconds the oldest may go, as many as need be
  Check.isTrue("room again", hasRoom(hub, large.size(), 12 * second));
  Check.isTrue("the oldest went", queue.track.first == 2);
  // what the gateway has polled may go at once
  Hub.delivered(hub, gateway, 50);
  Check.isTrue("delivered", queue.track.first == 50 and queue.items.size + 50 == messages + 1);
  Hub.delivered(hub, gateway, 1_000_000);
  Check.isTrue("a nonce that was never given out drops nothing", queue.track.first == 50 and queue.items.size + 50 == messages + 1);
  Hub.delivered(hub, gateway, Nat64.fromNat(messages + 1));
  Check.isTrue("the last message stays", queue.track.first == messages and queue.items.size == 1);
  Check.nat("bytes are counted", queue.bytes, bytesOf(queue));
  Check.isTrue("one message may be larger than a queue", Queue.makeRoom(Queue.empty(CertTree.addTrack(CertTree.empty(), "", 0), { var bytes = 0 }), 1, 100_000_000, 0));
};

do {
  let queue = Queue.empty(CertTree.addTrack(CertTree.empty(), "g", 0), { var bytes = 0 });
  for (n in Nat.range(0, 50_000)) {
    Queue.push(queue, { key = { client_principal = gateway; client_nonce = 0 }; content = ""; at = 0 }, "");
  };
  Check.isTrue("50000 messages are a full queue", not Queue.makeRoom(queue, 1, 1, second));
  let range = Queue.range(queue, 49_990, 50, 1_000_000);
  Check.isTrue("range at the end", range.from == 49_990 and range.to == 50_000 and range.isEnd);
  let few = Queue.range(queue, 0, 50, 1_000);
  Check.isTrue("range bounded in bytes", few.from == 0 and few.to == 4 and not few.isEnd);
};

// -- all queues together

do {
  let hub = Hub.empty();
  let content = Blob.fromArray(Array.repeat<Nat8>(7, 100_000));
  for (i in Nat.range(0, 6)) Check.text("open", open(hub, i, 1, Check.principal(900 + i), 0), "");
  // as if a seventh gateway's queue held all but 5 MB of what all may hold
  let others = Queue.maxTotalBytes - 5_000_000 : Nat;
  hub.gateways.total.bytes += others;
  var count = 0;
  while (hasRoom(hub, content.size(), second) and count < 1_000) {
    sendAll(hub, content, second);
    count += 1;
  };
  // each for 6 clients
  Check.nat("messages in the rest", count, 8);
  var bytes = others;
  for (gateway in Map.values(hub.gateways.all)) bytes += gateway.queue.bytes;
  Check.nat("bytes of all queues", hub.gateways.total.bytes, bytes);
  switch (Clients.find(hub.clients, { client_principal = Check.principal(0); client_nonce = 1 })) {
    case null Check.isTrue("client found", false);
    case (?client) {
      let to = { clients = [client]; lost = []; isOwn = true };
      Check.isTrue("nobody is closed where there is room", Hub.sendOrClose(hub, settings, to, "\07", second));
      Check.isTrue("a reply without room", not Hub.sendOrClose(hub, settings, to, Blob.fromArray(Array.repeat<Nat8>(7, 1_000_000)), second));
      Check.nat("closes the client", Clients.size(hub.clients), 5);
    };
  };
  // a gateway that polls makes room for all
  Check.isTrue("still full", not hasRoom(hub, content.size(), second));
  Hub.delivered(hub, Check.principal(905), 9);
  Check.isTrue("room after delivery", hasRoom(hub, content.size(), second));
  // what gateways have not polled for a while goes when others need the room
  while (hasRoom(hub, content.size(), second)) sendAll(hub, content, second);
  Check.isTrue("not at once", not hasRoom(hub, content.size(), 10 * second));
  Check.isTrue("room after a while", hasRoom(hub, content.size(), 12 * second));
  Check.isTrue("too large for all together", Hub.refusal(hub, Clients.toArray(hub.clients), 4_000_000, 12 * second) == ?#tooLarge);
  // a queue that goes gives its bytes back
  for (client in Clients.toArray(hub.clients).values()) ignore Hub.close(hub, settings, client.gateway.principal, client.key, 13 * second);
  ignore Hub.expire(hub, settings, 1_000 * second);
  Check.nat("nothing is left", hub.gateways.total.bytes, others);
};

// -- what others are told

do {
  let hub = Hub.empty();
  let withHooks = settingsOf({ config with hooks = ?[{ target = Check.principal(4); open = ?"o"; close = null }] });
  let key = { client_principal = Check.principal(1); client_nonce = 3 : Nat64 };
  for (settings in [settings, withHooks].values()) {
    switch (Hub.open(hub, settings, key.client_principal, { client_nonce = 3; gateway_principal = gateway }, ["\01", "\02"], 0)) {
      case (#ok) {};
      case (#err(e)) Check.text("open", e, "");
    };
    ignore Hub.close(hub, settings, gateway, key, 0);
  };
  Check.nat("an open message and two greetings each", poll(hub, gateway, 0), 6);
  Check.text("events only for hooks", debug_show (Array.fromIter<Hub.Event>(Ring.values(hub.events))), debug_show ([#opened key, #closed key] : [Hub.Event]));
  Check.refused("a gateway that is not listed", Hub.open(hub, full, key.client_principal, { client_nonce = 4; gateway_principal = gateway }, [], 0), "Clients cannot come through gateway");
};

// -- bounds of clients and gateways

do {
  let hub = Hub.empty();
  for (i in Nat.range(0, 256)) Check.text("gateway", open(hub, i, 1, Check.principal(i), 0), "");
  Check.text("one gateway too many", open(hub, 300, 1, Check.principal(999), 0), "The relay canister has no room for another gateway, try again later");
  Check.text("a known gateway", open(hub, 301, 1, Check.principal(5), 0), "");
  Check.nat("polls with 256 gateways", poll(hub, Check.principal(5), 0), 2);
  ignore Hub.close(hub, settings, Check.principal(7), { client_principal = Check.principal(7); client_nonce = 1 }, second);
  Check.text("one without clients may have messages to poll", open(hub, 300, 1, Check.principal(999), 2 * second), "The relay canister has no room for another gateway, try again later");
  Check.text("but not for long", open(hub, 300, 1, Check.principal(999), 12 * second), "");
};

// -- gateways that went and come back

do {
  let hub = Hub.empty();
  Check.text("open", open(hub, 1, 1, gateway, 0), "");
  switch (Hub.close(hub, settings, gateway, { client_principal = Check.principal(1); client_nonce = 1 }, second)) {
    case (#ok) {};
    case (#err(e)) Check.text("close", e, "");
  };
  ignore Hub.expire(hub, settings, 301 * second);
  Check.nat("still there after the interval", poll(hub, gateway, 0), 1);
  ignore Hub.expire(hub, settings, 302 * second);
  Check.nat("gone", poll(hub, gateway, 0), 0);
  Check.isTrue("nothing is certified", Hub.commit(hub) == CertTree.certifiedData(CertTree.empty()));
  Check.text("open again", open(hub, 1, 2, gateway, 400 * second), "");
  Check.isTrue("its nonces go on", (queueOf(hub, gateway)).track.first == 1);
  Check.nat("polled from where it was", poll(hub, gateway, 1), 1);
};

// -- messages

do {
  let hub = Hub.empty();
  Check.text("open", open(hub, 1, 7, gateway, 0), "");
  let key = { client_principal = Check.principal(1); client_nonce = 7 : Nat64 };
  func accept(number : Nat64, content : Blob, isService : Bool, now : Nat64) : Text {
    let message = if (isService) #service content else if (content == "") #nothing else #call { call; argument = content };
    switch (Hub.sender(hub, key.client_principal, key)) {
      case (#err(e)) e;
      case (#ok(client)) switch (Hub.accept(hub, settings, client, number, message, now)) {
        case (#ok({ refusal = ?text })) text;
        case (#ok({ routes })) debug_show (Array.map<Routes.Route, Blob>(routes, func r = r.argument));
        case (#err(e)) e;
      };
    };
  };
  let keepAlive = Service.encode(#KeepAliveMessage { last_incoming_sequence_num = 1 });
  Check.text("held", accept(2, "b", false, 0), "[]");
  Check.text("a held keep-alive", accept(3, keepAlive, true, 0), "[]");
  Check.text("held", accept(4, "d", false, 0), "[]");
  Check.nat("bytes held", hub.clients.heldBytes, 2 + keepAlive.size());
  Check.text("a held service message that is wrong", accept(5, "nonsense", true, 0), "[]");
  Check.text("a held one that was refused", accept(6, "", false, 0), "[]");
  Check.text("released", accept(1, "a", false, 9 * second), debug_show (["a", "b", "d"] : [Blob]));
  Check.nat("no bytes held", hub.clients.heldBytes, 0);
  switch (Clients.find(hub.clients, key)) {
    case (?client) Check.isTrue("the keep-alive counts when its turn comes", client.lastKeepAlive == 9 * second and client.heldBytes == 0);
    case null Check.isTrue("client found", false);
  };
  Check.text("a service message that is wrong", accept(7, Service.encode(#AckMessage { last_incoming_sequence_num = 1 }), true, 0), "Invalid service message");
  Check.text("held", accept(10, "x", false, 0), "[]");
  Check.text("too far ahead", accept(72, "x", false, 0), "Expected incoming sequence number 8 but got 72");
  Check.nat("no bytes held for a client that went", hub.clients.heldBytes, 0);
  Check.text("it is closed", accept(8, "x", false, 0), "Client with principal " # debug_show (key.client_principal) # " doesn't have an open connection");
  Check.nat("open and close were sent", poll(hub, gateway, 0), 2);
};
