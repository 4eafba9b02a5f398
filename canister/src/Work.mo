/// Makes the calls that wait for targets.
///
/// A call that starts in the message that brought it costs the canister no message of its own; each further one is
/// started in a message of the canister to itself, so that none waits for the reply of another, and that message
/// goes on with what waits until nothing does.

import InternetComputer "mo:core/InternetComputer";
import Map "mo:core/Map";
import Array "mo:core/Array";
import Calls "Calls";
import Clients "Clients";
import Feeds "Feeds";
import Hooks "Hooks";
import Replies "Replies";
import State "State";

module {
  /// Makes the next call that waits for a target, returns when it is answered, and has others go on.
  public func one(state : State.State, target : Calls.Target) : async* () {
    if (await* next(state, target)) await* more(state, target);
  };

  /// Starts what waits for a target as far as calls may be in flight.
  public func more(state : State.State, target : Calls.Target) : async* () {
    if (mustWait(state, target)) return;
    while (Calls.reserve(state.calls, target, state.settings.maxCallsInFlight, State.now())) {
      try ignore async {
        Calls.release(state.calls, target);
        while (await* next(state, target)) {};
      } catch _ {
        // no call can be made now; the next one that ends, or the next acknowledgement, tries again
        Calls.release(state.calls, target);
        state.calls.isCrowded := true;
        return;
      };
    };
  };

  /// Certifies what has changed, and calls the hooks that want to know.
  public func settle(state : State.State) : async* () {
    State.certify(state);
    await* hooks(state);
  };

  func hooks(state : State.State) : async* () {
    for (target in Hooks.queue(state).values()) await* more(state, target);
  };

  /// Goes on with whatever waits, for instance after the canister was stopped in between. O(targets).
  public func resume(state : State.State) : async* () {
    for (target in Array.fromIter<Calls.Target>(Map.values(state.calls.targets)).values()) {
      Calls.forgetStarting(state.calls, target);
      await* more(state, target);
    };
  };

  /// Whether calls wait for a feed that looks for its end. Without clients none does.
  func mustWait(state : State.State, target : Calls.Target) : Bool = Clients.size(state.hub.clients) > 0 and Feeds.holdsUp(state.feeds, target.principal);

  /// Makes the next call that waits for a target, if it may start; false when none was made.
  func next(state : State.State, target : Calls.Target) : async* Bool {
    if (mustWait(state, target)) return false;
    let call = switch (Calls.start(state.calls, target, state.settings.maxCallsInFlight)) {
      case null return false;
      case (?call) call;
    };
    var wasSent = true;
    try {
      Replies.succeeded(state, call, await InternetComputer.call(call.target, call.method, call.argument));
    } catch (e) {
      let failure = Calls.describe(e);
      if (failure.code == Calls.notStarted) {
        Calls.putBack(target, call);
        if (not state.calls.isCrowded) Calls.reject(state.calls, call, { failure with text = "It waits, because no call can be made now: " # failure.text }, State.now());
        state.calls.isCrowded := true;
        wasSent := false;
      } else Replies.failed(state, call, failure);
    } finally Calls.finish(state.calls, target);
    if (wasSent) {
      await* hooks(state);
      for (other in Calls.crowded(state.calls).values()) await* more(state, other);
    };
    wasSent;
  };
};
