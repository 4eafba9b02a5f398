import Array "mo:core/Array";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Order "../src/Order";
import Ring "../src/Ring";
import Check "Check";

// -- Ring against a list

let random = Check.Random(5);
let ring = Ring.empty<Nat>();
var model : [Nat] = [];
var wrong = 0;
for (n in Nat.range(0, 3_000)) {
  // grows, shrinks, and stays about the same for a while
  if (random.below(10) < (if (n < 1_000) 7 else if (n < 2_000) 2 else 5)) {
    Ring.pushBack(ring, n);
    model := Array.concat(model, [n]);
  } else {
    let taken = Ring.popFront(ring);
    if (model.size() == 0) { if (taken != null) wrong += 1 } else {
      if (taken != ?model[0]) wrong += 1;
      model := Array.sliceToArray(model, 1, model.size());
    };
  };
  if (ring.size != model.size()) wrong += 1;
  if (model.size() > 0) {
    let i = random.below(model.size());
    if (Ring.at(ring, i) != model[i] or Ring.peekFront(ring) != ?model[0]) wrong += 1;
  } else if (Ring.peekFront(ring) != null) wrong += 1;
};
Check.nat("a ring is a queue", wrong, 0);
while (Ring.popFront(ring) != null) {};
Check.isTrue("an emptied ring gives its memory back", ring.slots.size() <= 32);

// -- Order

func offer(order : Order.Order<Nat>, number : Nat64) : Text = switch (Order.offer(order, number, Nat64.toNat(number))) {
  case (#ready(messages)) debug_show messages;
  case (#held) "held";
  case (#wrong) "wrong";
};

let order = Order.empty<Nat>();
Check.text("0 comes never", offer(order, 0), "wrong");
Check.text("in turn", offer(order, 1), "[1]");
Check.text("again", offer(order, 1), "wrong");
Check.text("ahead", offer(order, 4), "held");
Check.text("ahead again", offer(order, 4), "wrong");
Check.text("further ahead", offer(order, 3), "held");
Check.text("just inside", offer(order, 65), "held");
Check.text("just outside", offer(order, 66), "wrong");
Check.text("the largest", offer(order, 18_446_744_073_709_551_615), "wrong");
Check.nat("held", Order.heldCount(order), 3);
Check.text("the missing one", offer(order, 2), "[2, 3, 4]");
Check.nat("still held", Order.heldCount(order), 1);
Check.text("what came before", offer(order, 3), "wrong");
Check.isTrue("expected", order.expected == 5);

// any order within the window comes out in order
wrong := 0;
for (_ in Nat.range(0, 50)) {
  let shuffled = Order.empty<Nat>();
  var next = 1;
  for (start in [0, 64, 128].values()) {
    let numbers = Array.toVarArray<Nat>(Array.tabulate<Nat>(64, func i = start + i + 1));
    for (i in numbers.keys()) {
      let j = random.below(i + 1);
      let t = numbers[i];
      numbers[i] := numbers[j];
      numbers[j] := t;
    };
    for (number in numbers.vals()) {
      switch (Order.offer(shuffled, Nat64.fromNat(number), number)) {
        case (#ready(messages)) for (m in messages.values()) {
          if (m != next) wrong += 1;
          next += 1;
        };
        case (#held) {};
        case (#wrong) wrong += 1;
      };
    };
  };
  if (next != 193 or Order.heldCount(shuffled) != 0) wrong += 1;
};
Check.nat("windows in any order", wrong, 0);
