/// Which call a client's message becomes.

import Map "mo:core/Map";
import Nat32 "mo:core/Nat32";
import Candid "Candid";
import Errors "Errors";
import Settings "Settings";
import Types "Types";

module {
  public type Route = { call : Types.Call; argument : Blob };

  public type Result = { #ok : Route; #err : Text };

  /// The call of a message, and its argument. O(size of content), O(1) where nothing needs to be looked at.
  public func find(settings : Settings.Settings, client : Principal, content : Blob) : Result {
    if (Map.size(settings.tagged) > 0) {
      switch (Candid.payload(content)) {
        case (#err(reason)) return #err(Errors.unreadableMessage(reason));
        case (#ok(?{ tag; argument })) {
          switch (Map.get(settings.tagged, Nat32.compare, tag)) {
            case (?call) return prepare(call, client, argument);
            case null {};
          };
        };
        case (#ok(null)) {};
      };
    };
    switch (settings.whole) {
      case (?call) prepare(call, client, content);
      case null #err(if (Map.size(settings.tagged) == 0) Errors.noCalls() else Errors.noCallForMessage());
    };
  };

  func prepare(call : Types.Call, client : Principal, argument : Blob) : Result {
    if (call.pass_client != ?true) return #ok({ call; argument });
    switch (Candid.prepend(client, argument)) {
      case (#ok(argument)) #ok({ call; argument });
      case (#err(reason)) #err(Errors.unreadableMessage(reason));
    };
  };
};
