/// Calls of targets: what is in flight, what waits, and what failed.
///
/// Calls to one target start in the order in which they were queued, so those of one client start in the order of its
/// messages; the IC delivers them in that order. At most a configured number is open per target, the rest waits. All
/// targets together share a number of places too: a target may have as many calls open as places are left, so that one
/// that never answers leaves half of them to the others, two a third, and so on.

import Array "mo:core/Array";
import Error "mo:core/Error";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Ring "Ring";
import Types "Types";

module {
  /// Calls that may wait per target.
  public let maxWaiting = 2_000;
  /// Bytes of arguments that may wait per target.
  public let maxWaitingBytes = 16_777_216;
  /// Calls open at a time, to all targets together.
  public let maxOpen = 200;
  /// Nanoseconds after which a message of the canister to itself has not come and will not come.
  let maxStarting : Nat64 = 60_000_000_000;
  /// How many failed calls are remembered.
  public let maxRejections = 100;
  /// Characters of a failed call's text that are remembered.
  public let maxRejectionText = 1_000;

  /// `config` says what becomes of the reply; null for hooks.
  public type Call = {
    number : Nat;
    target : Principal;
    method : Text;
    argument : Blob;
    client : Types.ClientKey;
    config : ?Types.Call;
  };

  public type Target = {
    principal : Principal;
    waiting : Ring.Ring<Call>;
    var waitingBytes : Nat;
    var inFlight : Nat;
    // messages of the canister to itself that are on their way to start a call, and when the last one was sent
    var starting : Nat;
    var startedAt : Nat64;
  };

  public type Calls = {
    targets : Map.Map<Principal, Target>;
    rejections : Ring.Ring<Types.Rejection>;
    var nextRejection : Nat64;
    var nextCall : Nat;
    // calls open to all targets
    var open : Nat;
    // a target had calls waiting and found no place
    var isCrowded : Bool;
  };

  public func empty() : Calls = {
    targets = Map.empty();
    rejections = Ring.empty();
    var nextRejection = 0;
    var nextCall = 0;
    var open = 0;
    var isCrowded = false;
  };

  /// After an upgrade nothing is in flight: an upgrade with open calls is refused by the runtime. O(targets).
  public func restart(calls : Calls) {
    calls.open := 0;
    for (target in Map.values(calls.targets)) {
      target.inFlight := 0;
      target.starting := 0;
    };
  };

  /// O(log targets).
  public func target(calls : Calls, principal : Principal) : Target {
    switch (Map.get(calls.targets, Principal.compare, principal)) {
      case (?target) target;
      case null {
        let target : Target = {
          principal;
          waiting = Ring.empty();
          var waitingBytes = 0;
          var inFlight = 0;
          var starting = 0;
          var startedAt = 0;
        };
        Map.add(calls.targets, Principal.compare, principal, target);
        target;
      };
    };
  };

  /// Forgets targets that have nothing to do and that the configuration does not name any more. O(targets).
  public func forgetIdle(calls : Calls, isConfigured : Principal -> Bool) {
    for (target in Array.fromIter<Target>(Map.values(calls.targets)).values()) {
      if (target.waiting.size == 0 and target.inFlight == 0 and target.starting == 0 and not isConfigured(target.principal)) {
        Map.remove(calls.targets, Principal.compare, target.principal);
      };
    };
  };

  /// Whether `count` more calls with `bytes` bytes of arguments in all may wait. O(1).
  public func hasRoom(target : Target, count : Nat, bytes : Nat) : Bool {
    target.waiting.size + count <= maxWaiting and (target.waiting.size == 0 or target.waitingBytes + bytes <= maxWaitingBytes);
  };

  /// Queues a call. Amortized O(1).
  public func push(calls : Calls, target : Target, call : { method : Text; argument : Blob; client : Types.ClientKey; config : ?Types.Call }) {
    Ring.pushBack(target.waiting, { call with number = calls.nextCall; target = target.principal });
    target.waitingBytes += call.argument.size();
    calls.nextCall += 1;
  };

  /// Puts a call that could not be started back into its place. Amortized O(1), O(number) where several come back.
  public func putBack(target : Target, call : Call) {
    target.waitingBytes += call.argument.size();
    Ring.pushFront(target.waiting, call);
    var i = 0;
    while (i + 1 < target.waiting.size and Ring.at(target.waiting, i + 1).number < call.number) {
      Ring.put(target.waiting, i, Ring.at(target.waiting, i + 1));
      i += 1;
    };
    Ring.put(target.waiting, i, call);
  };

  /// Whether one more message should be sent to start a call; it counts until `release`. O(1).
  public func reserve(calls : Calls, target : Target, maxInFlight : Nat, now : Nat64) : Bool {
    if (target.starting > 0 and now - target.startedAt > maxStarting) forgetStarting(calls, target);
    if (target.waiting.size <= target.starting) return false;
    if (not mayOpen(calls, target.inFlight + target.starting, maxInFlight)) return false;
    target.starting += 1;
    target.startedAt := now;
    calls.open += 1;
    true;
  };

  /// Messages that were to start calls may never have come, because the canister was stopped in between. O(1).
  public func forgetStarting(calls : Calls, target : Target) {
    while (target.starting > 0) release(calls, target);
  };

  /// O(1).
  public func release(calls : Calls, target : Target) {
    if (target.starting == 0) return;
    target.starting -= 1;
    leave(calls);
  };

  /// The next call to start, which then counts as in flight until `finish`. Amortized O(1).
  public func start(calls : Calls, target : Target, maxInFlight : Nat) : ?Call {
    if (target.waiting.size == 0 or not mayOpen(calls, target.inFlight, maxInFlight)) return null;
    switch (Ring.popFront(target.waiting)) {
      case null null;
      case (?call) {
        target.waitingBytes -= call.argument.size();
        target.inFlight += 1;
        calls.open += 1;
        ?call;
      };
    };
  };

  /// O(1).
  public func finish(calls : Calls, target : Target) {
    if (target.inFlight == 0) return;
    target.inFlight -= 1;
    leave(calls);
  };

  /// The targets that may have waited for a place, after one has become free. O(targets), rarely.
  public func crowded(calls : Calls) : [Target] {
    if (not calls.isCrowded) return [];
    calls.isCrowded := false;
    Array.filter<Target>(Array.fromIter(Map.values(calls.targets)), func t = t.waiting.size > t.starting);
  };

  func mayOpen(calls : Calls, open : Nat, maxInFlight : Nat) : Bool {
    if (open >= maxInFlight) return false;
    if (open + calls.open < maxOpen) return true;
    calls.isCrowded := true;
    false;
  };

  func leave(calls : Calls) {
    if (calls.open > 0) calls.open -= 1;
  };

  /// Remembers a failed call in place of the oldest one remembered. O(length of the text).
  public func reject(calls : Calls, call : { target : Principal; method : Text }, failure : Failure, now : Nat64) {
    if (calls.rejections.size >= maxRejections) ignore Ring.popFront(calls.rejections);
    Ring.pushBack(
      calls.rejections,
      {
        id = calls.nextRejection;
        at = now;
        target = call.target;
        method = call.method;
        code = failure.code;
        text = shorten(failure.text);
      },
    );
    calls.nextRejection += 1;
  };

  /// Oldest first. O(rejections).
  public func rejections(calls : Calls) : [Types.Rejection] = Array.tabulate<Types.Rejection>(calls.rejections.size, func i = Ring.at(calls.rejections, i));

  /// O(targets).
  public func counts(calls : Calls) : { inFlight : Nat; waiting : Nat } {
    var inFlight = 0;
    var waiting = 0;
    for (target in Map.values(calls.targets)) {
      inFlight += target.inFlight;
      waiting += target.waiting.size;
    };
    { inFlight; waiting };
  };

  public type Failure = { code : Text; text : Text };

  /// The code of a call that was not sent: too many calls are under way, the cycles do not suffice, or the canister stops.
  public let notStarted = "NOT_STARTED";

  /// What is known of a failed call: the IC's error code, or the kind of the failure, and a text. A call with raw arguments
  /// is made by a message of the canister to itself, which reports every reject of the target alike; but the IC puts its
  /// error code in front of its own texts. When that message itself was refused because the canister stops, nothing was
  /// sent. O(length).
  public func describe(error : Error) : Failure {
    let text = Error.message(error);
    switch (Error.code(error)) {
      case (#call_error _) ({ code = notStarted; text = if (text == "") "the call could not be started" else text });
      // what that message says when it could not make the call
      case (#canister_reject) if (text == "could not perform raw call") ({ code = notStarted; text }) else split(text);
      case _ {
        let failure = split(text);
        if (failure.code == "IC0508" or failure.code == "IC0509") ({ code = notStarted; text }) else failure;
      };
    };
  };

  /// The IC's error code in front of a text, and the rest of it.
  func split(text : Text) : Failure {
    let chars = text.chars();
    var code = "";
    for (wanted in "IC0000: ".chars()) {
      switch (chars.next()) {
        case (?c) {
          if (c != wanted and not (wanted == '0' and c >= '0' and c <= '9')) return { code = "CANISTER_REJECT"; text };
          if (c != ':' and c != ' ') code #= Text.fromChar(c);
        };
        case null return { code = "CANISTER_REJECT"; text };
      };
    };
    { code; text = Text.fromIter(chars) };
  };

  /// Whether the target itself failed or refused, rather than the way to it. O(1).
  public func isOfTarget({ code } : Failure) : Bool = code == "CANISTER_REJECT" or code == "IC0502" or code == "IC0503";

  /// O(length).
  public func shorten(text : Text) : Text {
    var kept = "";
    var count = 0;
    for (c in text.chars()) {
      if (count == maxRejectionText) return kept # "...";
      kept #= Text.fromChar(c);
      count += 1;
    };
    kept;
  };
};
