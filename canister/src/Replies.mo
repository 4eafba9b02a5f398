/// What becomes of a call that has been answered: a message to its sender or to everybody, or a note of its failure.

import Candid "Candid";
import Calls "Calls";
import Hub "Hub";
import State "State";
import Types "Types";

module {
  /// A target has replied. O(size of reply), and O(log n) for each client that gets it.
  public func succeeded(state : State.State, call : Calls.Call, reply : Blob) {
    let (config, toAll) = switch (call.config) {
      case (?config) switch (config.reply) {
        case (? #Sender) (config, false);
        case (? #Everybody) (config, true);
        case _ return;
      };
      case null return;
    };
    switch (content(config, reply)) {
      case (#err(reason)) failed(state, call, { code = "BAD_REPLY"; text = "The reply cannot be sent: " # reason });
      case (#ok(null)) {};
      case (#ok(?message)) if (toAll) everybody(state, call, message) else sender(state, call, message);
    };
  };

  /// A call has failed. The client stays connected, and its next messages go on. O(length of the text).
  public func failed(state : State.State, call : Calls.Call, failure : Calls.Failure) {
    Calls.reject(state.calls, call, failure, State.now());
    switch (call.config) {
      case (?{ error_tag = ?tag }) sender(state, call, Candid.variantText(tag, Calls.shorten(failure.text)));
      case _ {};
    };
  };

  /// The message that a reply becomes, if any: a bare reply without a value is none.
  func content(config : Types.Call, reply : Blob) : Candid.Result<?Blob> {
    switch (config.reply_tag) {
      case (?tag) switch (Candid.wrap(tag, reply)) {
        case (#ok(message)) #ok(?message);
        case (#err(reason)) #err(reason);
      };
      case null switch (Candid.check(reply)) {
        case (#ok(values)) #ok(if (values == 0) null else ?reply);
        case (#err(reason)) #err(reason);
      };
    };
  };

  func sender(state : State.State, call : Calls.Call, message : Blob) {
    switch (Hub.connection(state.hub, state.settings, call.client, State.now())) {
      case null {}; // has gone meanwhile
      case (?to) if (not Hub.sendOrClose(state.hub, state.settings, to, message, State.now())) noteFull(state, call);
    };
    State.certify(state);
  };

  func everybody(state : State.State, call : Calls.Call, message : Blob) {
    let now = State.now();
    let to = Hub.everybody(state.hub, state.settings, now);
    switch (Hub.refusal(state.hub, to.clients, message.size(), now)) {
      case null Hub.sendAll(state.hub, state.settings, to, message, now);
      case (?#tooLarge) Calls.reject(state.calls, call, { code = "TOO_LARGE"; text = "The reply was not sent: it is too large for all clients together" }, now);
      case (?#full) if (not Hub.sendOrClose(state.hub, state.settings, to, message, now)) noteFull(state, call);
    };
    State.certify(state);
  };

  func noteFull(state : State.State, call : Calls.Call) {
    Calls.reject(
      state.calls,
      call,
      {
        code = "QUEUE_FULL";
        text = "A client was closed because the queue of its gateway had no room for the reply";
      },
      State.now(),
    );
  };
};
