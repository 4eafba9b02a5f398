/// Puts the messages of one client back in order.
///
/// The IC does not keep the order of two ingress messages, and a gateway sends several at once. A message that is
/// ahead of its turn is held, at most `window` numbers ahead; a number that was seen before, or lies further ahead,
/// is refused.

import List "mo:core/List";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";

module {
  /// How far ahead of the expected number a message may be.
  public let window : Nat64 = 64;

  public type Order<T> = { var expected : Nat64; held : Map.Map<Nat64, T> };

  public type Verdict<T> = {
    /// The message and those held behind it, in order.
    #ready : [T];
    /// The message waits for an earlier one.
    #held;
    /// Seen before or too far ahead.
    #wrong;
  };

  /// The first number of a client is 1.
  public func empty<T>() : Order<T> = { var expected = 1; held = Map.empty() };

  /// Takes a message in. O(log window), and as much for each message that becomes ready.
  public func offer<T>(order : Order<T>, number : Nat64, message : T) : Verdict<T> {
    if (number < order.expected or number - order.expected >= window) return #wrong;
    if (number > order.expected) {
      if (Map.containsKey(order.held, Nat64.compare, number)) return #wrong;
      Map.add(order.held, Nat64.compare, number, message);
      return #held;
    };
    let ready = List.singleton(message);
    order.expected += 1;
    label more loop {
      switch (Map.take(order.held, Nat64.compare, order.expected)) {
        case null break more;
        case (?next) List.add(ready, next);
      };
      order.expected += 1;
    };
    #ready(List.toArray(ready));
  };

  /// How many messages wait. O(1).
  public func heldCount<T>(order : Order<T>) : Nat = Map.size(order.held);
};
