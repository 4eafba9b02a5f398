/// The gateways through which clients are connected, each with its queue.
///
/// A gateway comes into being with its first client and goes some time after its last. Should it come back, its nonces
/// go on where they ended, so that its old position in the queue stays meaningful.

import Array "mo:core/Array";
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
  /// How many gateways that went are remembered with their nonces; the first to have gone are forgotten first.
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
    // with their next nonce, in the order in which they went
    var retired : [(Principal, Nat)];
    total : Queue.Total;
    tree : CertTree.Tree;
    changed : List.List<Gateway>;
  };

  public func empty() : Gateways = {
    all = Map.empty();
    var retired = [];
    total = { var bytes = 0 };
    tree = CertTree.empty();
    changed = List.empty();
  };

  /// O(log n).
  public func find(gateways : Gateways, principal : Principal) : ?Gateway = Map.get(gateways.all, Principal.compare, principal);

  /// The gateway, new if need be; null when there are too many that have clients. O(log n), O(n) for a new one.
  public func findOrAdd(gateways : Gateways, principal : Principal, now : Nat64) : ?Gateway {
    switch (find(gateways, principal)) {
      case (?gateway) ?gateway;
      case null {
        if (Map.size(gateways.all) >= maxGateways) removeLongestEmpty(gateways, now);
        if (Map.size(gateways.all) >= maxGateways) return null;
        let first = rehire(gateways, principal);
        let gateway : Gateway = {
          principal;
          queue = Queue.empty(CertTree.addTrack(gateways.tree, Principal.toText(principal), first), gateways.total);
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
      if (gateway.clients == 0 and now - gateway.emptySince > age) retire(gateways, gateway);
    };
  };

  /// Makes a place for another gateway, if there is one without clients that was given the time to poll its last messages.
  func removeLongestEmpty(gateways : Gateways, now : Nat64) {
    var found : ?Gateway = null;
    for (gateway in Map.values(gateways.all)) {
      if (gateway.clients == 0 and now - gateway.emptySince > Queue.pressureAge) switch found {
        case (?other) if (gateway.emptySince < other.emptySince) found := ?gateway;
        case null found := ?gateway;
      };
    };
    switch found { case (?gateway) retire(gateways, gateway); case null {} };
  };

  func retire(gateways : Gateways, gateway : Gateway) {
    Map.remove(gateways.all, Principal.compare, gateway.principal);
    Queue.discard(gateway.queue);
    CertTree.removeTrack(gateways.tree, gateway.queue.track);
    let skipped = if (gateways.retired.size() < maxRetired) 0 else 1;
    gateways.retired := Array.concat(
      Array.sliceToArray<(Principal, Nat)>(gateways.retired, skipped, gateways.retired.size()),
      [(gateway.principal, gateway.queue.track.next)],
    );
  };

  /// The nonce that a gateway goes on with: 0, or where it ended if it is remembered.
  func rehire(gateways : Gateways, principal : Principal) : Nat {
    switch (Array.find<(Principal, Nat)>(gateways.retired, func(p, _) = p == principal)) {
      case null 0;
      case (?(_, next)) {
        gateways.retired := Array.filter<(Principal, Nat)>(gateways.retired, func(p, _) = p != principal);
        next;
      };
    };
  };

  /// Notes that the queue of a gateway has changed. O(1).
  public func touch(gateways : Gateways, gateway : Gateway) {
    if (gateway.changed) return;
    gateway.changed := true;
    List.add(gateways.changed, gateway);
  };

  /// Whether messages fit into the queue of a gateway, after dropping what may be dropped. O(1 + number dropped), O(n) where
  /// all queues together hold too much.
  public func makeRoom(gateways : Gateways, gateway : Gateway, count : Nat, bytes : Nat, now : Nat64) : Bool {
    shrink(gateways, gateway, func queue = Queue.makeRoom(queue, count, bytes, now)) and makeTotalRoom(gateways, bytes, now);
  };

  /// Whether all queues together have room for `bytes` more bytes, after dropping from each what may be dropped, if need be.
  public func makeTotalRoom(gateways : Gateways, bytes : Nat, now : Nat64) : Bool {
    if (not Queue.isTotalFull(gateways.total, bytes)) return true;
    for (gateway in Map.values(gateways.all)) {
      ignore shrink(gateways, gateway, func queue { Queue.dropOld(queue, Queue.maxCount, now, Queue.pressureAge); true });
    };
    not Queue.isTotalFull(gateways.total, bytes);
  };

  func shrink(gateways : Gateways, gateway : Gateway, drop : Queue.Queue -> Bool) : Bool {
    let first = gateway.queue.track.first;
    let result = drop(gateway.queue);
    if (gateway.queue.track.first != first) touch(gateways, gateway);
    result;
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
