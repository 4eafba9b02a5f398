/// What targets send of their own accord: messages to one client, to some, or to all, and the closing of connections.

import List "mo:core/List";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Set "mo:core/Set";
import Candid "Candid";
import Clients "Clients";
import Errors "Errors";
import Hub "Hub";
import Resume "Resume";
import State "State";
import Types "Types";

module {
  /// Clients named in one call.
  public let maxRecipients = 20_000;

  /// To all connections of a client, or the one with this nonce. O(size + log n).
  public func send(state : State.State, client : Principal, message : Blob, nonce : ?Nat64) : Types.PushResult {
    switch (connections(state, client, nonce)) {
      case (#ok(to)) deliver(state, to, message);
      case (#err(text)) #Err(text);
    };
  };

  /// One message to all connections of several clients; those who are not connected are left out, and nobody gets it
  /// twice. O(clients * (size + log n)).
  public func sendMany(state : State.State, clients : [Principal], message : Blob) : Types.PushResult {
    if (clients.size() > maxRecipients) return #Err(Errors.tooManyRecipients(clients.size(), maxRecipients));
    let open = List.empty<Clients.Client>();
    let lost = List.empty<Resume.Box>();
    for (client in Set.values(Set.fromIter(clients.values(), Principal.compare))) {
      let to = Hub.allOf(state.hub, state.settings, client, State.now());
      for (connection in to.clients.values()) List.add(open, connection);
      for (box in to.lost.values()) List.add(lost, box);
    };
    deliver(state, { clients = List.toArray(open); lost = List.toArray(lost); isOwn = false }, message);
  };

  /// To everybody. O(n * size).
  public func broadcast(state : State.State, message : Blob) : Types.PushResult = deliver(state, Hub.everybody(state.hub, state.settings, State.now()), message);

  /// Closes all connections of a client, or the one with this nonce, and forgets those that were lost. O(log n) each.
  public func close(state : State.State, client : Principal, nonce : ?Nat64) : Types.PushResult {
    switch (connections(state, client, nonce)) {
      case (#err(text)) #Err(text);
      case (#ok({ clients; lost })) {
        for (connection in clients.values()) Hub.remove(state.hub, state.settings, connection, ?#ClosedByApplication, State.now());
        Hub.forgetLost(state.hub, lost);
        #Ok(Nat64.fromNat(clients.size() + lost.size()));
      };
    };
  };

  func connections(state : State.State, client : Principal, nonce : ?Nat64) : { #ok : Hub.Receivers; #err : Text } {
    switch nonce {
      case (?client_nonce) {
        let key = { client_principal = client; client_nonce };
        switch (Hub.connection(state.hub, state.settings, key, State.now())) {
          case (?to) #ok(to);
          case null #err(Errors.keyNotConnected(key));
        };
      };
      case null {
        let to = Hub.allOf(state.hub, state.settings, client, State.now());
        if (to.clients.size() + to.lost.size() == 0) #err(Errors.principalNotConnected(client)) else #ok(to);
      };
    };
  };

  /// For all of them or for none.
  func deliver(state : State.State, to : Hub.Receivers, message : Blob) : Types.PushResult {
    switch (Candid.check(message)) {
      case (#err(reason)) return #Err(Errors.unreadablePush(reason));
      case (#ok(0)) return #Err(Errors.emptyPush());
      case (#ok(_)) {};
    };
    let now = State.now();
    switch (Hub.refusal(state.hub, to.clients, message.size(), now)) {
      case (?#tooLarge) return #Err(Errors.tooLargeForAll(message.size(), to.clients.size()));
      case (?#full) return #Err(Errors.queueFull());
      case null {};
    };
    Hub.sendAll(state.hub, state.settings, to, message, now);
    #Ok(Nat64.fromNat(to.clients.size() + to.lost.size()));
  };
};
