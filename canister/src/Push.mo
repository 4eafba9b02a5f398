/// What targets send of their own accord: messages to one client, to some, or to all, and the closing of connections.

import Iter "mo:core/Iter";
import List "mo:core/List";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Set "mo:core/Set";
import Candid "Candid";
import Clients "Clients";
import Errors "Errors";
import Hub "Hub";
import State "State";
import Types "Types";

module {
  /// Clients named in one call.
  public let maxRecipients = 20_000;

  /// To all connections of a client, or the one with this nonce. O(size + log n).
  public func send(state : State.State, client : Principal, message : Blob, nonce : ?Nat64) : Types.PushResult {
    switch (connections(state, client, nonce)) {
      case (#ok(found)) deliver(state, found, message);
      case (#err(text)) #Err(text);
    };
  };

  /// One message to all connections of several clients; those who are not connected are left out, and nobody gets it
  /// twice. O(clients * (size + log n)).
  public func sendMany(state : State.State, clients : [Principal], message : Blob) : Types.PushResult {
    if (clients.size() > maxRecipients) return #Err(Errors.tooManyRecipients(clients.size(), maxRecipients));
    let found = List.empty<Clients.Client>();
    for (client in Set.values(Set.fromIter(clients.values(), Principal.compare))) {
      for (connection in Clients.ofPrincipal(state.hub.clients, client)) List.add(found, connection);
    };
    deliver(state, List.toArray(found), message);
  };

  /// To everybody. O(n * size).
  public func broadcast(state : State.State, message : Blob) : Types.PushResult = deliver(state, Clients.toArray(state.hub.clients), message);

  /// Closes all connections of a client, or the one with this nonce. O(log n) each.
  public func close(state : State.State, client : Principal, nonce : ?Nat64) : Types.PushResult {
    switch (connections(state, client, nonce)) {
      case (#err(text)) #Err(text);
      case (#ok(found)) {
        for (connection in found.values()) Hub.remove(state.hub, state.settings, connection, ?#ClosedByApplication, State.now());
        #Ok(Nat64.fromNat(found.size()));
      };
    };
  };

  func connections(state : State.State, client : Principal, nonce : ?Nat64) : { #ok : [Clients.Client]; #err : Text } {
    switch nonce {
      case (?client_nonce) {
        let key = { client_principal = client; client_nonce };
        switch (Clients.find(state.hub.clients, key)) {
          case (?connection) #ok([connection]);
          case null #err(Errors.keyNotConnected(key));
        };
      };
      case null {
        let found = Iter.toArray(Clients.ofPrincipal(state.hub.clients, client));
        if (found.size() == 0) #err(Errors.principalNotConnected(client)) else #ok(found);
      };
    };
  };

  /// For all of them or for none.
  func deliver(state : State.State, clients : [Clients.Client], message : Blob) : Types.PushResult {
    switch (Candid.check(message)) {
      case (#err(reason)) return #Err(Errors.unreadablePush(reason));
      case (#ok(0)) return #Err(Errors.emptyPush());
      case (#ok(_)) {};
    };
    let now = State.now();
    switch (Hub.refusal(state.hub, clients, message.size(), now)) {
      case (?#tooLarge) return #Err(Errors.tooLargeForAll(message.size(), clients.size()));
      case (?#full) return #Err(Errors.queueFull());
      case null {};
    };
    Hub.sendAll(state.hub, state.settings, clients, message, now);
    #Ok(Nat64.fromNat(clients.size()));
  };
};
