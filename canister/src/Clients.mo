/// The connected clients, by key. One principal may hold several connections.

import Array "mo:core/Array";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Gateways "Gateways";
import Order "Order";
import Routes "Routes";
import Types "Types";

module {
  /// More clients at a time are refused.
  public let maxClients = 20_000;
  /// One more connection of a principal replaces its least recently heard one.
  public let maxPerPrincipal = 32;

  /// What is needed of a message until its turn comes. `#nothing` has been refused, and only takes up its number.
  public type Incoming = { #service : Blob; #call : Routes.Route; #nothing };

  public type Client = {
    key : Types.ClientKey;
    gateway : Gateways.Gateway;
    order : Order.Order<Incoming>;
    var heldBytes : Nat;
    // number of the last message sent to the client
    var sent : Nat64;
    var lastKeepAlive : Nat64;
    var isAskedForKeepAlive : Bool;
  };

  public type Clients = { all : Map.Map<Types.ClientKey, Client>; var heldBytes : Nat };

  /// O(1).
  public func sizeOf(incoming : Incoming) : Nat = switch incoming {
    case (#service(content)) content.size();
    case (#call({ argument })) argument.size();
    case (#nothing) 0;
  };

  public func empty() : Clients = { all = Map.empty(); var heldBytes = 0 };

  public func compareKeys(a : Types.ClientKey, b : Types.ClientKey) : { #less; #equal; #greater } {
    switch (Principal.compare(a.client_principal, b.client_principal)) {
      case (#equal) Nat64.compare(a.client_nonce, b.client_nonce);
      case order order;
    };
  };

  /// O(log n).
  public func find(clients : Clients, key : Types.ClientKey) : ?Client = Map.get(clients.all, compareKeys, key);

  /// O(n).
  public func toArray(clients : Clients) : [Client] = Array.fromIter(Map.values(clients.all));

  /// O(1).
  public func size(clients : Clients) : Nat = Map.size(clients.all);

  /// O(log n).
  public func hasPrincipal(clients : Clients, principal : Principal) : Bool {
    switch (ofPrincipal(clients, principal).next()) {
      case null false;
      case _ true;
    };
  };

  /// The connections of one principal. O(log n), then O(1) each.
  public func ofPrincipal(clients : Clients, principal : Principal) : { next : () -> ?Client } {
    let entries = Map.entriesFrom(clients.all, compareKeys, { client_principal = principal; client_nonce = 0 : Nat64 });
    {
      next = func() : ?Client {
        switch (entries.next()) {
          case (?(key, client)) if (key.client_principal == principal) ?client else null;
          case null null;
        };
      };
    };
  };

  /// O(log n).
  public func add(clients : Clients, key : Types.ClientKey, gateway : Gateways.Gateway, now : Nat64) : Client {
    let client : Client = {
      key;
      gateway;
      order = Order.empty();
      var heldBytes = 0;
      var sent = 0;
      var lastKeepAlive = now;
      var isAskedForKeepAlive = false;
    };
    Map.add(clients.all, compareKeys, key, client);
    gateway.clients += 1;
    client;
  };

  /// O(log n).
  public func remove(clients : Clients, client : Client, now : Nat64) {
    if (not Map.delete(clients.all, compareKeys, client.key)) return;
    clients.heldBytes -= client.heldBytes;
    client.gateway.clients -= 1;
    client.gateway.emptySince := now;
  };
};
