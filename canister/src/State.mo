/// Everything that the relay canister keeps, and what nearly all of its methods need of it.

import CertifiedData "mo:core/CertifiedData";
import Nat64 "mo:core/Nat64";
import Time "mo:core/Time";
import Calls "Calls";
import Feeds "Feeds";
import Hub "Hub";
import Settings "Settings";

module {
  /// All but the settings outlives an upgrade.
  public type State = {
    hub : Hub.Hub;
    calls : Calls.Calls;
    feeds : Feeds.Feeds;
    var settings : Settings.Settings;
  };

  /// Puts what has changed under the canister's certificate. Due before a message ends and before each await.
  /// Costs what `Hub.commit` costs.
  public func certify(state : State) = CertifiedData.set(Hub.commit(state.hub));

  /// Nanoseconds since 1970.
  public func now() : Nat64 = Nat64.fromIntWrap(Time.now());
};
