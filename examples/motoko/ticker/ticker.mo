/// A ticker: a price that changes every second, and can be read.

import Array "mo:core/Array";
import Int "mo:core/Int";
import Nat "mo:core/Nat";
import Random "mo:core/Random";
import Time "mo:core/Time";
import Timer "mo:core/Timer";
import VarArray "mo:core/VarArray";

persistent actor Ticker {
  /// A price in cents; `id` counts the prices from 0 on, `time` is in nanoseconds since 1970.
  public type Price = { id : Nat; time : Int; cents : Nat };

  transient let maxKept = 300;
  transient let maxAtATime = 100;

  let kept = VarArray.repeat<Price>({ id = 0; time = 0; cents = 0 }, maxKept); // price `id` is at `id % maxKept`
  let seed = Random.seedState(0);
  var count = 0;
  var cents = 10_000;

  /// The prices from number `from` on, oldest first, at most 100 at a time, and the number to ask from next.
  /// Prices older than the last 300 are gone; a number beyond the end gives the number of the next price.
  public query func since(from : Nat) : async { items : [Price]; next : Nat } {
    let start = Nat.min(count, Nat.max(from, if (count > maxKept) count - maxKept else 0));
    let next = Nat.min(count, start + maxAtATime);
    { items = Array.tabulate<Price>(next - start, func i = kept[(start + i) % maxKept]); next };
  };

  func tick() : async () {
    let step = Random.seedFromState(seed).intRange(-75, 76);
    cents := Int.abs(Int.max(100, cents + step));
    kept[count % maxKept] := { id = count; time = Time.now(); cents };
    count += 1;
  };
  ignore Timer.recurringTimer<system>(#seconds 1, tick);
};
