/// An ordinary canister to be bridged in tests: methods that record what they were told, and a feed whose items and
/// pages the test decides.

import Error "mo:core/Error";
import InternetComputer "mo:core/InternetComputer";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";
import Text "mo:core/Text";

persistent actor Target {
  let received = List.empty<Text>();
  let callers = List.empty<Principal>();
  let items = List.empty<Text>();
  var page = 100;
  var counted = 0;
  var refusesBeyondEnd = false;
  var isHeld = false;

  /// Records its argument. "refuse" is refused, "trap" traps, both without a record.
  public shared ({ caller }) func put(text : Text) : async () {
    if (text == "refuse") throw Error.reject("refused on purpose");
    if (text == "trap") Runtime.trap("trapped on purpose");
    List.add(received, text);
    List.add(callers, caller);
  };

  /// Records its argument, and answers after some rounds; after `hold` not before `release`.
  public func slow(text : Text) : async () {
    List.add(received, text);
    for (_ in Nat.range(0, 3)) await pause();
    while (isHeld) await pause();
  };

  /// Records its argument and answers, but for "stuck" after `hold` not before `release`.
  public func sometimes(text : Text) : async () {
    List.add(received, text);
    if (text == "stuck") while (isHeld) await pause();
  };

  public func hold() : async () { isHeld := true };

  public func release() : async () { isHeld := false };

  func pause() : async () {};

  /// What `put` and `slow` recorded.
  public query func log() : async [Text] { List.toArray(received) };

  /// How many that are.
  public query func logSize() : async Nat { List.size(received) };

  /// Who called `put`.
  public query func putBy() : async [Principal] { List.toArray(callers) };

  /// Puts the argument into the feed, as `add` does, and records nothing.
  public func say(text : Text) : async () { List.add(items, text) };

  public func add(texts : [Text]) : async () {
    for (text in texts.values()) List.add(items, text);
  };

  /// Adds `count` items `item <index>`.
  public func addMany(count : Nat) : async () {
    for (_ in Nat.range(0, count)) List.add(items, "item " # Nat.toText(List.size(items)));
  };

  public func setPage(size : Nat) : async () { page := size };

  public func refuseBeyondEnd() : async () { refusesBeyondEnd := true };

  public query func since(from : Nat) : async [Text] { from_(from) };

  /// The same feed, which says how often it was asked.
  public func countedSince(from : Nat) : async [Text] {
    counted += 1;
    from_(from);
  };

  public query func countedCalls() : async Nat { counted };

  func from_(from : Nat) : [Text] {
    let size = List.size(items);
    if (refusesBeyondEnd and from > size) Runtime.trap("there are only " # Nat.toText(size) # " items");
    List.sliceToArray(items, Nat.min(from, size), Nat.min(size, from + page));
  };

  /// Sends bytes to a method, for what no typed interface lets through.
  public func forward(target : Principal, method : Text, argument : Blob) : async Blob {
    await InternetComputer.call(target, method, argument);
  };
};
