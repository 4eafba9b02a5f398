/// The protocol: what the CDK's four methods and its timers do, on plain data.
///
/// The caller and the time are passed in. Every function that changes something leaves it to its caller to put
/// `commit` into the certified data before its message ends.

import Array "mo:core/Array";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Blob "mo:core/Blob";
import Cbor "Cbor";
import Bytes "Bytes";
import CertTree "CertTree";
import Clients "Clients";
import Errors "Errors";
import Gateways "Gateways";
import Order "Order";
import Queue "Queue";
import Ring "Ring";
import Routes "Routes";
import Service "Service";
import Settings "Settings";
import Sha256 "Sha256";
import Types "Types";

module {
  /// How much of one client's messages may wait for an earlier one.
  public let maxHeldPerClient = 4_194_304;
  /// How much of all clients' messages may wait for earlier ones.
  public let maxHeld = 67_108_864;
  /// Bytes of a message's encoding beside its content, at most.
  let overhead = 192;
  /// A message that comes to more for all its receivers together is refused: certifying it could never be paid for.
  public let maxFanOutBytes = 16_777_216;
  /// A poll returns about so much; the IC allows 3 MiB in a query's reply.
  public let maxPollBytes = 1_500_000;

  /// A connection that has come or gone, for those who want to be told.
  public type Event = { #opened : Types.ClientKey; #closed : Types.ClientKey };

  public type Hub = {
    clients : Clients.Clients;
    gateways : Gateways.Gateways;
    // kept only where the configuration has hooks
    events : Ring.Ring<Event>;
  };

  public type Result<T> = { #ok : T; #err : Text };

  public func empty() : Hub = {
    clients = Clients.empty();
    gateways = Gateways.empty();
    events = Ring.empty();
  };

  /// What the certified data must be now.
  public func commit(hub : Hub) : Blob = Gateways.commit(hub.gateways);

  /// `ws_open`: registers the caller as a client and queues its OpenMessage, and `greetings` behind it. O(log n) for each.
  public func open(hub : Hub, settings : Settings.Settings, caller : Principal, args : Types.CanisterWsOpenArguments, greetings : [Blob], now : Nat64) : Result<()> {
    if (Principal.isAnonymous(caller)) return #err(Errors.anonymous());
    if (not Settings.allowsGateway(settings, args.gateway_principal)) return #err(Errors.gatewayNotAllowed(args.gateway_principal));
    let key = { client_principal = caller; client_nonce = args.client_nonce };
    switch (Clients.find(hub.clients, key)) {
      case (?_) return #err(Errors.alreadyConnected(key));
      case null {};
    };
    let old = Array.fromIter<Clients.Client>(Clients.ofPrincipal(hub.clients, caller));
    if (old.size() < Clients.maxPerPrincipal and Clients.size(hub.clients) >= Clients.maxClients) {
      return #err(Errors.tooManyClients());
    };
    let gateway = switch (Gateways.findOrAdd(hub.gateways, args.gateway_principal, now)) {
      case (?gateway) gateway;
      case null return #err(Errors.tooManyGateways());
    };
    // anybody can come again and again: the last items leave half of the room to those who are connected
    if (greetings.size() > 0) {
      let hasSpare = Gateways.makeRoom(hub.gateways, gateway, Queue.maxCount / 2, Queue.maxBytes / 2, now) and Gateways.makeTotalRoom(hub.gateways, Queue.maxTotalBytes / 2, now);
      if (not hasSpare) return #err(Errors.gatewayQueueFull(args.gateway_principal));
    };
    var bytes = 512;
    for (greeting in greetings.values()) bytes += greeting.size() + overhead;
    if (not Gateways.makeRoom(hub.gateways, gateway, 1 + greetings.size(), bytes, now)) return #err(Errors.gatewayQueueFull(args.gateway_principal));
    if (old.size() >= Clients.maxPerPrincipal) {
      var stalest = old[0];
      for (client in old.values()) if (client.lastKeepAlive < stalest.lastKeepAlive) stalest := client;
      remove(hub, settings, stalest, ?#ClosedByApplication, now);
    };
    let client = Clients.add(hub.clients, key, gateway, now);
    send(hub, settings, client, Service.encode(#OpenMessage { client_key = key }), true, now);
    for (greeting in greetings.values()) send(hub, settings, client, greeting, false, now);
    note(hub, settings, #opened key);
    #ok;
  };

  /// `ws_close`: a gateway says that one of its clients has gone. O(log n).
  public func close(hub : Hub, settings : Settings.Settings, caller : Principal, key : Types.ClientKey, now : Nat64) : Result<()> {
    switch (Gateways.find(hub.gateways, caller)) {
      case null return #err(Errors.gatewayNotRegistered(caller));
      case _ {};
    };
    switch (Clients.find(hub.clients, key)) {
      case null return #err(Errors.keyNotConnected(key));
      case (?client) {
        if (client.gateway.principal != caller) return #err(Errors.notRegisteredToGateway(key, caller));
        remove(hub, settings, client, null, now);
        #ok;
      };
    };
  };

  /// The client that a `ws_message` comes from. O(log n).
  public func sender(hub : Hub, caller : Principal, key : Types.ClientKey) : Result<Clients.Client> {
    if (key.client_principal == caller) {
      switch (Clients.find(hub.clients, key)) {
        case (?client) return #ok(client);
        case null {};
      };
    };
    #err(if (Clients.hasPrincipal(hub.clients, caller)) Errors.keyMismatch(key) else Errors.principalNotConnected(caller));
  };

  /// The calls of the messages whose turn has come, in order. `refusal` is for the sender of the message that was taken in,
  /// whatever has become ready behind it.
  public type Accepted = { routes : [Routes.Route]; refusal : ?Text };

  /// `ws_message`: takes a message in. Keep-alive messages are dealt with here. O(log n), and O(log window) for each
  /// message that becomes ready.
  public func accept(hub : Hub, settings : Settings.Settings, client : Clients.Client, number : Nat64, message : Clients.Incoming, now : Nat64) : Result<Accepted> {
    let expected = client.order.expected;
    let size = Clients.sizeOf(message);
    if (number > expected and number - expected < Order.window) {
      if (client.heldBytes + size > maxHeldPerClient or hub.clients.heldBytes + size > maxHeld) {
        remove(hub, settings, client, ?#WrongSequenceNumber, now);
        return #err(Errors.heldTooMuch());
      };
    };
    switch (Order.offer(client.order, number, message)) {
      case (#wrong) {
        remove(hub, settings, client, ?#WrongSequenceNumber, now);
        #err(Errors.wrongSequenceNumber(expected, number));
      };
      case (#held) {
        client.heldBytes += size;
        hub.clients.heldBytes += size;
        #ok({ routes = []; refusal = null });
      };
      case (#ready(messages)) {
        let routes = List.empty<Routes.Route>();
        var refusal : ?Text = null;
        var isFirst = true;
        for (message in messages.values()) {
          if (not isFirst) {
            client.heldBytes -= Clients.sizeOf(message);
            hub.clients.heldBytes -= Clients.sizeOf(message);
          };
          switch message {
            case (#call(route)) List.add(routes, route);
            case (#nothing) {};
            case (#service(content)) switch (Service.decodeKeepAlive(content)) {
              case (#ok(_)) {
                client.lastKeepAlive := now;
                client.isAskedForKeepAlive := false;
              };
              // as in the CDK, only the sender of the message hears of it
              case (#err(e)) if (isFirst) refusal := ?e;
            };
          };
          isFirst := false;
        };
        #ok({ routes = List.toArray(routes); refusal });
      };
    };
  };

  /// `ws_get_messages`: what a gateway gets from `nonce` on, with a witness. O(messages returned + log n).
  public func poll(hub : Hub, settings : Settings.Settings, caller : Principal, nonce : Nat64, certificate : ?Blob) : Result<Types.CanisterOutputCertifiedMessages> {
    let nothing = #ok({ messages = []; cert = "" : Blob; tree = "" : Blob; is_end_of_queue = true });
    let gateway = switch (Gateways.find(hub.gateways, caller)) {
      case (?gateway) gateway;
      case null return nothing;
    };
    let queue = gateway.queue;
    let { from; to; isEnd } = Queue.range(queue, Nat64.toNat(nonce), settings.maxMessages, maxPollBytes);
    if (from == to) return nothing;
    let cert = switch certificate {
      case (?cert) cert;
      case null return #err(Errors.noCertificate());
    };
    #ok({
      messages = Array.tabulate<Types.CanisterOutputMessage>(
        to - from,
        func i {
          let { key; content } = Queue.at(queue, from + i);
          { client_key = key; key = CertTree.key(queue.track.prefix, from + i); content };
        },
      );
      cert;
      tree = CertTree.witness(hub.gateways.tree, queue.track, from, to);
      is_end_of_queue = isEnd;
    });
  };

  /// Queues one message to a client, whether there is room or not. O(log n) amortized.
  public func send(hub : Hub, settings : Settings.Settings, client : Clients.Client, content : Blob, isService : Bool, now : Nat64) {
    client.sent += 1;
    let w = Cbor.message({
      client_key = client.key;
      sequence_num = client.sent;
      timestamp = now;
      is_service_message = isService;
      content;
    });
    let queue = client.gateway.queue;
    Queue.push(queue, { key = client.key; content = Bytes.toBlob(w); at = now }, Sha256.ofBytes(w.bytes, w.size));
    // in this order, so that the last message, which always stays, is the new one
    Queue.dropOld(queue, Queue.dropsPerPush, now, settings.ackInterval);
    Gateways.touch(hub.gateways, client.gateway);
  };

  /// Why a message of `size` bytes cannot be queued for all of `clients`, if so: nothing is ever queued for some of them
  /// only. O(clients).
  public func refusal(hub : Hub, clients : [Clients.Client], size : Nat, now : Nat64) : ?Refusal {
    if (size * clients.size() > maxFanOutBytes) return ?#tooLarge;
    if (not Gateways.makeTotalRoom(hub.gateways, (size + overhead) * clients.size(), now)) return ?#full;
    if (clients.size() == Clients.size(hub.clients)) {
      for (gateway in Map.values(hub.gateways.all)) {
        let count = gateway.clients;
        if (count > 0 and not Gateways.makeRoom(hub.gateways, gateway, count, count * (size + overhead), now)) return ?#full;
      };
      return null;
    };
    let counts = Map.empty<Principal, (Gateways.Gateway, Nat)>();
    for ({ gateway } in clients.values()) {
      let count = switch (Map.get(counts, Principal.compare, gateway.principal)) {
        case (?(_, count)) count;
        case null 0;
      };
      Map.add(counts, Principal.compare, gateway.principal, (gateway, count + 1));
    };
    for ((gateway, count) in Map.values(counts)) {
      if (not Gateways.makeRoom(hub.gateways, gateway, count, count * (size + overhead), now)) return ?#full;
    };
    null;
  };

  /// `#full` passes, `#tooLarge` does not.
  public type Refusal = { #tooLarge; #full };

  /// Queues an application's message to each of `clients`. O(log n) each.
  public func sendAll(hub : Hub, settings : Settings.Settings, clients : [Clients.Client], content : Blob, now : Nat64) {
    for (client in clients.values()) send(hub, settings, client, content, false, now);
  };

  /// Queues an application's message to a client that cannot be asked to wait. One for whom there is no room is closed,
  /// because it would miss the message without knowing. False when that happened. O(log n).
  public func sendOrClose(hub : Hub, settings : Settings.Settings, client : Clients.Client, content : Blob, now : Nat64) : Bool {
    let hasRoom = Gateways.makeRoom(hub.gateways, client.gateway, 1, content.size() + overhead, now);
    if (hasRoom) send(hub, settings, client, content, false, now) else remove(hub, settings, client, ?#ClosedByApplication, now);
    hasRoom;
  };

  /// A gateway says that it has polled everything below `nonce`. O(number dropped).
  public func delivered(hub : Hub, caller : Principal, nonce : Nat64) {
    switch (Gateways.find(hub.gateways, caller)) {
      case null {};
      case (?gateway) {
        Queue.dropBelow(gateway.queue, Nat64.toNat(nonce));
        Gateways.touch(hub.gateways, gateway);
      };
    };
  };

  /// Sends an AckMessage to every client and asks it for a sign of life. O(clients).
  public func acknowledge(hub : Hub, settings : Settings.Settings, now : Nat64) {
    for (client in Map.values(hub.clients.all)) {
      // whether there is room or not: a client that gets no acknowledgement closes
      let content = Service.encode(#AckMessage { last_incoming_sequence_num = client.order.expected - 1 });
      send(hub, settings, client, content, true, now);
      client.isAskedForKeepAlive := true;
    };
  };

  /// Removes the clients that gave no sign of life since they were asked, and the gateways without clients for longer
  /// than the acknowledgement interval. O(clients).
  public func expire(hub : Hub, settings : Settings.Settings, now : Nat64) {
    Gateways.removeEmpty(hub.gateways, now, settings.ackInterval);
    let silent = Iter.filter<Clients.Client>(
      Map.values(hub.clients.all),
      func c = c.isAskedForKeepAlive and now - c.lastKeepAlive > settings.keepAliveTimeout,
    );
    for (client in Iter.toArray(silent).values()) remove(hub, settings, client, ?#KeepAliveTimeout, now);
  };

  /// Removes a client; with a reason, it is told. O(log n).
  public func remove(hub : Hub, settings : Settings.Settings, client : Clients.Client, reason : ?Service.CloseReason, now : Nat64) {
    switch reason {
      case (?reason) send(hub, settings, client, Service.encode(#CloseMessage { reason }), true, now);
      case null {};
    };
    Clients.remove(hub.clients, client, now);
    note(hub, settings, #closed(client.key));
  };

  /// Removes the clients whose gateway the configuration does not allow. O(clients).
  public func removeDisallowed(hub : Hub, settings : Settings.Settings, now : Nat64) {
    for (client in Clients.toArray(hub.clients).values()) {
      if (not Settings.allowsGateway(settings, client.gateway.principal)) remove(hub, settings, client, ?#ClosedByApplication, now);
    };
  };

  func note(hub : Hub, settings : Settings.Settings, event : Event) {
    if (settings.hooks.size() > 0) Ring.pushBack(hub.events, event);
  };

  /// Whether the caller is a gateway that has clients. O(log n).
  public func isActiveGateway(hub : Hub, settings : Settings.Settings, caller : Principal) : Bool {
    if (not Settings.allowsGateway(settings, caller)) return false;
    switch (Gateways.find(hub.gateways, caller)) {
      case (?gateway) gateway.clients > 0;
      case null false;
    };
  };
};
