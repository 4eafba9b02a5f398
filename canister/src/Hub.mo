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
import Candid "Candid";
import Cbor "Cbor";
import Bytes "Bytes";
import CertTree "CertTree";
import Clients "Clients";
import Errors "Errors";
import Gateways "Gateways";
import Order "Order";
import Queue "Queue";
import Resume "Resume";
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
  /// So many messages of lost connections, and bytes of them, are about as many as one message of the canister sends again.
  let maxHandedOn = 5_000;
  let maxHandedOnBytes = 4_194_304;

  /// A connection that has come or gone, for those who want to be told.
  public type Event = { #opened : Types.ClientKey; #closed : Types.ClientKey };

  public type Connections = {
    clients : Clients.Clients;
    gateways : Gateways.Gateways;
    // kept only where the configuration has hooks
    events : Ring.Ring<Event>;
  };

  /// `resume` is used only where the configuration says that clients may go on after a lost connection.
  public type Hub = Connections and { resume : Resume.Resume };

  public type Result<T> = { #ok : T; #err : Text };

  public func connections() : Connections = {
    clients = Clients.empty();
    gateways = Gateways.empty();
    events = Ring.empty();
  };

  public func empty() : Hub = { connections() with resume = Resume.empty() };

  /// What the certified data must be now.
  public func commit(hub : Hub) : Blob = Gateways.commit(hub.gateways);

  /// `ws_open`: registers the caller as a client and queues its OpenMessage, and behind it what a lost connection of the
  /// same principal was to get, or `greetings` if there is none. O(log n) for each.
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
    let lost = if (settings.resumeWindow == 0) null else Resume.waitingOf(hub.resume, caller, now, settings.resumeWindow);
    let { count; bytes } = switch lost {
      case (?box) Resume.size(box);
      case null ({
        count = greetings.size();
        bytes = Array.foldLeft<Blob, Nat>(greetings, 0, func(sum, greeting) = sum + greeting.size());
      });
    };
    // anybody can come again and again: the last items leave half of the room to those who are connected
    if (count > 0) {
      let hasSpare = Gateways.makeRoom(hub.gateways, gateway, Queue.maxCount / 2, Queue.maxBytes / 2, now) and Gateways.makeTotalRoom(hub.gateways, Queue.maxTotalBytes / 2, now);
      if (not hasSpare) return #err(Errors.gatewayQueueFull(args.gateway_principal));
    };
    if (not Gateways.makeRoom(hub.gateways, gateway, 2 + count, 512 + bytes + (1 + count) * overhead, now)) return #err(Errors.gatewayQueueFull(args.gateway_principal));
    if (old.size() >= Clients.maxPerPrincipal) {
      var stalest = old[0];
      for (client in old.values()) if (client.lastKeepAlive < stalest.lastKeepAlive) stalest := client;
      lose(hub, settings, stalest, ?#ClosedByApplication, now);
    };
    let client = Clients.add(hub.clients, key, gateway, now);
    send(hub, settings, client, Service.encode(#OpenMessage { client_key = key }), true, now);
    note(hub, settings, #opened key);
    if (settings.resumeWindow == 0) {
      for (greeting in greetings.values()) send(hub, settings, client, greeting, false, now);
      return #ok;
    };
    // those that were there before show whether they still are
    let others = Iter.toArray(Resume.openOf(hub.resume, caller));
    let box = Resume.add(hub.resume, key, gateway.principal, 0);
    for (other in others.values()) {
      switch (Clients.find(hub.clients, other.key)) {
        case (?client) ask(hub, settings, client, other, now);
        case null {};
      };
    };
    switch lost {
      case (?lost) goOn(hub, settings, client, box, lost, now);
      case null {
        tellResumed(hub, settings, client, false, now);
        for (greeting in greetings.values()) post(hub, settings, client, Resume.letter(hub.resume, greeting, false), now);
      };
    };
    #ok;
  };

  /// `ws_close`: a gateway says that one of its clients has gone. O(log n).
  public func close(hub : Hub, settings : Settings.Settings, caller : Principal, key : Types.ClientKey, now : Nat64) : Result<()> {
    switch (Gateways.find(hub.gateways, caller)) {
      case null return #err(Errors.gatewayNotRegistered(caller));
      case _ {};
    };
    switch (Clients.find(hub.clients, key)) {
      case null {
        // one that the canister has lost by itself, and whose client says now that it does not come back
        switch (Resume.findLost(hub.resume, key)) {
          case (?box) if (box.gateway == caller and box.heir == null) Resume.forget(hub.resume, box);
          case null {};
        };
        #err(Errors.keyNotConnected(key));
      };
      case (?client) {
        if (client.gateway.principal != caller) return #err(Errors.notRegisteredToGateway(key, caller));
        remove(hub, settings, client, null, now);
        #ok;
      };
    };
  };

  /// `relay_lost`: a gateway says that it has lost one of its clients, which may come back. O(log n), and as much for each
  /// message if the client is back already.
  public func lost(hub : Hub, settings : Settings.Settings, caller : Principal, key : Types.ClientKey, now : Nat64) : Result<()> {
    switch (Gateways.find(hub.gateways, caller), Clients.find(hub.clients, key)) {
      case (null, _) #err(Errors.gatewayNotRegistered(caller));
      case (_, null) #err(Errors.keyNotConnected(key));
      case (_, ?client) {
        if (client.gateway.principal != caller) return #err(Errors.notRegisteredToGateway(key, caller));
        lose(hub, settings, client, null, now);
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
              case (#ok({ lastIncoming })) {
                client.lastKeepAlive := now;
                client.isAskedForKeepAlive := false;
                if (settings.resumeWindow > 0) switch (Resume.find(hub.resume, client.key)) {
                  case (?box) Resume.acknowledged(hub.resume, box, Nat64.min(lastIncoming, client.sent));
                  case null {};
                };
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

  /// Queues an application's message to each of `clients`, and keeps it for lost connections. O(log n) each.
  public func sendAll(hub : Hub, settings : Settings.Settings, to : Receivers, content : Blob, now : Nat64) {
    let letter = Resume.letter(hub.resume, content, to.isOwn);
    for (client in to.clients.values()) post(hub, settings, client, letter, now);
    for (box in to.lost.values()) Resume.collect(hub.resume, box, letter);
  };

  /// Whom a message is for. `isOwn` where that is one connection.
  public type Receivers = { clients : [Clients.Client]; lost : [Resume.Box]; isOwn : Bool };

  /// O(n).
  public func everybody(hub : Hub, settings : Settings.Settings, now : Nat64) : Receivers = {
    clients = Clients.toArray(hub.clients);
    lost = if (settings.resumeWindow == 0) [] else Resume.allWaiting(hub.resume, now, settings.resumeWindow);
    isOwn = false;
  };

  /// All connections of one principal. O(log n), and O(1) for each.
  public func allOf(hub : Hub, settings : Settings.Settings, principal : Principal, now : Nat64) : Receivers = {
    clients = Iter.toArray(Clients.ofPrincipal(hub.clients, principal));
    lost = if (settings.resumeWindow == 0) [] else Resume.allWaitingOf(hub.resume, principal, now, settings.resumeWindow);
    isOwn = false;
  };

  /// One connection, or the one that goes on with it. O(log n).
  public func connection(hub : Hub, settings : Settings.Settings, key : Types.ClientKey, now : Nat64) : ?Receivers {
    switch (Clients.find(hub.clients, key)) {
      case (?client) return ?{ clients = [client]; lost = []; isOwn = true };
      case null if (settings.resumeWindow == 0) return null;
    };
    switch (Resume.follow(hub.resume, key, now, settings.resumeWindow)) {
      case (#nowhere) null;
      case (#lost(box)) ?{ clients = []; lost = [box]; isOwn = true };
      case (#open(key)) switch (Clients.find(hub.clients, key)) {
        case (?client) ?{ clients = [client]; lost = []; isOwn = true };
        case null null;
      };
    };
  };

  /// Queues one message to a client, whether there is room or not, and keeps it until the client has acknowledged it where
  /// it may have to be sent again. O(log n) amortized.
  func post(hub : Hub, settings : Settings.Settings, client : Clients.Client, letter : Resume.Letter, now : Nat64) {
    send(hub, settings, client, letter.content, false, now);
    if (settings.resumeWindow > 0) switch (Resume.find(hub.resume, client.key)) {
      case (?box) {
        Resume.keep(hub.resume, box, letter, client.sent);
        if (Resume.mustAsk(box)) ask(hub, settings, client, box, now);
      };
      case null {};
    };
  };

  /// Queues an application's message to receivers that cannot be asked to wait. One for whom there is no room is closed,
  /// because it would miss the message without knowing. False when that happened. O(log n) each.
  public func sendOrClose(hub : Hub, settings : Settings.Settings, to : Receivers, content : Blob, now : Nat64) : Bool {
    let letter = Resume.letter(hub.resume, content, to.isOwn);
    let isTooMuch = handedOn(hub);
    var hadRoom = true;
    for (box in to.lost.values()) Resume.collect(hub.resume, box, letter);
    for (client in to.clients.values()) {
      if (not isConnected(hub, client)) {
        // lost meanwhile, because it could not take what one before it in this loop was to get
        switch (connection(hub, settings, client.key, now)) {
          case (?{ lost }) for (box in lost.values()) Resume.collect(hub.resume, box, letter);
          case null {};
        };
      } else if (Gateways.makeRoom(hub.gateways, client.gateway, 1, content.size() + overhead, now)) post(hub, settings, client, letter, now) else {
        hadRoom := false;
        // what it comes back for
        switch (Resume.find(hub.resume, client.key)) {
          case (?box) Resume.keep(hub.resume, box, letter, client.sent + 1);
          case null {};
        };
        detach(hub, settings, client, ?#ClosedByApplication, now);
        settleKey(hub, settings, client.key, not isTooMuch(), now);
      };
    };
    hadRoom;
  };

  /// Says whether since then as many messages have been sent again as one message of the canister may take.
  func handedOn(hub : Hub) : () -> Bool {
    let { handed; handedBytes } = { handed = hub.resume.handed; handedBytes = hub.resume.handedBytes };
    func() = hub.resume.handed >= handed + maxHandedOn or hub.resume.handedBytes >= handedBytes + maxHandedOnBytes;
  };

  func isConnected(hub : Hub, client : Clients.Client) : Bool = switch (Clients.find(hub.clients, client.key)) {
    case null false;
    case (?_) true;
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
      sendAcknowledgement(hub, settings, client, now);
      client.isAskedForKeepAlive := true;
      if (settings.resumeWindow > 0) switch (Resume.find(hub.resume, client.key)) {
        case (?box) Resume.noteAsked(hub.resume, box, client.sent);
        case null {};
      };
    };
    if (settings.resumeWindow > 0) Resume.prune(hub.resume, now, settings.resumeWindow);
  };

  func sendAcknowledgement(hub : Hub, settings : Settings.Settings, client : Clients.Client, now : Nat64) {
    send(hub, settings, client, Service.encode(#AckMessage { last_incoming_sequence_num = client.order.expected - 1 }), true, now);
  };

  /// Asks a client out of turn what it has. It is not closed if it does not answer this.
  func ask(hub : Hub, settings : Settings.Settings, client : Clients.Client, box : Resume.Box, now : Nat64) {
    sendAcknowledgement(hub, settings, client, now);
    Resume.noteAsked(hub.resume, box, client.sent);
  };

  /// Removes the clients that gave no sign of life since they were asked, and the gateways without clients for longer
  /// than the acknowledgement interval. True when there are more, because it took enough to send to others what these were
  /// to get. O(clients).
  public func expire(hub : Hub, settings : Settings.Settings, now : Nat64) : Bool {
    Gateways.removeEmpty(hub.gateways, now, settings.ackInterval);
    let silent = Iter.filter<Clients.Client>(
      Map.values(hub.clients.all),
      func c = c.isAskedForKeepAlive and now - c.lastKeepAlive > settings.keepAliveTimeout,
    );
    let isTooMuch = handedOn(hub);
    for (client in Iter.toArray(silent).values()) {
      if (isTooMuch()) return true;
      // one that was lost because of another one is done with
      if (isConnected(hub, client)) lose(hub, settings, client, ?#KeepAliveTimeout, now);
    };
    false;
  };

  /// Removes a client for good; with a reason, it is told. O(log n).
  public func remove(hub : Hub, settings : Settings.Settings, client : Clients.Client, reason : ?Service.CloseReason, now : Nat64) {
    detach(hub, settings, client, reason, now);
    switch (Resume.find(hub.resume, client.key)) {
      case (?box) Resume.close(hub.resume, box);
      case null {};
    };
  };

  /// Removes a client that may come back, if the settings allow that; with a reason, it is told. O(log n), and as much for
  /// each message if it is back already.
  public func lose(hub : Hub, settings : Settings.Settings, client : Clients.Client, reason : ?Service.CloseReason, now : Nat64) {
    detach(hub, settings, client, reason, now);
    settleKey(hub, settings, client.key, true, now);
  };

  func settleKey(hub : Hub, settings : Settings.Settings, key : Types.ClientKey, mayHandOn : Bool, now : Nat64) {
    switch (Resume.find(hub.resume, key)) {
      case (?box) settle(hub, settings, box, mayHandOn, now);
      case null {};
    };
  };

  func detach(hub : Hub, settings : Settings.Settings, client : Clients.Client, reason : ?Service.CloseReason, now : Nat64) {
    switch reason {
      case (?reason) send(hub, settings, client, Service.encode(#CloseMessage { reason }), true, now);
      case null {};
    };
    Clients.remove(hub.clients, client, now);
    note(hub, settings, #closed(client.key));
  };

  /// Finds out what becomes of a connection that is lost, and has its successor go on with it.
  func settle(hub : Hub, settings : Settings.Settings, box : Resume.Box, mayHandOn : Bool, now : Nat64) {
    switch (Resume.lose(hub.resume, box, mayHandOn, now, settings.resumeWindow)) {
      case (#done) {};
      case (#to(next)) switch (Clients.find(hub.clients, next.key)) {
        case null {}; // it cannot be: whoever has a box is connected
        case (?client) {
          let { count; bytes } = Resume.size(box);
          if (Gateways.makeRoom(hub.gateways, client.gateway, 1 + count, bytes + (1 + count) * overhead, now)) goOn(hub, settings, client, next, box, now) else {
            // it would miss messages without knowing: it waits as well, and has them when it comes back
            lose(hub, settings, client, ?#ClosedByApplication, now);
            settle(hub, settings, box, true, now);
          };
        };
      };
    };
  };

  /// Sends a client what a lost connection was to get.
  func goOn(hub : Hub, settings : Settings.Settings, client : Clients.Client, box : Resume.Box, lost : Resume.Box, now : Nat64) {
    let letters = Resume.take(hub.resume, lost, box);
    Resume.handOn(hub.resume, lost, box, now);
    tellResumed(hub, settings, client, true, now);
    for (letter in letters.values()) {
      post(hub, settings, client, letter, now);
      hub.resume.handed += 1;
      hub.resume.handedBytes += letter.content.size();
    };
  };

  /// Tells a client whether what follows belongs to a connection that it had before, if the settings say so. That is not kept:
  /// the next connection is told anew.
  func tellResumed(hub : Hub, settings : Settings.Settings, client : Clients.Client, isResumed : Bool, now : Nat64) {
    switch (settings.config.resume_tag) {
      case (?tag) switch (Candid.wrap(tag, to_candid (isResumed))) {
        case (#ok(content)) send(hub, settings, client, content, false, now);
        case (#err(_)) {};
      };
      case null {};
    };
  };

  /// Takes over the settings: from here on messages are kept, or not any more. O(clients).
  public func configure(hub : Hub, settings : Settings.Settings, now : Nat64) {
    removeDisallowed(hub, settings, now);
    if (settings.resumeWindow == 0) return Resume.forgetAll(hub.resume);
    for (client in Map.values(hub.clients.all)) {
      switch (Resume.find(hub.resume, client.key)) {
        case null ignore Resume.add(hub.resume, client.key, client.gateway.principal, client.sent);
        case (?_) {};
      };
    };
  };

  /// Forgets lost connections: their clients are to begin anew. O(log n) each.
  public func forgetLost(hub : Hub, boxes : [Resume.Box]) {
    for (box in boxes.values()) Resume.forget(hub.resume, box);
  };

  /// Whether there is nobody, neither connected nor lost and waited for. Amortized O(1).
  public func isEmpty(hub : Hub, settings : Settings.Settings, now : Nat64) : Bool {
    if (Clients.size(hub.clients) > 0) return false;
    settings.resumeWindow == 0 or not Resume.isAnybodyWaiting(hub.resume, now, settings.resumeWindow);
  };

  /// Removes the clients whose gateway the configuration does not allow. O(clients).
  func removeDisallowed(hub : Hub, settings : Settings.Settings, now : Nat64) {
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
