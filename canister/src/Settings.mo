/// The configuration, checked and with its defaults filled in.

import Array "mo:core/Array";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Candid "Candid";
import Types "Types";

module {
  public type Settings = {
    // as it was given
    config : Types.Config;
    // by the number of the tag that they take
    tagged : Map.Map<Nat32, Types.Call>;
    // takes the messages that no tag takes
    whole : ?Types.Call;
    hooks : [Types.Hook];
    // clients can come through these only, if there are any
    gateways : [Principal];
    // who may push
    targets : [Principal];
    // nanoseconds
    ackInterval : Nat64;
    // nanoseconds
    keepAliveTimeout : Nat64;
    maxMessages : Nat;
    // calls of one target open at a time
    maxCallsInFlight : Nat;
    // nanoseconds for which a lost connection waits for its client; 0: it does not
    resumeWindow : Nat64;
  };

  /// The version of `Types.Config` and of the relay's own methods. It goes up when an older gateway or canister could
  /// misunderstand the newer one.
  public let interface : Nat32 = 1;

  /// The CDK's defaults: acknowledgements every 5 minutes, 60 seconds to answer them, 50 messages a poll.
  public let defaultAckIntervalMs : Nat64 = 300_000;
  public let defaultKeepAliveTimeoutMs : Nat64 = 60_000;
  public let defaultMaxMessages : Nat64 = 50;
  /// The IC allows 500 between two canisters.
  public let defaultMaxCallsInFlight : Nat64 = 100;

  let maxCalls = 256;
  // feeds, hooks, admins, gateways and pushers
  let maxOthers = 64;
  // so that all that a newcomer gets can be certified in one message
  let maxFeedsWithLast = 16;
  let maxMethodSize = 20_000;
  let maxNameSize = 1_000;
  let maxLast : Nat64 = 1_000;
  let minMs : Nat64 = 50;
  let minIntervalMs : Nat64 = 100;
  let maxMs : Nat64 = 86_400_000;
  let minResumeMs : Nat64 = 1_000;
  let maxResumeMs : Nat64 = 3_600_000;

  /// The settings, or everything that is wrong with the configuration in one text. O(size of configuration).
  public func check(config : Types.Config) : { #ok : Settings; #err : Text } {
    var problems = "";
    func problem(text : Text) = problems #= (if (problems == "") "" else "; ") # text;

    switch (config.interface) {
      case (?n) if (n != interface) {
        // its other fields may mean something else
        return #err("interface: the configuration is of version " # Nat32.toText(n) # ", this relay canister knows version " # Nat32.toText(interface) # ": use a relay canister and a gateway of the same release");
      };
      case null {};
    };
    let hooks = orNone(config.hooks);
    let gateways = orNone(config.gateways);
    let pushers = orNone(config.pushers);
    checkCount("calls", config.calls.size(), maxCalls, problem);
    checkCount("feeds", config.feeds.size(), maxOthers, problem);
    checkCount("hooks", hooks.size(), maxOthers, problem);
    checkPrincipals("admins", config.admins, problem);
    checkPrincipals("gateways", gateways, problem);
    checkPrincipals("pushers", pushers, problem);
    let targets = Array.flatten<Principal>([
      Array.map<Types.Call, Principal>(config.calls, func c = c.target),
      Array.map<Types.Feed, Principal>(config.feeds, func f = f.target),
      Array.map<Types.Hook, Principal>(hooks, func h = h.target),
      pushers,
    ]);
    if (contains(targets, Principal.anonymous())) problem("a target is the anonymous principal, which is anybody");
    // what follows may take time that grows with the square of the counts
    if (problems != "") return #err(problems);

    let tagged = Map.empty<Nat32, Types.Call>();
    var whole : ?Types.Call = null;
    for (call in config.calls.values()) {
      checkMethod("calls", call.method, problem);
      switch (call.tag) {
        case (?tag) {
          checkName("calls", "tag", tag, problem);
          if (Map.containsKey(tagged, Nat32.compare, Candid.hash(tag))) problem("calls: the tag " # tag # " is named twice");
          Map.add(tagged, Nat32.compare, Candid.hash(tag), call);
        };
        case null {
          if (whole != null) problem("calls: only one call can be without a tag");
          whole := ?call;
        };
      };
      checkOptName("calls", "reply_tag", call.reply_tag, problem);
      checkOptName("calls", "error_tag", call.error_tag, problem);
      if (call.reply_tag != null and (call.reply == null or call.reply == ?#Nobody)) problem("calls: reply_tag without reply");
    };
    for (i in config.feeds.keys()) {
      let feed = config.feeds[i];
      checkMethod("feeds", feed.method, problem);
      for (j in config.feeds.keys()) {
        let other = config.feeds[j];
        if (j < i and other.target == feed.target and other.method == feed.method) {
          problem("feeds: " # Principal.toText(feed.target) # "." # feed.method # " is named twice");
        };
      };
      checkOptName("feeds", "tag", feed.tag, problem);
      checkOptName("feeds", "recipient", feed.recipient, problem);
      switch (feed.last) {
        case (?n) if (n > maxLast) problem("feeds: last must be at most " # Nat64.toText(maxLast));
        case null {};
      };
      switch (feed.interval_ms) {
        case (?ms) if (ms < minIntervalMs or ms > maxMs) problem("feeds: interval_ms must be between " # Nat64.toText(minIntervalMs) # " and " # Nat64.toText(maxMs));
        case null {};
      };
    };
    if (Array.filter<Types.Feed>(config.feeds, func f = f.last != null and f.last != ?0).size() > maxFeedsWithLast) {
      problem("feeds: more than " # Nat.toText(maxFeedsWithLast) # " with last");
    };
    for (hook in hooks.values()) {
      if (hook.open == null and hook.close == null) problem("hooks: neither open nor close");
      for (method in [hook.open, hook.close].values()) {
        switch method { case (?method) checkMethod("hooks", method, problem); case null {} };
      };
    };

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

    let resumeMs = switch (config.resume_ms) { case (?ms) ms; case null 0 : Nat64 };
    if (resumeMs != 0 and (resumeMs < minResumeMs or resumeMs > maxResumeMs)) problem("resume_ms: must be 0, or between " # Nat64.toText(minResumeMs) # " and " # Nat64.toText(maxResumeMs));
    switch (config.resume_tag) {
      case (?tag) {
        if (tag == "") problem("an empty resume_tag");
        if (tag.size() > maxNameSize) problem("resume_tag of more than " # Nat.toText(maxNameSize) # " characters");
        if (resumeMs == 0) problem("resume_tag without resume_ms");
      };
      case null {};
    };

    if (problems != "") return #err(problems);
    #ok({
      config;
      tagged;
      whole;
      hooks;
      gateways;
      targets;
      ackInterval = ackMs * 1_000_000;
      keepAliveTimeout = keepAliveMs * 1_000_000;
      maxMessages = Nat64.toNat(maxMessages);
      maxCallsInFlight = Nat64.toNat(maxCallsInFlight);
      resumeWindow = resumeMs * 1_000_000;
    });
  };

  /// O(admins).
  public func isAdmin(settings : Settings, principal : Principal) : Bool = contains(settings.config.admins, principal);

  /// Whether the configuration names the principal as a canister that messages are exchanged with. O(configuration).
  public func isTarget(settings : Settings, principal : Principal) : Bool = contains(settings.targets, principal);

  /// Whether clients may come through this gateway. O(gateways).
  public func allowsGateway(settings : Settings, gateway : Principal) : Bool = settings.gateways.size() == 0 or contains(settings.gateways, gateway);

  func contains(list : [Principal], principal : Principal) : Bool = Array.any<Principal>(list, func p = p == principal);

  func orNone<T>(list : ?[T]) : [T] = switch list { case (?list) list; case null [] };

  func checkCount(field : Text, count : Nat, limit : Nat, problem : Text -> ()) {
    if (count > limit) problem(field # ": more than " # Nat.toText(limit));
  };

  func checkPrincipals(field : Text, list : [Principal], problem : Text -> ()) {
    checkCount(field, list.size(), maxOthers, problem);
    if (contains(list, Principal.anonymous())) problem(field # ": the anonymous principal is anybody");
  };

  func checkMethod(field : Text, method : Text, problem : Text -> ()) {
    if (method == "") problem(field # ": a method without a name");
    if (method.size() > maxMethodSize) problem(field # ": a method's name of more than " # Nat.toText(maxMethodSize) # " characters");
  };

  func checkOptName(field : Text, what : Text, name : ?Text, problem : Text -> ()) {
    switch name { case (?name) checkName(field, what, name, problem); case null {} };
  };

  func checkName(field : Text, what : Text, name : Text, problem : Text -> ()) {
    if (name == "") problem(field # ": an empty " # what);
    if (name.size() > maxNameSize) problem(field # ": " # what # " of more than " # Nat.toText(maxNameSize) # " characters");
  };

  func checkMs(field : Text, ms : Nat64, problem : Text -> ()) {
    if (ms < minMs or ms > maxMs) problem(field # ": must be between " # Nat64.toText(minMs) # " and " # Nat64.toText(maxMs));
  };
};
