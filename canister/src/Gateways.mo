/// The gateways through which clients are connected, each with its queue.
///
/// A gateway comes into being with its first client and goes some time after its last. Should it come back, its nonces
/// go on where they ended, so that its old position in the queue stays meaningful.

import Iter "mo:core/Iter";
import List "mo:core/List";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Types "Types";
import CertTree "CertTree";
import Queue "Queue";

module {
  /// More gateways at a time are refused.
  public let maxGateways = 256;
  /// How many gateways that went are remembered with their nonces.
  public let maxRetired = 1_024;

  public type Gateway = {
    principal : Principal;
    queue : Queue.Queue;
    var clients : Nat;
    // when the last client went
    var emptySince : Nat64;
    // whether the tree must be committed
    var changed : Bool;
  };

  public type Gateways = {
    all : Map.Map<Principal, Gateway>;
    retired : Map.Map<Principal, Nat>;
    tree : CertTree.Tree;
    changed : List.List<Gateway>;
  };

  public func empty() : Gateways = {
    all = Map.empty();
    retired = Map.empty();
    tree = CertTree.empty();
    changed = List.empty();
  };

  /// O(log n).
  public func find(gateways : Gateways, principal : Principal) : ?Gateway = Map.get(gateways.all, Principal.compare, principal);

  /// The gateway, new if need be; null when there are too many. O(log n), O(n) for a new one.
  public func findOrAdd(gateways : Gateways, principal : Principal) : ?Gateway {
    switch (find(gateways, principal)) {
      case (?gateway) ?gateway;
      case null {
        if (Map.size(gateways.all) >= maxGateways) return null;
        let first = switch (Map.take(gateways.retired, Principal.compare, principal)) {
          case (?nonce) nonce;
          case null 0;
        };
        let gateway : Gateway = {
          principal;
          queue = Queue.empty(CertTree.addTrack(gateways.tree, Principal.toText(principal), first));
          var clients = 0;
          var emptySince = 0;
          var changed = false;
        };
        Map.add(gateways.all, Principal.compare, principal, gateway);
        ?gateway;
      };
    };
  };

  /// Removes the gateways that have had no client for longer than `age` nanoseconds. O(n).
  public func removeEmpty(gateways : Gateways, now : Nat64, age : Nat64) {
    for (gateway in Iter.toArray(Map.values(gateways.all)).values()) {
      if (gateway.clients == 0 and now - gateway.emptySince > age) {
        Map.remove(gateways.all, Principal.compare, gateway.principal);
        CertTree.removeTrack(gateways.tree, gateway.queue.track);
        if (Map.size(gateways.retired) >= maxRetired) {
          switch (Map.minEntry(gateways.retired)) {
            case (?(oldest, _)) Map.remove(gateways.retired, Principal.compare, oldest);
            case null {};
          };
        };
        Map.add(gateways.retired, Principal.compare, gateway.principal, gateway.queue.track.next);
      };
    };
  };

  /// Notes that the queue of a gateway has changed. O(1).
  public func touch(gateways : Gateways, gateway : Gateway) {
    if (gateway.changed) return;
    gateway.changed := true;
    List.add(gateways.changed, gateway);
  };

  /// Whether messages fit into the queue of a gateway, see `Queue.makeRoom`.
  public func makeRoom(gateways : Gateways, gateway : Gateway, count : Nat, bytes : Nat, now : Nat64) : Bool {
    let first = gateway.queue.track.first;
    let hasRoom = Queue.makeRoom(gateway.queue, count, bytes, now);
    if (gateway.queue.track.first != first) touch(gateways, gateway);
    hasRoom;
  };

  /// What the certified data must be now. Costs what `CertTree.commit` costs for each queue that has changed.
  public func commit(gateways : Gateways) : Blob {
    for (gateway in List.values(gateways.changed)) {
      gateway.changed := false;
      CertTree.commit(gateways.tree, gateway.queue.track);
    };
    List.clear(gateways.changed);
    CertTree.certifiedData(gateways.tree);
  };

  /// O(n).
  public func states(gateways : Gateways) : [Types.GatewayState] = Iter.toArray(
    Iter.map<Gateway, Types.GatewayState>(
      Map.values(gateways.all),
      func g = {
        gateway = g.principal;
        clients = Nat64.fromNat(g.clients);
        first = Nat64.fromNat(g.queue.track.first);
        next = Nat64.fromNat(g.queue.track.next);
        bytes = Nat64.fromNat(g.queue.bytes);
      },
    )
  );
};
