/// A double-ended queue over a growing array, with access by position. Stable.

import VarArray "mo:core/VarArray";
import Option "mo:core/Option";
import Runtime "mo:core/Runtime";

module {
  public type Ring<T> = { var slots : [var ?T]; var start : Nat; var size : Nat };

  /// O(1).
  public func empty<T>() : Ring<T> = { var slots = [var]; var start = 0; var size = 0 };

  /// The item at `index`, counted from the oldest. Traps when there is none. O(1).
  public func at<T>(ring : Ring<T>, index : Nat) : T {
    if (index >= ring.size) Runtime.trap("Ring.at: no item at this position");
    Option.unwrap(ring.slots[slot(ring, index)]);
  };

  /// The oldest item. O(1).
  public func peekFront<T>(ring : Ring<T>) : ?T {
    if (ring.size == 0) null else ring.slots[ring.start];
  };

  /// Adds the newest item. Amortized O(1).
  public func pushBack<T>(ring : Ring<T>, item : T) {
    if (ring.size == ring.slots.size()) resize(ring, if (ring.size == 0) 8 else 2 * ring.size);
    ring.slots[slot(ring, ring.size)] := ?item;
    ring.size += 1;
  };

  /// Adds an item in front of the oldest. Amortized O(1).
  public func pushFront<T>(ring : Ring<T>, item : T) {
    if (ring.size == ring.slots.size()) resize(ring, if (ring.size == 0) 8 else 2 * ring.size);
    ring.start := if (ring.start == 0) ring.slots.size() - 1 : Nat else ring.start - 1 : Nat;
    ring.slots[ring.start] := ?item;
    ring.size += 1;
  };

  /// Replaces the item at `index`, which must exist. O(1).
  public func put<T>(ring : Ring<T>, index : Nat, item : T) {
    if (index >= ring.size) Runtime.trap("Ring.put: no item at this position");
    ring.slots[slot(ring, index)] := ?item;
  };

  /// The items, oldest first. O(1) each.
  public func values<T>(ring : Ring<T>) : { next : () -> ?T } {
    var i = 0;
    {
      next = func() : ?T {
        if (i >= ring.size) return null;
        i += 1;
        ring.slots[slot(ring, i - 1 : Nat)];
      };
    };
  };

  /// O(size).
  public func clear<T>(ring : Ring<T>) {
    ring.slots := [var];
    ring.start := 0;
    ring.size := 0;
  };

  /// Takes the oldest item away. Gives memory back when three quarters are unused. Amortized O(1).
  public func popFront<T>(ring : Ring<T>) : ?T {
    if (ring.size == 0) return null;
    let item = ring.slots[ring.start];
    ring.slots[ring.start] := null;
    ring.start += 1;
    if (ring.start == ring.slots.size()) ring.start := 0;
    ring.size -= 1;
    if (ring.slots.size() > 32 and 4 * ring.size < ring.slots.size()) resize(ring, 2 * ring.size);
    item;
  };

  func slot<T>(ring : Ring<T>, index : Nat) : Nat {
    let i = ring.start + index;
    if (i >= ring.slots.size()) i - ring.slots.size() else i;
  };

  func resize<T>(ring : Ring<T>, capacity : Nat) {
    let slots = VarArray.repeat<?T>(null, capacity);
    var i = 0;
    while (i < ring.size) {
      slots[i] := ring.slots[slot(ring, i)];
      i += 1;
    };
    ring.slots := slots;
    ring.start := 0;
  };
};
