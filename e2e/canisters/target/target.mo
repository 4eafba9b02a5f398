/// An ordinary canister to be bridged in tests: methods that record what they were told, and a feed whose items and
/// pages the test decides.

import Array "mo:core/Array";
import Error "mo:core/Error";
import InternetComputer "mo:core/InternetComputer";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";
import Text "mo:core/Text";

persistent actor Target {
  let received = List.empty<Text>();
  let callers = List.empty<Principal>();
  let items = List.empty<Text>();
  var page = 100;
  var counted = 0;
  var pages = 0;
  var refusesBeyondEnd = false;
  var isHeld = false;

  /// Records its argument. "refuse" is refused, "trap" traps, both without a record.
  public shared ({ caller }) func put(text : Text) : async () {
    await* put_(caller, text);
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

  /// Records its argument and returns it. Refuses and traps as `put` does.
  public shared ({ caller }) func echo(text : Text) : async Text {
    await* put_(caller, text);
    text;
  };

  /// Records who sent what, as the caller says.
  public shared ({ caller }) func putAs(client : Principal, text : Text) : async Text {
    await* put_(caller, Principal.toText(client) # " " # text);
    text;
  };

  /// A method without arguments but for the client.
  public shared ({ caller }) func poke(client : Principal) : async () { await* put_(caller, "poke " # Principal.toText(client)) };

  /// Two values.
  public func both(text : Text) : async (Text, Nat) { (text, text.size()) };

  public func opened(client : Principal, nonce : Nat64) : async () {
    List.add(received, "open " # Principal.toText(client) # " " # Nat64.toText(nonce));
  };

  public func closed(client : Principal) : async () { List.add(received, "close " # Principal.toText(client)) };

  /// Tells of a client not before `release`, after `hold`.
  public func toldSlowly(client : Principal) : async () {
    while (isHeld) await pause();
    List.add(received, "told " # Principal.toText(client));
  };

  func put_(caller : Principal, text : Text) : async* () {
    if (text == "refuse") throw Error.reject("refused on purpose");
    if (text == "trap") Runtime.trap("trapped on purpose");
    List.add(received, text);
    List.add(callers, caller);
  };

  public type Letter = { to : Principal; text : Text };
  public type Notice = { to : ?Principal; text : Text };

  let letters = List.empty<Letter>();

  public func write(to : Principal, text : Text) : async () { List.add(letters, { to; text }) };

  public query func lettersSince(from : Nat) : async [Letter] {
    let size = List.size(letters);
    List.sliceToArray(letters, Nat.min(from, size), Nat.min(size, from + page));
  };

  /// The letters, with those to the anonymous principal for everybody.
  public query func noticesSince(from : Nat) : async [Notice] {
    let size = List.size(letters);
    Array.map<Letter, Notice>(
      List.sliceToArray(letters, Nat.min(from, size), Nat.min(size, from + page)),
      func({ to; text }) = { to = if (Principal.isAnonymous(to)) null else ?to; text },
    );
  };

  /// The feed with cursors of the target's own making, 10 for each item. Beyond its end it says where the end is.
  public query func pageAt(cursor : Nat) : async { items : [Text]; next : Nat } {
    pages += 1;
    let from = Nat.min(cursor / 10, List.size(items));
    let found = from_(from);
    { items = found; next = 10 * (from + found.size()) };
  };

  /// The same, but beyond its end it stays where it was asked.
  public func pageAtOrThere(cursor : Nat) : async { items : [Text]; next : Nat } {
    pages += 1;
    let from = Nat.min(cursor / 10, List.size(items));
    let found = from_(from);
    { items = found; next = if (found.size() == 0) cursor else 10 * (from + found.size()) };
  };

  /// How often `pageAtOrThere` was asked.
  public query func pagesAsked() : async Nat { pages };

  /// A feed that never moves on.
  public query func stuckAt(cursor : Nat) : async { items : [Text]; next : Nat } { { items = ["again"]; next = cursor } };

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
