// persistent-a.mo with one more variable: an upgrade that fits.
import Prim "mo:prim";

persistent actor {
  type Node = { var next : ?Node; value : Nat };

  var count = 0;
  var added = "new";
  var last : ?Node = null; // a ring: no serialization could follow it naively
  var big : [var Nat8] = [var];
  transient var sinceUpgrade = 0;

  public func add(value : Nat) : async Nat {
    let node : Node = { var next = null; value };
    switch last {
      case null { node.next := ?node };
      case (?l) { node.next := l.next; l.next := ?node };
    };
    last := ?node;
    count += 1;
    sinceUpgrade += 1;
    count;
  };
  public func allocate(bytes : Nat) : async Nat {
    big := Prim.Array_init<Nat8>(bytes, 7);
    big.size();
  };
  public query func state() : async (Nat, Nat, Nat, Nat) {
    var sum = 0;
    var n = 0;
    var at = last;
    while (n < count) {
      let ?node = at else Prim.trap("the ring is broken");
      sum += node.value;
      n += 1;
      at := node.next;
    };
    (count, sum, big.size(), sinceUpgrade);
  };

  public query func addition() : async Text { added };

  // Leaves a mark before the upgrade that must be there afterwards.
  var mark = "";
  system func preupgrade() { mark #= "p" };
  public query func marks() : async Text { mark };
  public func deep(n : Nat) : async Nat { depth(n) };
  func depth(n : Nat) : Nat { if (n == 0) 0 else 1 + depth(n - 1) };
};
