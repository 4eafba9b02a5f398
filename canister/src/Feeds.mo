/// Feeds: a target's query whose items become messages to clients.
///
/// The cursor says where the first item not yet relayed is: its index, or, for a target that answers with `next`,
/// whatever the target said. While somebody is connected the cursor follows the target; when the first client joins
/// after a while without any, the cursor first moves to the end without sending ("seeking"). Calls of clients to the
/// same target wait until that is done, so that what a client causes comes after the end that was found. The last items
/// are kept for newcomers where the configuration says so.

import Array "mo:core/Array";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Candid "Candid";
import Ring "Ring";
import Types "Types";

module {
  /// More items in one reply are refused.
  public let maxPageItems = 10_000;
  /// Replies read in one pull.
  public let maxPages = 50;
  /// Replies read in one pull while seeking.
  public let maxSeekPages = 300;
  /// A feed whose end lies beyond is taken to be without end.
  public let maxCursor = 0xffff_ffff_ffff_ffff;
  /// Pulls that wait for another pull of the same feed; more return at once.
  public let maxWaiters = 4;
  /// How often a waiting pull looks whether the other one is done.
  public let maxWaitRounds = 20;
  /// Bytes of items kept for newcomers, for each feed.
  public let maxRecentBytes = 1_048_576;
  /// Pages that seeking reads one after the other before it looks further ahead.
  let linearPages = 3;
  /// After so many pulls of a timer that found nothing, it is looked whether the target has been reinstalled.
  let emptyPulls = 30;

  public type Feed = {
    // tells a feed from one of the same name that was configured later
    id : Nat;
    var config : Types.Feed;
    var cursor : Nat;
    // items from the cursor on, or of `waiting`, that have been relayed already, where the cursor cannot count them
    var ahead : Nat;
    var items : Nat64;
    var lastError : ?Text;
    // the target says where its next items are
    var isOpaque : Bool;
    // the longest reply so far: a shorter one is taken as the last
    var longestPage : Nat;
    var isSeeking : Bool;
    var seek : Seek;
    // the last items that were relayed, oldest first
    recent : Ring.Ring<Candid.Item>;
    var recentBytes : Nat;
    // the last items of a feed with `next` that those who waited for its end are to get
    var waiting : [Candid.Item];
    // a pull is under way
    var isBusy : Bool;
    // a pull was asked for that has not begun
    var isWanted : Bool;
    // pulls that wait for the one under way
    var waiters : Nat;
    // pulls of the timer in a row that found nothing
    var empty : Nat;
  };

  /// What seeking does next. `#back`: see whether the item before the cursor is still there. `#ahead`: the cursor is known
  /// to be no further than the end; looking `step` items ahead, `beyond` is known to be past the end. `#jump`: ask a target
  /// that says where its next items are from a place that no feed reaches. `#through`: read page after page.
  public type Seek = {
    #back;
    #ahead : { pages : Nat; step : Nat; beyond : ?Nat };
    #jump;
    #through;
  };

  public type Feeds = { var all : [Feed]; var nextId : Nat };

  public func empty() : Feeds = { var all = []; var nextId = 0 };

  let newSeek : Seek = #ahead { pages = 0; step = 0; beyond = null };

  /// Takes over a configuration: feeds that stay keep their position, new ones start by seeking. O(feeds^2).
  public func configure(feeds : Feeds, wanted : [Types.Feed]) {
    feeds.all := Array.map<Types.Feed, Feed>(
      wanted,
      func config = switch (find(feeds, config.target, config.method)) {
        case (?feed) {
          // what is kept was made for other clients, or with another tag
          if (feed.config.tag != config.tag or feed.config.recipient != config.recipient) {
            forgetRecent(feed);
            if (feed.waiting.size() > 0) {
              feed.waiting := [];
              feed.ahead := 0;
            };
          };
          feed.config := config;
          trim(feed);
          feed;
        };
        case null new(feeds, config);
      },
    );
  };

  func new(feeds : Feeds, config : Types.Feed) : Feed {
    feeds.nextId += 1;
    {
      id = feeds.nextId;
      var config = config;
      var cursor = 0;
      var ahead = 0;
      var items = 0;
      var lastError = null;
      var isOpaque = false;
      var longestPage = 0;
      var isSeeking = true;
      var seek = newSeek;
      recent = Ring.empty();
      var recentBytes = 0;
      var waiting = [];
      var isBusy = false;
      var isWanted = false;
      var waiters = 0;
      var empty = 0;
    };
  };

  /// O(feeds).
  public func find(feeds : Feeds, target : Principal, method : Text) : ?Feed = Array.find<Feed>(feeds.all, func f = f.config.target == target and f.config.method == method);

  /// Whether a feed is still configured; a pull may outlive its feed. O(feeds).
  public func isConfigured(feeds : Feeds, feed : Feed) : Bool = Array.any<Feed>(feeds.all, func f = f.id == feed.id);

  /// After an upgrade no pull is under way. O(feeds).
  public func restart(feeds : Feeds) {
    for (feed in feeds.all.values()) {
      feed.isBusy := false;
      feed.isWanted := false;
      feed.waiters := 0;
    };
  };

  /// All feeds have to move to their ends, because the first client joins. O(feeds).
  public func seekAll(feeds : Feeds) {
    for (feed in feeds.all.values()) {
      feed.isSeeking := true;
      feed.seek := if (feed.cursor > 0 and not feed.isOpaque) #back else newSeek;
      feed.lastError := null;
      // a target without indices is read on from the cursor, so what is kept stays the last
      if (feed.isOpaque) sentWaiting(feed) else forgetRecent(feed);
      feed.ahead := 0;
    };
  };

  /// The target holds other items than before: everything in it is new. O(recent items).
  public func startOver(feed : Feed) {
    feed.cursor := 0;
    feed.ahead := 0;
    feed.longestPage := 0;
    forgetRecent(feed);
  };

  /// Whether calls to this target wait for a feed that looks for its end. A feed that failed holds up nobody. O(feeds).
  public func holdsUp(feeds : Feeds, target : Principal) : Bool = Array.any<Feed>(feeds.all, func f = f.config.target == target and f.isSeeking and f.lastError == null);

  /// Where the next query has to start. O(1).
  public func position(feed : Feed) : Nat {
    if (not feed.isSeeking) return feed.cursor;
    switch (feed.seek) {
      case (#back) if (feed.cursor > 0) feed.cursor - 1 else 0;
      case (#jump) maxCursor;
      case (#through) feed.cursor;
      case (#ahead({ step; beyond = null })) feed.cursor + step;
      // half way, or the next page when that is near
      case (#ahead({ beyond = ?beyond })) {
        let gap : Nat = if (beyond > feed.cursor) beyond - feed.cursor else 0;
        if (gap <= feed.longestPage) feed.cursor else feed.cursor + gap / 2;
      };
    };
  };

  /// The items in the reply of a feed's method. O(size).
  public func page(feed : Feed, reply : Blob) : Candid.Result<Candid.Page> {
    let result = Candid.page(reply, maxPageItems, feed.config.tag, feed.config.recipient);
    switch result {
      case (#ok({ next })) feed.isOpaque := next != null;
      case (#err _) {};
    };
    result;
  };

  /// Where the items after a page are. One that stands still or goes back although it has items would send them for
  /// ever; one that goes back without items has lost them. O(1).
  public func after(at : Nat, page : Candid.Page) : Candid.Result<Nat> {
    switch (page.next) {
      case null #ok(at + page.items.size());
      case (?next) if (next <= at and page.items.size() > 0) #err("next is " # debug_show (next) # " after items from " # debug_show (at) # " on") else #ok(next);
    };
  };

  /// Moves on to `cursor`, and past everything before it. O(1).
  public func moveTo(feed : Feed, cursor : Nat) {
    if (cursor < feed.cursor) forgetRecent(feed);
    feed.cursor := cursor;
    feed.ahead := 0;
  };

  /// What is known when seeking has asked somewhere: nothing, because the target refused, or a page.
  public type Found = { #refused; #page : Candid.Page };

  /// Takes in, while seeking, what was found at `at`. True when the end is found. O(1), or O(items) where newcomers get some.
  public func sought(feed : Feed, at : Nat, found : Found) : Bool {
    let (count, next) = switch found {
      case (#page(p)) (p.items.size(), p.next);
      case (#refused) (0, null);
    };
    if (count > feed.longestPage) feed.longestPage := count;
    switch (feed.seek, next) {
      case (#back, null) {
        if (count == 0) startOver(feed) else feed.cursor := at + count;
        feed.seek := newSeek;
        false;
      };
      case (#ahead(_) or #back, ?next) {
        // it turns out that the target says itself where its next items are
        if (count == 0 and next == at) return done(feed, next);
        feed.seek := if (wantsRecent(feed)) #through else #jump;
        moveTo(feed, next);
        if (wantsRecent(feed)) keepAll(feed, found);
        false;
      };
      case (#jump, ?next) {
        if (count == 0 and next < at) return done(feed, next);
        feed.seek := #through;
        false;
      };
      case (#jump, null) {
        feed.seek := #through;
        false;
      };
      case (#through, ?next) {
        if (count == 0 and next == at) return done(feed, next);
        moveTo(feed, next);
        keepAll(feed, found);
        false;
      };
      case (#through, null) {
        // it has changed its mind
        feed.seek := newSeek;
        false;
      };
      case (#ahead({ pages; step; beyond }), null) {
        if (count == 0) {
          if (at <= feed.cursor) return done(feed, feed.cursor);
          feed.seek := #ahead { pages = pages + 1; step; beyond = ?at };
          return false;
        };
        feed.cursor := at + count;
        feed.seek := #ahead {
          pages = pages + 1;
          step = if (pages + 1 < linearPages) 0 else if (step == 0) count else 2 * step;
          // items where there seemed to be none: the target had failed for a moment, or has grown
          beyond = switch beyond { case (?end) if (feed.cursor > end) null else beyond; case null null };
        };
        false;
      };
    };
  };

  /// The end is found. Those who wait for it get the last items too: by index they lie before the cursor and are relayed
  /// again, others have been kept on the way, and are kept again as they are relayed.
  func done(feed : Feed, end : Nat) : Bool {
    feed.isSeeking := false;
    feed.seek := newSeek;
    let last = wanted(feed);
    feed.cursor := if (feed.isOpaque) end else if (end > last) end - last : Nat else 0;
    feed.waiting := Iter.toArray(Ring.values(feed.recent));
    feed.ahead := 0;
    forgetRecent(feed);
    true;
  };

  /// All of the items that waited for the end have been relayed, or nobody is left whom they are for. O(items).
  public func sentWaiting(feed : Feed) {
    let left = Array.sliceToArray<Candid.Item>(feed.waiting, feed.ahead, feed.waiting.size());
    feed.waiting := [];
    feed.ahead := 0;
    for (item in left.values()) keep(feed, item);
  };

  /// Whether more is to be expected after a page of `count` items. O(1).
  public func isMoreLikely(feed : Feed, count : Nat) : Bool {
    // a single item is what most pulls bring, and not worth another call
    let isLikely = count > 1 and count >= feed.longestPage;
    if (count > feed.longestPage) feed.longestPage := count;
    isLikely;
  };

  /// Counts pulls that find nothing; true when it is time to look whether the target has been reinstalled. O(1).
  public func foundNothing(feed : Feed) : Bool {
    feed.empty += 1;
    let isTime = feed.config.interval_ms == null or feed.empty >= emptyPulls;
    if (isTime) feed.empty := 0;
    isTime and mayHaveLost(feed);
  };

  /// Whether the target may have lost items before the cursor without saying so. O(1).
  public func mayHaveLost(feed : Feed) : Bool = feed.cursor > 0 and not feed.isOpaque;

  // -- the last items ---------------------------------------------------------------------------------------------

  /// Keeps an item for newcomers. Amortized O(1).
  public func keep(feed : Feed, item : Candid.Item) {
    if (not wantsRecent(feed)) return;
    Ring.pushBack(feed.recent, item);
    feed.recentBytes += item.content.size();
    trim(feed);
  };

  /// What a newcomer gets: of the last items those that are for this client. O(items kept).
  public func greetings(feeds : Feeds, client : Principal) : [Blob] {
    let contents = List.empty<Blob>();
    for (feed in feeds.all.values()) if (not feed.isSeeking) addGreetings(feed, client, contents);
    List.toArray(contents);
  };

  func addGreetings(feed : Feed, client : Principal, contents : List.List<Blob>) {
    for (item in Ring.values(feed.recent)) {
      switch (item.recipient) {
        case (#everybody) List.add(contents, item.content);
        case (#client(c)) if (c == client) List.add(contents, item.content);
      };
    };
  };

  func wanted(feed : Feed) : Nat = switch (feed.config.last) { case (?n) Nat64.toNat(n); case null 0 };

  /// Whether newcomers get the last items. O(1).
  public func wantsRecent(feed : Feed) : Bool = wanted(feed) > 0;

  func keepAll(feed : Feed, found : Found) {
    switch found {
      case (#page({ items })) for (item in items.values()) keep(feed, item);
      case (#refused) {};
    };
  };

  func trim(feed : Feed) {
    while (feed.recent.size > wanted(feed) or feed.recentBytes > maxRecentBytes) {
      switch (Ring.popFront(feed.recent)) {
        case (?item) feed.recentBytes -= item.content.size();
        case null return;
      };
    };
  };

  func forgetRecent(feed : Feed) {
    Ring.clear(feed.recent);
    feed.recentBytes := 0;
  };

  /// O(feeds).
  public func states(feeds : Feeds) : [Types.FeedState] = Array.map<Feed, Types.FeedState>(
    feeds.all,
    func f = {
      target = f.config.target;
      method = f.config.method;
      cursor = f.cursor;
      items = f.items;
      is_seeking = f.isSeeking;
      last_error = f.lastError;
    },
  );
};
