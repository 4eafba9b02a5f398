/// The relay canister: it speaks the CDK's four methods to gateways and clients, passes what clients send on as calls
/// of ordinary methods, and turns what ordinary queries return, what methods reply, and what targets push into
/// certified messages.
///
/// This actor only authorises and delegates to the modules beside it. Its state is stable: an upgrade keeps clients,
/// queues and cursors. The configuration is the argument of the last installation or upgrade, or of a later
/// `relay_configure`.

import CertifiedData "mo:core/CertifiedData";
import Error "mo:core/Error";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";
import Timer "mo:core/Timer";
import Calls "Calls";
import Clients "Clients";
import Errors "Errors";
import Feeds "Feeds";
import Gateways "Gateways";
import Hooks "Hooks";
import Hub "Hub";
import Pulls "Pulls";
import Push "Push";
import Resume "Resume";
import Routes "Routes";
import Settings "Settings";
import State "State";
import Types "Types";
import Work "Work";

persistent actor class Relay(config : Types.Config) {
  transient let version = "0.2.0";

  let hub = Hub.connections();
  let resumption = Resume.empty();
  let calls = Calls.empty();
  let feeds = Feeds.empty();
  var lastAcknowledgement : Nat64 = State.now();

  transient let state : State.State = {
    hub = { hub with resume = resumption };
    calls;
    feeds;
    var settings = switch (Settings.check(config)) {
      case (#ok(settings)) settings;
      case (#err(problems)) Runtime.trap("relay canister configuration: " # problems);
    };
  };
  transient var timers : [Timer.TimerId] = [];
  transient var feedTimers : [Timer.TimerId] = [];

  // -- the CDK's methods ------------------------------------------------------------------------------------------

  public shared ({ caller }) func ws_open(args : Types.CanisterWsOpenArguments) : async Types.CanisterWsResult {
    switch (Hooks.busy(state)) {
      case (?target) return #Err(Errors.targetBusy(target));
      case null {};
    };
    // a timer's message that the canister was stopped before would have been the last one
    if (State.now() - lastAcknowledgement > 2 * state.settings.ackInterval) startTimers<system>();
    let wasAlone = Clients.size(state.hub.clients) == 0;
    // while somebody is waited for who may come back, feeds go on where they are
    let isFirst = Hub.isEmpty(state.hub, state.settings, State.now());
    let greetings = if (isFirst) [] else Feeds.greetings(feeds, caller);
    let result = Hub.open(state.hub, state.settings, caller, args, greetings, State.now());
    await* Work.settle(state);
    switch result {
      case (#err(text)) #Err(text);
      case (#ok) {
        // from here on the client's own messages wait until the feeds have found their ends
        if (isFirst) Feeds.seekAll(feeds);
        if (wasAlone) {
          for (feed in feeds.all.values()) await* Pulls.pullLater(state, feed);
          startFeedTimers<system>();
        };
        #Ok;
      };
    };
  };

  public shared ({ caller }) func ws_close(args : Types.CanisterWsCloseArguments) : async Types.CanisterWsResult {
    let result = Hub.close(state.hub, state.settings, caller, args.client_key, State.now());
    await* Work.settle(state);
    switch result {
      case (#ok) #Ok;
      case (#err(text)) #Err(text);
    };
  };

  /// As `ws_close`, for a client that has not closed its connection itself: where the configuration says so, it may come
  /// back and go on.
  public shared ({ caller }) func relay_lost(args : Types.CanisterWsCloseArguments) : async Types.CanisterWsResult {
    let result = Hub.lost(state.hub, state.settings, caller, args.client_key, State.now());
    await* Work.settle(state);
    switch result {
      case (#ok) #Ok;
      case (#err(text)) #Err(text);
    };
  };

  /// The second argument exists to publish the application's message type; whatever comes there is skipped.
  public shared ({ caller }) func ws_message(args : Types.CanisterWsMessageArguments, _messageType : ?Any) : async Types.CanisterWsResult {
    let client = switch (Hub.sender(state.hub, caller, args.msg.client_key)) {
      case (#ok(client)) client;
      case (#err(text)) return #Err(text);
    };
    var refused : ?Text = null;
    let message = if (args.msg.is_service_message) #service(args.msg.content) else switch (Routes.find(state.settings, caller, args.msg.content)) {
      case (#ok(route)) {
        // refused before it is taken in: it costs no sequence number
        if (not Calls.hasRoom(Calls.target(calls, route.call.target), 1, route.argument.size())) return #Err(Errors.targetBusy(route.call.target));
        #call route;
      };
      case (#err(text)) {
        refused := ?text;
        #nothing;
      };
    };
    let { routes; refusal } = switch (Hub.accept(state.hub, state.settings, client, args.msg.sequence_num, message, State.now())) {
      case (#ok(accepted)) accepted;
      case (#err(text)) {
        await* Work.settle(state);
        return #Err(text);
      };
    };
    State.certify(state);
    let targets = List.empty<Calls.Target>();
    for ({ call; argument } in routes.values()) {
      let target = Calls.target(calls, call.target);
      Calls.push(calls, target, { method = call.method; argument; client = client.key; config = ?call });
      List.add(targets, target);
    };
    // Calls start in the order of the queue, whichever message starts them. The reply comes when a call has been
    // answered, which is the client's back-pressure.
    switch (if (refused != null) refused else refusal, List.last(targets)) {
      case (?text, _) {
        for (target in List.values(targets)) await* Work.more(state, target);
        return #Err(text);
      };
      case (null, null) {};
      case (null, ?last) {
        for (target in List.values(targets)) {
          if (target.principal != last.principal or target.waiting.size > 1) await* Work.more(state, target);
        };
        await* Work.one(state, last);
      };
    };
    #Ok;
  };

  public shared query ({ caller }) func ws_get_messages(args : Types.CanisterWsGetMessagesArguments) : async Types.CanisterWsGetMessagesResult {
    switch (Hub.poll(state.hub, state.settings, caller, args.nonce, CertifiedData.getCertificate())) {
      case (#ok(messages)) #Ok(messages);
      case (#err(text)) #Err(text);
    };
  };

  // -- for targets ------------------------------------------------------------------------------------------------

  /// Sends a message to all connections of a client, or to the one with this nonce. `message` is the Candid encoding of
  /// one value of the page's message type, in Motoko `to_candid (value)`.
  public shared ({ caller }) func send(client : Principal, message : Blob, nonce : ?Nat64) : async Types.PushResult {
    if (not mayPush(caller)) return #Err(Errors.onlyTargets("send"));
    pushed(Push.send(state, client, message, nonce));
  };

  /// Sends one message to several clients. Those who are not connected are left out.
  public shared ({ caller }) func sendMany(clients : [Principal], message : Blob) : async Types.PushResult {
    if (not mayPush(caller)) return #Err(Errors.onlyTargets("sendMany"));
    pushed(Push.sendMany(state, clients, message));
  };

  /// Sends a message to every client.
  public shared ({ caller }) func broadcast(message : Blob) : async Types.PushResult {
    if (not mayPush(caller)) return #Err(Errors.onlyTargets("broadcast"));
    pushed(Push.broadcast(state, message));
  };

  /// Closes all connections of a client, or the one with this nonce.
  public shared ({ caller }) func close(client : Principal, nonce : ?Nat64) : async Types.PushResult {
    if (not mayPush(caller)) return #Err(Errors.onlyTargets("close"));
    let result = Push.close(state, client, nonce);
    await* Work.settle(state);
    result;
  };

  public shared query ({ caller }) func clients() : async [Types.ClientKey] {
    if (not mayPush(caller)) throw Error.reject(Errors.onlyTargets("clients"));
    Iter.toArray(Map.keys(state.hub.clients.all));
  };

  // -- for gateways and admins ------------------------------------------------------------------------------------

  public query func relay_version() : async Types.Version = async ({ version; interface = Settings.interface });

  /// Fetches the new items of a feed, and queues them for clients. Returns the new cursor.
  public shared ({ caller }) func relay_pull(args : Types.PullArguments) : async Types.PullResult {
    if (not isTrusted(caller)) return #Err(Errors.notAllowed("relay_pull"));
    switch (args.interface) {
      case (?theirs) if (theirs != Settings.interface) return #Err(Errors.unknownInterface(theirs, Settings.interface, version));
      case null {};
    };
    switch (args.delivered) {
      case (?nonce) {
        Hub.delivered(state.hub, caller, nonce);
        State.certify(state);
      };
      case null {};
    };
    switch (Feeds.find(feeds, args.target, args.method)) {
      case (?feed) await* Pulls.pull(state, feed);
      case null #Err(Errors.noSuchFeed(args.target, args.method));
    };
  };

  public shared query ({ caller }) func relay_status() : async Types.Status {
    if (not isTrusted(caller)) throw Error.reject(Errors.notAllowed("relay_status"));
    let { inFlight; waiting } = Calls.counts(calls);
    {
      version;
      clients = Nat64.fromNat(Clients.size(state.hub.clients));
      feeds = Feeds.states(feeds);
      rejections = Calls.rejections(calls);
      gateways = Gateways.states(state.hub.gateways);
      calls_in_flight = Nat64.fromNat(inFlight);
      calls_waiting = Nat64.fromNat(waiting);
      resume = if (state.settings.resumeWindow == 0) null else ?Resume.state(state.hub.resume);
    };
  };

  /// The configuration in force.
  public shared query ({ caller }) func relay_config() : async Types.Config {
    if (not isTrusted(caller)) throw Error.reject(Errors.notAllowed("relay_config"));
    state.settings.config;
  };

  /// Replaces the configuration. Feeds that stay keep their cursors. Clients whose gateway is not allowed any more are
  /// closed.
  public shared ({ caller }) func relay_configure(config : Types.Config) : async Types.CanisterWsResult {
    if (not isAdmin(caller)) return #Err(Errors.onlyAdmins("relay_configure"));
    switch (Settings.check(config)) {
      case (#err(problems)) #Err(problems);
      case (#ok(checked)) {
        state.settings := checked;
        configure<system>();
        await* resumeAll();
        #Ok;
      };
    };
  };

  // -- timers -------------------------------------------------------------------------------------------------------

  /// The next acknowledgement comes an interval after the last one, whatever happened in between: clients wait for it
  /// no longer than 30 seconds more. Who has not answered the last one is looked for when the time for it is over.
  func startTimers<system>() {
    for (id in timers.values()) Timer.cancelTimer(id);
    timers := [
      Timer.setTimer<system>(afterAcknowledgement(state.settings.ackInterval), acknowledge),
      Timer.setTimer<system>(afterAcknowledgement(state.settings.keepAliveTimeout), expire),
    ];
  };

  func afterAcknowledgement(interval : Nat64) : { #nanoseconds : Nat } {
    let passed = State.now() - lastAcknowledgement;
    #nanoseconds(if (passed < interval) Nat64.toNat(interval - passed) else 0);
  };

  func acknowledge() : async () {
    lastAcknowledgement := State.now();
    startTimers<system>();
    // from here on the next one is certain, whatever becomes of this one
    await pause();
    Hub.acknowledge(state.hub, state.settings, State.now());
    await* resumeAll();
  };

  func pause() : async () {};

  func expire() : async () {
    while (Hub.expire(state.hub, state.settings, State.now())) {
      State.certify(state);
      await pause();
    };
    await* Work.settle(state);
  };

  /// Feeds with an interval are asked by a timer while there are clients.
  func startFeedTimers<system>() {
    stopFeedTimers();
    if (Clients.size(state.hub.clients) == 0) return;
    let ids = List.empty<Timer.TimerId>();
    for (feed in feeds.all.values()) {
      switch (feed.config.interval_ms) {
        case (?ms) List.add(ids, Timer.recurringTimer<system>(#nanoseconds(Nat64.toNat(ms) * 1_000_000), func() : async () { await* tick(feed) }));
        case null {};
      };
    };
    feedTimers := List.toArray(ids);
  };

  func stopFeedTimers() {
    for (id in feedTimers.values()) Timer.cancelTimer(id);
    feedTimers := [];
  };

  func tick(feed : Feeds.Feed) : async* () {
    if (Clients.size(state.hub.clients) == 0) return stopFeedTimers();
    if (not feed.isBusy) ignore await* Pulls.pull(state, feed);
  };

  func resume() : async () { await* resumeAll() };

  /// Certifies what has changed, and goes on with what is unfinished: hooks, feeds that look for their end, and calls
  /// that wait.
  func resumeAll() : async* () {
    await* Work.settle(state);
    await* Pulls.resume(state);
    await* Work.resume(state);
  };

  // -- small things ---------------------------------------------------------------------------------------------------

  func pushed(result : Types.PushResult) : Types.PushResult {
    State.certify(state);
    result;
  };

  func isAdmin(caller : Principal) : Bool = Principal.isController(caller) or Settings.isAdmin(state.settings, caller);

  func mayPush(caller : Principal) : Bool = Settings.isTarget(state.settings, caller) or isAdmin(caller);

  func isTrusted(caller : Principal) : Bool = isAdmin(caller) or Hub.isActiveGateway(state.hub, state.settings, caller);

  // -- start: after installation and after every upgrade ---------------------------------------------------------

  func configure<system>() {
    Feeds.configure(feeds, state.settings.config.feeds);
    Calls.forgetIdle(calls, func p = Settings.isTarget(state.settings, p));
    Hub.configure(state.hub, state.settings, State.now());
    startTimers<system>();
    startFeedTimers<system>();
  };

  Feeds.restart(feeds);
  Calls.restart(calls);
  configure<system>();
  State.certify(state);
  // what an upgrade interrupted
  ignore Timer.setTimer<system>(#nanoseconds 0, resume);
};
