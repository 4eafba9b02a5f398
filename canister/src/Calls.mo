/// Calls of targets: what is in flight, what waits, and what failed.
///
/// Calls to one target start in the order in which they were queued, so those of one client start in the order of its
/// messages; the IC delivers them in that order. At most a configured number is open per target, the rest waits.

import Error "mo:core/Error";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Array "mo:core/Array";
import Ring "Ring";
import Types "Types";

module {
  /// Calls that may wait per target.
  public let maxWaiting = 2_000;
  /// Bytes of arguments that may wait per target.
  public let maxWaitingBytes = 16_777_216;
  /// How many failed calls are remembered.
  public let maxRejections = 100;
  /// Characters of a failed call's text that are remembered.
  public let maxRejectionText = 1_000;

  public type Call = { target : Principal; method : Text; argument : Blob; client : Types.ClientKey };

  public type Target = {
    principal : Principal;
    waiting : Ring.Ring<Call>;
    var waitingBytes : Nat;
    var inFlight : Nat;
    // messages of the canister to itself that are on their way to start a call
    var starting : Nat;
  };

  public type Calls = {
    targets : Map.Map<Principal, Target>;
    rejections : Ring.Ring<Types.Rejection>;
    var nextRejection : Nat64;
  };

  public func empty() : Calls = {
    targets = Map.empty();
    rejections = Ring.empty();
    var nextRejection = 0;
  };

  /// After an upgrade nothing is in flight: an upgrade with open calls is refused by the runtime. O(targets).
  public func restart(calls : Calls) {
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
        };
        Map.add(calls.targets, Principal.compare, principal, target);
        target;
      };
    };
  };

  /// Whether `count` more calls with `bytes` bytes of arguments in all may wait. O(1).
  public func hasRoom(target : Target, count : Nat, bytes : Nat) : Bool {
    target.waiting.size + count <= maxWaiting and (target.waiting.size == 0 or target.waitingBytes + bytes <= maxWaitingBytes);
  };

  /// Amortized O(1).
  public func push(target : Target, call : Call) {
    Ring.pushBack(target.waiting, call);
    target.waitingBytes += call.argument.size();
  };

  /// Whether one more message should be sent to start a call; it counts until `release`. O(1).
  public func reserve(target : Target, maxInFlight : Nat) : Bool {
    if (target.waiting.size <= target.starting or target.inFlight + target.starting >= maxInFlight) return false;
    target.starting += 1;
    true;
  };

  /// Messages that were to start calls may never have come, because the canister was stopped in between. O(1).
  public func forgetStarting(target : Target) = target.starting := 0;

  /// O(1).
  public func release(target : Target) {
    if (target.starting > 0) target.starting -= 1;
  };

  /// The next call to start, which then counts as in flight until `finish`. Amortized O(1).
  public func start(target : Target, maxInFlight : Nat) : ?Call {
    if (target.inFlight >= maxInFlight) return null;
    switch (Ring.popFront(target.waiting)) {
      case null null;
      case (?call) {
        target.waitingBytes -= call.argument.size();
        target.inFlight += 1;
        ?call;
      };
    };
  };

  /// O(1).
  public func finish(target : Target) {
    if (target.inFlight > 0) target.inFlight -= 1;
  };

  /// Remembers a failed call in place of the oldest one remembered. O(length of the text).
  public func reject(calls : Calls, call : Call, failure : { code : Text; text : Text }, now : Nat64) {
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

  /// What is known of a failed call: the IC's error code, or the kind of the failure, and a text. The runtime reports
  /// every reject of a call with raw arguments alike, but the IC puts its error code in front of its own texts. O(length).
  public func describe(error : Error) : { code : Text; text : Text } {
    let text = Error.message(error);
    switch (Error.code(error)) {
      // too many calls under way, or not enough cycles
      case (#call_error _) ({ code = "NOT_STARTED"; text = if (text == "") "the call could not be started" else text });
      case _ {
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
    };
  };

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
