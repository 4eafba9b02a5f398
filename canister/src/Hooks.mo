/// Methods of targets that are told when a connection opens or closes.

import Array "mo:core/Array";
import Candid "Candid";
import Calls "Calls";
import Hub "Hub";
import Ring "Ring";
import Settings "Settings";
import State "State";
import Types "Types";

module {
  // an argument of a hook has about so many bytes
  let argumentSize = 64;

  /// The target that cannot take another connection's opening and closing, if there is one. O(hooks).
  public func busy(state : State.State) : ?Principal {
    for ({ target } in state.settings.hooks.values()) {
      if (not Calls.hasRoom(Calls.target(state.calls, target), 2, 2 * argumentSize)) return ?target;
    };
    null;
  };

  /// Turns what has happened since into calls, and returns the targets that they wait for. Connections that close are
  /// not refused for want of room: there are no more of them than were open. O(events * hooks).
  public func queue(state : State.State) : [Calls.Target] {
    if (state.hub.events.size == 0) return [];
    label events loop {
      let (client, isOpen) = switch (Ring.popFront(state.hub.events)) {
        case (?#opened(client)) (client, true);
        case (?#closed(client)) (client, false);
        case null break events;
      };
      for ({ target; open; close } in state.settings.hooks.values()) {
        switch (if (isOpen) open else close) {
          case null {};
          case (?method) Calls.push(
            state.calls,
            Calls.target(state.calls, target),
            {
              method;
              argument = Candid.client(client.client_principal, client.client_nonce);
              client;
              config = null;
            },
          );
        };
      };
    };
    Array.map<Types.Hook, Calls.Target>(state.settings.hooks, func h = Calls.target(state.calls, h.target));
  };
};
