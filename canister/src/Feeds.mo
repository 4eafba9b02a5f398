/// Feeds: a target's query whose items become messages to every client.
///
/// The cursor is the index of the first item not yet relayed. A client gets what comes after it joined. While somebody
/// is connected the cursor follows the target; when the first client joins after a while without any, the cursor first
/// moves to the end without sending ("seeking"). Calls of clients to the same target wait until that is done, so that
/// what a client causes comes after the end that was found.

import Array "mo:core/Array";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Candid "Candid";
import Types "Types";

module {
  /// More items in one reply are refused.
  public let maxPageItems = 10_000;
  /// Replies read in one pull.
  public let maxPages = 50;
  /// Replies read in one pull while seeking.
  public let maxSeekPages = 300;
  /// A feed whose end lies beyond is taken to be without end.
  public let maxCursor = 0x1_0000_0000_0000_0000;
  /// Pulls that wait for another pull of the same feed; more return at once.
  public let maxWaiters = 4;
  /// How often a waiting pull looks whether the other one is done.
  public let maxWaitRounds = 20;
  /// Pages that seeking reads one after the other before it looks further ahead.
  let linearPages = 3;

  public type Feed = {
    // tells a feed from one of the same name that was configured later
    id : Nat;
    target : Principal;
    method : Text;
    var cursor : Nat;
    var items : Nat64;
    var lastError : ?Text;
    // the longest reply so far: a shorter one is taken as the last
    var longestPage : Nat;
    var isSeeking : Bool;
    var seek : Seek;
    // a pull is under way
    var isBusy : Bool;
    // a pull was asked for that has not begun
    var isWanted : Bool;
    // pulls that wait for the one under way
    var waiters : Nat;
  };

  /// `cursor` is known to be no further than the end. Looking `step` items ahead, `beyond` is known to be past the end.
  public type Seek = { pages : Nat; step : Nat; beyond : ?Nat };

  public type Feeds = { var all : [Feed]; var nextId : Nat };

  public func empty() : Feeds = { var all = []; var nextId = 0 };

  let newSeek : Seek = { pages = 0; step = 0; beyond = null };

  /// Takes over a configuration: feeds that stay keep their position, new ones start by seeking. O(feeds^2).
  public func configure(feeds : Feeds, wanted : [Types.Feed]) {
    feeds.all := Array.map<Types.Feed, Feed>(
      wanted,
      func({ target; method }) = switch (find(feeds, target, method)) {
        case (?feed) feed;
        case null ({
          id = newId(feeds);
          target;
          method;
          var cursor = 0;
          var items = 0;
          var lastError = null;
          var longestPage = 0;
          var isSeeking = true;
          var seek = newSeek;
          var isBusy = false;
          var isWanted = false;
          var waiters = 0;
        });
      },
    );
  };

  /// O(feeds).
  public func find(feeds : Feeds, target : Principal, method : Text) : ?Feed = Array.find<Feed>(feeds.all, func f = f.target == target and f.method == method);

  func newId(feeds : Feeds) : Nat {
    feeds.nextId += 1;
    feeds.nextId;
  };

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
      feed.seek := newSeek;
      feed.lastError := null;
    };
  };

  /// Whether calls to this target wait for a feed that looks for its end. A feed that failed holds up nobody. O(feeds).
  public func holdsUp(feeds : Feeds, target : Principal) : Bool = Array.any<Feed>(feeds.all, func f = f.target == target and f.isSeeking and f.lastError == null);

  /// Where the next query has to start. O(1).
  public func position(feed : Feed) : Nat {
    if (not feed.isSeeking) return feed.cursor;
    switch (feed.seek.beyond) {
      case null feed.cursor + feed.seek.step;
      // half way, or the next page when that is near
      case (?beyond) {
        let gap : Nat = if (beyond > feed.cursor) beyond - feed.cursor else 0;
        if (gap <= feed.longestPage) feed.cursor else feed.cursor + gap / 2;
      };
    };
  };

  /// The items in the reply of a feed's method. O(size).
  public func page(reply : Blob) : Candid.Result<[Blob]> = Candid.splitVec(reply, maxPageItems);

  /// Takes in, while seeking, that `count` items were found at `at` (0 also when the target refused to look there).
  /// True when the end is found. O(1).
  public func sought(feed : Feed, at : Nat, count : Nat) : Bool {
    if (count > feed.longestPage) feed.longestPage := count;
    let { pages; step; beyond } = feed.seek;
    if (count == 0) {
      if (at <= feed.cursor) {
        feed.isSeeking := false;
        feed.seek := newSeek;
        return true;
      };
      feed.seek := { pages = pages + 1; step; beyond = ?at };
      return false;
    };
    feed.cursor := at + count;
    feed.seek := {
      pages = pages + 1;
      step = if (pages + 1 < linearPages) 0 else if (step == 0) count else 2 * step;
      // items where there seemed to be none: the target had failed for a moment, or has grown
      beyond = switch beyond { case (?end) if (feed.cursor > end) null else beyond; case null null };
    };
    false;
  };

  /// Whether more is to be expected after a page of `count` items. O(1).
  public func isMoreLikely(feed : Feed, count : Nat) : Bool {
    let isLikely = count > 0 and count >= feed.longestPage;
    if (count > feed.longestPage) feed.longestPage := count;
    isLikely;
  };

  /// O(feeds).
  public func states(feeds : Feeds) : [Types.FeedState] = Array.map<Feed, Types.FeedState>(
    feeds.all,
    func f = {
      target = f.target;
      method = f.method;
      cursor = f.cursor;
      items = f.items;
      is_seeking = f.isSeeking;
      last_error = f.lastError;
    },
  );
};
