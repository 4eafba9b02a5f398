/// Fetches the items of feeds and sends them to clients.

import InternetComputer "mo:core/InternetComputer";
import Principal "mo:core/Principal";
import Calls "Calls";
import Candid "Candid";
import Clients "Clients";
import Feeds "Feeds";
import Hub "Hub";
import State "State";
import Types "Types";
import Work "Work";

module {
  // Messages queued between two commits of the state, so that a long reply for many clients stays within the
  // instructions that one message may use.
  let messagesPerSlice = 2_000;
  let bytesPerSlice = 4_194_304;

  /// Relays what is new in a feed. While one pull is under way, another makes it look once more, and waits for it.
  public func pull(state : State.State, feed : Feeds.Feed) : async* Types.PullResult {
    feed.isWanted := true;
    if (feed.isBusy) { await* waitForPull(feed) } else {
      feed.isBusy := true;
      var isDone = false;
      try {
        var problem : ?Text = null;
        while (feed.isWanted and problem == null) {
          feed.isWanted := false;
          problem := await* pullPages(state, feed);
          feed.lastError := problem;
        };
        isDone := true;
      } finally {
        feed.isBusy := false;
        // what interrupted it may come again; calls must not wait for that
        if (not isDone) feed.lastError := ?error(feed, "it was interrupted");
      };
      await* Work.more(state, Calls.target(state.calls, feed.config.target));
    };
    switch (feed.lastError) {
      case null #Ok(feed.cursor);
      case (?text) #Err(text);
    };
  };

  /// Starts a pull in a message of its own. Should that fail, the next acknowledgement tries again.
  public func pullLater(state : State.State, feed : Feeds.Feed) : async* () {
    try ignore async { ignore await* pull(state, feed) } catch _ {};
  };

  /// Goes on with feeds that look for their end, or have found it and had no room for the last items. O(feeds).
  public func resume(state : State.State) : async* () {
    if (Clients.size(state.hub.clients) == 0) return;
    for (feed in state.feeds.all.values()) if (feed.isSeeking or feed.waiting.size() > 0) await* pullLater(state, feed);
  };

  /// Waits until the pull under way is done, or gives up after a while. Nothing can wait for another message directly;
  /// but replies of one canister come in the order of the calls, so a call of the same target comes back at the right time:
  /// one that asks where nothing is.
  func waitForPull(feed : Feeds.Feed) : async* () {
    if (feed.waiters >= Feeds.maxWaiters) return;
    feed.waiters += 1;
    try {
      var rounds = 0;
      while (feed.isBusy and rounds < Feeds.maxWaitRounds) {
        rounds += 1;
        try ignore await InternetComputer.call(feed.config.target, feed.config.method, Candid.nat(Feeds.maxCursor)) catch _ {};
      };
    } finally if (feed.waiters > 0) feed.waiters -= 1;
  };

  /// What a question is for: the next items, or, when there seem to be none, whether the target still has those before
  /// the cursor. One that was reinstalled has not; then it is asked from the start.
  type Question = { #next; #before; #start };

  /// Reads pages until the feed's end; the result is what went wrong.
  func pullPages(state : State.State, feed : Feeds.Feed) : async* ?Text {
    var pages = 0;
    var problem : ?Text = null;
    var question : Question = #next;
    loop {
      if (not feed.isSeeking and feed.waiting.size() > 0) {
        let isSent = await* relayItems(state, feed, feed.waiting, false, func text = problem := ?error(feed, text));
        // with another tag there is nothing to go on with
        if (feed.waiting.size() == 0) feed.ahead := 0;
        if (not isSent) return problem;
        if (not feed.isSeeking) Feeds.sentWaiting(feed);
      };
      let wasSeeking = feed.isSeeking;
      let at : Nat = switch question {
        case (#next) Feeds.position(feed);
        case (#before) if (feed.cursor > 0) feed.cursor - 1 else 0;
        case (#start) 0;
      };
      // a page, or what went wrong and whether the target itself said so
      let page : Answer = try {
        switch (Feeds.page(feed, await InternetComputer.call(feed.config.target, feed.config.method, Candid.nat(at)))) {
          case (#ok(page)) #page page;
          case (#err(text)) #failed(text, false);
        };
      } catch (e) {
        let failure = Calls.describe(e);
        #failed(failure.code # ": " # Calls.shorten(failure.text), Calls.isOfTarget(failure));
      };
      pages += 1;
      if (not Feeds.isConfigured(state.feeds, feed)) return null;

      if (feed.isSeeking) {
        question := #next;
        switch page {
          case (#failed(text, isOfTarget)) {
            if (at == feed.cursor or not isOfTarget) return ?error(feed, text);
            // a target that refuses to look past its end
            if (at == Feeds.position(feed)) ignore Feeds.sought(feed, at, #refused);
          };
          case (#page(page)) {
            // a reply from before the first client joined says nothing about the end, nor one to what is not asked any more
            if (wasSeeking and at == Feeds.position(feed) and Feeds.sought(feed, at, #page page) and not Feeds.wantsRecent(feed)) return null;
          };
        };
        if (feed.isSeeking and (pages >= Feeds.maxSeekPages or feed.cursor >= Feeds.maxCursor)) return ?error(feed, "its end was not found in " # debug_show (pages) # " replies");
      } else switch (question, page) {
        case (#next, #failed(text, isOfTarget)) {
          problem := ?error(feed, text);
          if (not isOfTarget or pages > 1 or not Feeds.mayHaveLost(feed)) return problem;
          question := #before;
        };
        // the target refuses to look beyond its end, as it does with nothing before the cursor
        case (#before, #failed(_, isOfTarget)) if (isOfTarget and problem != null) question := #start else return problem;
        case (#start, #failed(_)) return problem;
        case (#before, #page(page)) {
          if (page.items.size() > 0 or page.next != null) return problem;
          question := #start;
        };
        case (#next or #start, #page(page)) {
          if (question == #start) {
            // those it has now are new
            Feeds.startOver(feed);
            problem := null;
            question := #next;
          };
          let next = switch (Feeds.after(at, page)) {
            case (#ok(next)) next;
            case (#err(text)) return ?error(feed, text);
          };
          let count = page.items.size();
          if (count == 0 and next == at) {
            if (pages > 1 or not Feeds.foundNothing(feed)) return problem;
            question := #before;
          } else if (next < at) {
            // a target that says its next items has lost those before: what it has now is new
            Feeds.startOver(feed);
          } else {
            feed.empty := 0;
            if (not (await* relayItems(state, feed, page.items, page.next == null, func text = problem := ?error(feed, text)))) return problem;
            // meanwhile the last client may have gone and a first one come
            if (not feed.isSeeking) {
              if (page.next != null) Feeds.moveTo(feed, next);
              if (not Feeds.isMoreLikely(feed, count)) return problem;
            };
          };
        };
      };
      if (not feed.isSeeking and pages >= Feeds.maxPages) return problem;
    };
  };

  type Answer = { #page : Candid.Page; #failed : (Text, Bool) };

  /// Queues items for the clients that they are for; false when it stopped early because there is no room, or because the
  /// feed is no longer what it was.
  func relayItems(state : State.State, feed : Feeds.Feed, items : [Candid.Item], isIndexed : Bool, problem : Text -> ()) : async* Bool {
    var queued = 0;
    var bytes = 0;
    var skipped = if (isIndexed) 0 else feed.ahead;
    for (item in items.values()) {
      if (skipped > 0) { skipped -= 1 } else {
        let connected = Clients.size(state.hub.clients);
        if (queued > 0 and (queued + connected > messagesPerSlice or bytes + item.content.size() * connected > bytesPerSlice)) {
          State.certify(state);
          await pause();
          queued := 0;
          bytes := 0;
        };
        // meanwhile the last client may have gone and a first one come, or the configuration may have changed
        if (feed.isSeeking) return true;
        if (not Feeds.isConfigured(state.feeds, feed)) return false;
        let to = receivers(state, item);
        let size = item.content.size();
        switch (Hub.refusal(state.hub, to.clients, size, State.now())) {
          case null {
            Hub.sendAll(state.hub, state.settings, to, item.content, State.now());
            Feeds.keep(feed, item);
            feed.items += 1;
          };
          case (?#tooLarge) problem("item " # debug_show (feed.cursor + feed.ahead) # " was left out: its " # debug_show (size) # " bytes are too many for " # debug_show (to.clients.size()) # " clients");
          case (?#full) {
            State.certify(state);
            return false;
          };
        };
        if (isIndexed) feed.cursor += 1 else feed.ahead += 1;
        queued += to.clients.size() + 1;
        bytes += size * to.clients.size();
      };
    };
    State.certify(state);
    true;
  };

  func receivers(state : State.State, item : Candid.Item) : Hub.Receivers = switch (item.recipient) {
    case (#everybody) Hub.everybody(state.hub, state.settings, State.now());
    case (#client(principal)) Hub.allOf(state.hub, state.settings, principal, State.now());
  };

  func pause() : async () {};

  func error(feed : Feeds.Feed, text : Text) : Text = "feed " # Principal.toText(feed.config.target) # "." # feed.config.method # ": " # text;
};
