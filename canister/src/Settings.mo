/// The configuration, checked and with its defaults filled in.

import Array "mo:core/Array";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Types "Types";

module {
  public type Settings = {
    calls : [Types.Call];
    feeds : [Types.Feed];
    admins : [Principal];
    // nanoseconds
    ackInterval : Nat64;
    // nanoseconds
    keepAliveTimeout : Nat64;
    maxMessages : Nat;
    // calls of one target open at a time
    maxCallsInFlight : Nat;
  };

  /// The CDK's defaults: acknowledgements every 5 minutes, 60 seconds to answer them, 50 messages a poll.
  public let defaultAckIntervalMs : Nat64 = 300_000;
  public let defaultKeepAliveTimeoutMs : Nat64 = 60_000;
  public let defaultMaxMessages : Nat64 = 50;
  /// The IC allows 500 between two canisters; a call takes up to two places.
  public let defaultMaxCallsInFlight : Nat64 = 100;

  let maxFeeds = 64;
  let maxAdmins = 64;
  let maxMethodSize = 20_000;
  let minMs : Nat64 = 50;
  let maxMs : Nat64 = 86_400_000;

  /// The settings, or everything that is wrong with the configuration in one text. O(size of configuration).
  public func check(config : Types.Config) : { #ok : Settings; #err : Text } {
    var problems = "";
    func problem(text : Text) = problems #= (if (problems == "") "" else "; ") # text;

    if (config.calls.size() > 1) problem("calls: only one call can be configured");
    if (config.feeds.size() > maxFeeds) problem("feeds: more than " # Nat.toText(maxFeeds) # " feeds");
    if (config.admins.size() > maxAdmins) problem("admins: more than " # Nat.toText(maxAdmins) # " admins");
    for (call in config.calls.values()) checkMethod("calls", call.method, problem);
    for (i in config.feeds.keys()) {
      let feed = config.feeds[i];
      checkMethod("feeds", feed.method, problem);
      for (j in config.feeds.keys()) {
        if (j < i and i < maxFeeds and config.feeds[j] == feed) {
          problem("feeds: " # Principal.toText(feed.target) # "." # feed.method # " is named twice");
        };
      };
    };
    if (Array.any<Principal>(config.admins, Principal.isAnonymous)) problem("admins: the anonymous principal cannot be an admin");

    let ackMs = switch (config.ack_interval_ms) { case (?ms) ms; case null defaultAckIntervalMs };
    checkMs("ack_interval_ms", ackMs, problem);
    let keepAliveMs = switch (config.keep_alive_timeout_ms) {
      case (?ms) ms;
      // an answer is expected before the next acknowledgement
      case null if (ackMs > defaultKeepAliveTimeoutMs) defaultKeepAliveTimeoutMs else ackMs / 2;
    };
    switch (config.keep_alive_timeout_ms) { case (?ms) checkMs("keep_alive_timeout_ms", ms, problem); case null {} };
    if (ackMs <= keepAliveMs) problem("ack_interval_ms must be greater than keep_alive_timeout_ms");
    let maxMessages = switch (config.max_messages) { case (?n) n; case null defaultMaxMessages };
    if (maxMessages == 0 or maxMessages > 1_000) problem("max_messages: must be between 1 and 1000");

    let maxCallsInFlight = switch (config.max_calls_in_flight) { case (?n) n; case null defaultMaxCallsInFlight };
    if (maxCallsInFlight == 0 or maxCallsInFlight > 200) problem("max_calls_in_flight: must be between 1 and 200");

    if (problems != "") return #err(problems);
    #ok({
      calls = config.calls;
      feeds = config.feeds;
      admins = config.admins;
      ackInterval = ackMs * 1_000_000;
      keepAliveTimeout = keepAliveMs * 1_000_000;
      maxMessages = Nat64.toNat(maxMessages);
      maxCallsInFlight = Nat64.toNat(maxCallsInFlight);
    });
  };

  /// O(admins).
  public func isAdmin(settings : Settings, principal : Principal) : Bool = Array.any<Principal>(settings.admins, func a = a == principal);

  /// Whether the principal is the target of a call or a feed. O(calls + feeds).
  public func isTarget(settings : Settings, principal : Principal) : Bool {
    Array.any<Types.Call>(settings.calls, func c = c.target == principal) or Array.any<Types.Feed>(settings.feeds, func f = f.target == principal);
  };

  func checkMethod(field : Text, method : Text, problem : Text -> ()) {
    if (method == "") problem(field # ": a method without a name");
    if (method.size() > maxMethodSize) problem(field # ": a method's name of more than " # Nat.toText(maxMethodSize) # " characters");
  };

  func checkMs(field : Text, ms : Nat64, problem : Text -> ()) {
    if (ms < minMs or ms > maxMs) problem(field # ": must be between " # Nat64.toText(minMs) # " and " # Nat64.toText(maxMs));
  };
};
