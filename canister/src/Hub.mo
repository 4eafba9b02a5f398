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
import Service "Service";
import Settings "Settings";
import Sha256 "Sha256";
import Types "Types";

module {
  /// How much of one client's messages may wait for an earlier one.
  public let maxHeldPerClient = 4_194_304;
  /// How much of all clients' messages may wait for earlier ones.
  public let maxHeld = 67_108_864;
  /// A poll returns about so much; the IC allows 3 MiB in a query's reply.
  public let maxPollBytes = 1_500_000;

  public type Hub = { clients : Clients.Clients; gateways : Gateways.Gateways };

  public type Result<T> = { #ok : T; #err : Text };

  public func empty() : Hub = { clients = Clients.empty(); gateways = Gateways.empty() };

  /// What the certified data must be now.
  public func commit(hub : Hub) : Blob = Gateways.commit(hub.gateways);

  /// `ws_open`: registers the caller as a client and queues its OpenMessage. O(log n).
  public func open(hub : Hub, settings : Settings.Settings, caller : Principal, args : Types.CanisterWsOpenArguments, now : Nat64) : Result<()> {
    if (Principal.isAnonymous(caller)) return #err(Errors.anonymous());
    let key = { client_principal = caller; client_nonce = args.client_nonce };
    switch (Clients.find(hub.clients, key)) {
      case (?_) return #err(Errors.alreadyConnected(key));
      case null {};
    };
    let old = Array.fromIter<Clients.Client>(Clients.ofPrincipal(hub.clients, caller));
    if (old.size() < Clients.maxPerPrincipal and Clients.size(hub.clients) >= Clients.maxClients) {
      return #err(Errors.tooManyClients());
    };
    let gateway = switch (Gateways.findOrAdd(hub.gateways, args.gateway_principal)) {
      case (?gateway) gateway;
      case null return #err(Errors.tooManyGateways());
    };
    if (not Gateways.makeRoom(hub.gateways, gateway, 1, 512, now)) return #err(Errors.gatewayQueueFull(args.gateway_principal));
    if (old.size() >= Clients.maxPerPrincipal) {
      var stalest = old[0];
      for (client in old.values()) if (client.lastKeepAlive < stalest.lastKeepAlive) stalest := client;
      remove(hub, settings, stalest, ?#ClosedByApplication, now);
    };
    let client = Clients.add(hub.clients, key, gateway, now);
    send(hub, settings, client, Service.encode(#OpenMessage { client_key = key }), true, now);
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

  /// `ws_message`: takes a message in, and returns the contents of the application's messages whose turn has come, in
  /// order. Keep-alive messages are dealt with here. O(log n), and O(log window) for each message that becomes ready.
  public func accept(hub : Hub, settings : Settings.Settings, client : Clients.Client, message : Types.WebsocketMessage, now : Nat64) : Result<[Blob]> {
    let expected = client.order.expected;
    let size = message.content.size();
    if (message.sequence_num > expected and message.sequence_num - expected < Order.window) {
      if (client.heldBytes + size > maxHeldPerClient or hub.clients.heldBytes + size > maxHeld) {
        remove(hub, settings, client, ?#WrongSequenceNumber, now);
        return #err(Errors.heldTooMuch());
      };
    };
    switch (Order.offer(client.order, message.sequence_num, { content = message.content; isService = message.is_service_message })) {
      case (#wrong) {
        remove(hub, settings, client, ?#WrongSequenceNumber, now);
        #err(Errors.wrongSequenceNumber(expected, message.sequence_num));
      };
      case (#held) {
        client.heldBytes += size;
        hub.clients.heldBytes += size;
        #ok([]);
      };
      case (#ready(messages)) {
        let contents = List.empty<Blob>();
        var refusal : ?Text = null;
        var isFirst = true;
        for ({ content; isService } in messages.values()) {
          if (not isFirst) {
            client.heldBytes -= content.size();
            hub.clients.heldBytes -= content.size();
          };
          if (isService) {
            switch (Service.decodeKeepAlive(content)) {
              case (#ok(_)) {
                client.lastKeepAlive := now;
                client.isAskedForKeepAlive := false;
              };
              // as in the CDK, only the sender of the message hears of it
              case (#err(e)) if (isFirst) refusal := ?e;
            };
          } else List.add(contents, content);
          isFirst := false;
        };
        switch (refusal) {
          case (?e) if (List.size(contents) == 0) #err(e) else #ok(List.toArray(contents));
          case null #ok(List.toArray(contents));
        };
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
    Queue.dropOld(queue, Queue.dropsPerPush, now, settings.ackInterval);
    Queue.push(queue, { key = client.key; content = Bytes.toBlob(w); at = now }, Sha256.ofBytes(w.bytes, w.size));
    Gateways.touch(hub.gateways, client.gateway);
  };

  /// Whether an application's message of `size` bytes fits into every queue for every client. O(gateways).
  public func hasRoomForAll(hub : Hub, size : Nat, now : Nat64) : Bool {
    for (gateway in Map.values(hub.gateways.all)) {
      let count = gateway.clients;
      if (count > 0 and not Gateways.makeRoom(hub.gateways, gateway, count, count * (size + 192), now)) return false;
    };
    true;
  };

  /// Queues an application's message to every client. O(clients).
  public func broadcast(hub : Hub, settings : Settings.Settings, content : Blob, now : Nat64) {
    for (client in Map.values(hub.clients.all)) send(hub, settings, client, content, false, now);
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
  };

  /// Whether the caller is a gateway that has clients. O(log n).
  public func isActiveGateway(hub : Hub, caller : Principal) : Bool {
    switch (Gateways.find(hub.gateways, caller)) {
      case (?gateway) gateway.clients > 0;
      case null false;
    };
  };
};
