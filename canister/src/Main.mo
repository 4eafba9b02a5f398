/// The relay canister: it speaks the CDK's four methods to gateways and clients, passes what clients send on as calls
/// of ordinary methods, and turns what ordinary queries return into certified messages.
///
/// This actor only authorises, delegates to the modules beside it, calls other canisters, and certifies. Its state is
/// stable: an upgrade keeps clients, queues and cursors. The configuration is the argument of the last installation or
/// upgrade, or of a later `relay_configure`.

import CertifiedData "mo:core/CertifiedData";
import Error "mo:core/Error";
import InternetComputer "mo:core/InternetComputer";
import Iter "mo:core/Iter";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";
import Time "mo:core/Time";
import Timer "mo:core/Timer";
import Calls "Calls";
import Candid "Candid";
import Clients "Clients";
import Errors "Errors";
import Feeds "Feeds";
import Gateways "Gateways";
import Hub "Hub";
import Settings "Settings";
import Types "Types";

persistent actor class Relay(config : Types.Config) {
  transient let version = "0.1.0";
  // Messages queued between two commits of the state, so that a long reply for many clients stays within the
  // instructions that one message may use.
  transient let messagesPerSlice = 2_000;
  transient let bytesPerSlice = 4_194_304;
  // An item that comes to more for all clients together is stepped over: certifying it could never be paid for.
  transient let maxItemBytes = 16_777_216;

  let hub = Hub.empty();
  let calls = Calls.empty();
  let feeds = Feeds.empty();
  var lastAcknowledgement : Nat64 = Nat64.fromIntWrap(Time.now());

  transient var settings = switch (Settings.check(config)) {
    case (#ok(settings)) settings;
    case (#err(problems)) Runtime.trap("relay canister configuration: " # problems);
  };
  transient var timers : [Timer.TimerId] = [];

  // -- the CDK's methods ------------------------------------------------------------------------------------------

  public shared ({ caller }) func ws_open(args : Types.CanisterWsOpenArguments) : async Types.CanisterWsResult {
    let isFirst = Clients.size(hub.clients) == 0;
    let result = Hub.open(hub, settings, caller, args, now());
    certify();
    switch result {
      case (#err(text)) #Err(text);
      case (#ok) {
        if (isFirst) {
          // from here on the client's own messages wait until the feeds have found their ends
          Feeds.seekAll(feeds);
          for (feed in feeds.all.values()) await* pullLater(feed);
        };
        #Ok;
      };
    };
  };

  public shared ({ caller }) func ws_close(args : Types.CanisterWsCloseArguments) : async Types.CanisterWsResult {
    let result = Hub.close(hub, settings, caller, args.client_key, now());
    certify();
    switch result {
      case (#ok) #Ok;
      case (#err(text)) #Err(text);
    };
  };

  /// The second argument exists to publish the application's message type; whatever comes there is skipped.
  public shared ({ caller }) func ws_message(args : Types.CanisterWsMessageArguments, _messageType : ?Any) : async Types.CanisterWsResult {
    let client = switch (Hub.sender(hub, caller, args.msg.client_key)) {
      case (#ok(client)) client;
      case (#err(text)) return #Err(text);
    };
    let route = if (settings.calls.size() == 0) null else ?settings.calls[0];
    switch route {
      // refused before it is taken in: it costs no sequence number
      case (?call) if (not args.msg.is_service_message and not Calls.hasRoom(Calls.target(calls, call.target), 1, args.msg.content.size())) {
        return #Err(Errors.targetBusy(call.target));
      };
      case null {};
    };
    let contents = switch (Hub.accept(hub, settings, client, args.msg, now())) {
      case (#ok(contents)) contents;
      case (#err(text)) {
        certify();
        return #Err(text);
      };
    };
    certify();
    if (contents.size() == 0) return #Ok;
    switch route {
      case null #Err(Errors.noCalls());
      case (?call) {
        let target = Calls.target(calls, call.target);
        for (content in contents.values()) {
          Calls.push(target, { target = call.target; method = call.method; argument = content; client = client.key });
        };
        // Calls start in the order of the queue, whichever message starts them. The reply comes when a call has been
        // answered, which is the client's back-pressure.
        if (target.waiting.size > 1) await* workMore(target);
        await* work(target);
        #Ok;
      };
    };
  };

  public shared query ({ caller }) func ws_get_messages(args : Types.CanisterWsGetMessagesArguments) : async Types.CanisterWsGetMessagesResult {
    switch (Hub.poll(hub, settings, caller, args.nonce, CertifiedData.getCertificate())) {
      case (#ok(messages)) #Ok(messages);
      case (#err(text)) #Err(text);
    };
  };

  // -- the relay's own methods ------------------------------------------------------------------------------------

  /// Fetches the new items of a feed, and queues them for every client. Returns the new cursor.
  public shared ({ caller }) func relay_pull(args : Types.PullArguments) : async Types.PullResult {
    if (not isTrusted(caller)) return #Err(Errors.notAllowed("relay_pull"));
    switch (args.delivered) {
      case (?nonce) {
        Hub.delivered(hub, caller, nonce);
        certify();
      };
      case null {};
    };
    switch (Feeds.find(feeds, args.target, args.method)) {
      case (?feed) await* pull(feed);
      case null #Err(Errors.noSuchFeed(args.target, args.method));
    };
  };

  public shared query ({ caller }) func relay_status() : async Types.Status {
    if (not isTrusted(caller)) throw Error.reject(Errors.notAllowed("relay_status"));
    let { inFlight; waiting } = Calls.counts(calls);
    {
      version;
      clients = Nat64.fromNat(Clients.size(hub.clients));
      feeds = Feeds.states(feeds);
      rejections = Calls.rejections(calls);
      gateways = Gateways.states(hub.gateways);
      calls_in_flight = Nat64.fromNat(inFlight);
      calls_waiting = Nat64.fromNat(waiting);
    };
  };

  public shared query ({ caller }) func clients() : async [Types.ClientKey] {
    if (not isTrusted(caller) and not Settings.isTarget(settings, caller)) throw Error.reject(Errors.notAllowed("clients"));
    Iter.toArray(Map.keys(hub.clients.all));
  };

  /// Replaces the configuration. Feeds that stay keep their cursors.
  public shared ({ caller }) func relay_configure(config : Types.Config) : async Types.CanisterWsResult {
    if (not isAdmin(caller)) return #Err(Errors.onlyAdmins("relay_configure"));
    switch (Settings.check(config)) {
      case (#err(problems)) #Err(problems);
      case (#ok(checked)) {
        settings := checked;
        Feeds.configure(feeds, settings.feeds);
        startTimers<system>();
        await* resume_();
        #Ok;
      };
    };
  };

  // -- calls of targets -------------------------------------------------------------------------------------------

  /// Starts the next call that waits for a target, and waits for its reply. What failed is remembered and harms nobody:
  /// the client stays connected, and its next messages go on.
  func work(target : Calls.Target) : async* () {
    if (Feeds.holdsUp(feeds, target.principal)) return;
    switch (Calls.start(target, settings.maxCallsInFlight)) {
      case null return;
      case (?call) {
        try {
          ignore await InternetComputer.call(call.target, call.method, call.argument);
        } catch (e) {
          Calls.reject(calls, call, Calls.describe(e), now());
        } finally Calls.finish(target);
      };
    };
    await* workMore(target);
  };

  /// Starts what waits for a target as far as calls may be in flight, each call in a message of its own, so that
  /// none waits for the reply of another.
  func workMore(target : Calls.Target) : async* () {
    if (Feeds.holdsUp(feeds, target.principal)) return;
    while (Calls.reserve(target, settings.maxCallsInFlight)) {
      try ignore async {
        Calls.release(target);
        await* work(target);
      } catch _ {
        // no call can be made now; the next acknowledgement tries again
        Calls.release(target);
        return;
      };
    };
  };

  // -- feeds --------------------------------------------------------------------------------------------------------

  /// Relays what is new in a feed. While one pull is under way, another makes it look once more, and waits for it.
  func pull(feed : Feeds.Feed) : async* Types.PullResult {
    feed.isWanted := true;
    if (feed.isBusy) { await* waitForPull(feed) } else {
      feed.isBusy := true;
      feed.lastError := null;
      try {
        while (feed.isWanted and feed.lastError == null) {
          feed.isWanted := false;
          feed.lastError := await* pullPages(feed);
        };
      } finally feed.isBusy := false;
      await* workMore(Calls.target(calls, feed.target));
    };
    switch (feed.lastError) {
      case null #Ok(feed.cursor);
      case (?text) #Err(text);
    };
  };

  /// Waits until the pull under way is done, or gives up after a while. Nothing can wait for another message directly;
  /// but replies of one canister come in the order of the calls, so a call of the same target comes back at the right time.
  func waitForPull(feed : Feeds.Feed) : async* () {
    if (feed.waiters >= Feeds.maxWaiters) return;
    feed.waiters += 1;
    try {
      var rounds = 0;
      while (feed.isBusy and rounds < Feeds.maxWaitRounds) {
        rounds += 1;
        try ignore await InternetComputer.call(feed.target, feed.method, Candid.nat(feed.cursor)) catch _ {};
      };
    } finally if (feed.waiters > 0) feed.waiters -= 1;
  };

  /// Starts a pull in a message of its own. Should that fail, the next acknowledgement tries again.
  func pullLater(feed : Feeds.Feed) : async* () {
    try ignore async { ignore await* pull(feed) } catch _ {};
  };

  /// Reads pages until the feed's end; the result is what went wrong.
  func pullPages(feed : Feeds.Feed) : async* ?Text {
    var pages = 0;
    var problem : ?Text = null;
    loop {
      let wasSeeking = feed.isSeeking;
      let at = Feeds.position(feed);
      let items = try {
        Feeds.page(await InternetComputer.call(feed.target, feed.method, Candid.nat(at)));
      } catch (e) {
        let { code; text } = Calls.describe(e);
        #err(code # ": " # Calls.shorten(text));
      };
      pages += 1;
      if (not Feeds.isConfigured(feeds, feed)) return null;

      if (feed.isSeeking) {
        switch items {
          case (#err(text)) {
            if (at == feed.cursor) return ?feedError(feed, text);
            // a target that refuses to look past its end
            ignore Feeds.sought(feed, at, 0);
          };
          case (#ok(items)) {
            // a reply from before the first client joined says nothing about the end
            if (wasSeeking) {
              if (Feeds.sought(feed, at, items.size())) return null;
            } else feed.cursor := at + items.size();
          };
        };
        if (pages >= Feeds.maxSeekPages or feed.cursor > Feeds.maxCursor) return ?feedError(feed, "its end was not found in " # debug_show (pages) # " replies");
      } else switch items {
        case (#err(text)) return ?feedError(feed, text);
        case (#ok(items)) {
          if (not (await* relayItems(feed, items, func text = problem := ?feedError(feed, text)))) return problem;
          if (not Feeds.isMoreLikely(feed, items.size()) or pages >= Feeds.maxPages) return problem;
        };
      };
    };
  };

  /// Queues items for every client; false when it stopped early because a queue is full.
  func relayItems(feed : Feeds.Feed, items : [Blob], problem : Text -> ()) : async* Bool {
    var queued = 0;
    var bytes = 0;
    for (item in items.values()) {
      if (queued > messagesPerSlice or bytes > bytesPerSlice) {
        certify();
        await pause();
        queued := 0;
        bytes := 0;
      };
      // meanwhile the last client may have gone and a first one come, or the configuration may have changed
      if (feed.isSeeking or not Feeds.isConfigured(feeds, feed)) return true;
      let time = now();
      let clients = Clients.size(hub.clients);
      if (item.size() * clients > maxItemBytes) {
        problem("item " # debug_show (feed.cursor) # " was left out: its " # debug_show (item.size()) # " bytes are too many for " # debug_show (clients) # " clients");
      } else {
        if (not Hub.hasRoomForAll(hub, item.size(), time)) {
          certify();
          return false;
        };
        Hub.broadcast(hub, settings, item, time);
        feed.items += 1;
      };
      feed.cursor += 1;
      queued += clients + 1;
      bytes += item.size() * clients;
    };
    certify();
    true;
  };

  func pause() : async () {};

  func feedError(feed : Feeds.Feed, text : Text) : Text = "feed " # Principal.toText(feed.target) # "." # feed.method # ": " # text;

  // -- timers -------------------------------------------------------------------------------------------------------

  /// The next acknowledgement comes an interval after the last one, whatever happened in between: clients wait for it
  /// no longer than 30 seconds more.
  func startTimers<system>() {
    for (timer in timers.values()) Timer.cancelTimer(timer);
    let passed = now() - lastAcknowledgement;
    let left = if (passed < settings.ackInterval) settings.ackInterval - passed else 0 : Nat64;
    timers := [Timer.setTimer<system>(#nanoseconds(Nat64.toNat(left)), acknowledge)];
    expireLater<system>();
  };

  func acknowledge() : async () {
    lastAcknowledgement := now();
    startTimers<system>();
    // from here on the next one is certain, whatever becomes of this one
    await pause();
    Hub.acknowledge(hub, settings, now());
    certify();
    await* resume_();
  };

  func expireLater<system>() {
    ignore Timer.setTimer<system>(#nanoseconds(Nat64.toNat(settings.keepAliveTimeout)), expire);
  };

  func expire() : async () {
    Hub.expire(hub, settings, now());
    certify();
  };

  func resume() : async () { await* resume_() };

  /// Goes on with what is unfinished: feeds that look for their end, and calls that wait.
  func resume_() : async* () {
    if (Clients.size(hub.clients) > 0) {
      for (feed in feeds.all.values()) if (feed.isSeeking) await* pullLater(feed);
    };
    for (target in Map.values(calls.targets)) {
      Calls.forgetStarting(target);
      await* workMore(target);
    };
  };

  // -- small things ---------------------------------------------------------------------------------------------------

  func certify() = CertifiedData.set(Hub.commit(hub));

  func now() : Nat64 = Nat64.fromIntWrap(Time.now());

  func isAdmin(caller : Principal) : Bool = Principal.isController(caller) or Settings.isAdmin(settings, caller);

  func isTrusted(caller : Principal) : Bool = isAdmin(caller) or Hub.isActiveGateway(hub, caller);

  // -- start: after installation and after every upgrade ---------------------------------------------------------

  Feeds.configure(feeds, settings.feeds);
  Feeds.restart(feeds);
  Calls.restart(calls);
  certify();
  startTimers<system>();
  // what an upgrade interrupted
  ignore Timer.setTimer<system>(#nanoseconds 0, resume);
};
