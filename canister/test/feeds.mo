import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Nat "mo:core/Nat";
import Ring "../src/Ring";
import Types "../src/Types";
import Feeds "../src/Feeds";
import Candid "../src/Candid";
import Check "Check";

let target = Check.principal(1);

func config(method : Text) : Types.Feed = {
  target;
  method;
  tag = null;
  recipient = null;
  last = null;
  interval_ms = null;
};

func items(count : Nat) : [Candid.Item] = Array.tabulate<Candid.Item>(count, func i = { content = Candid.nat(i); recipient = #everybody });

func found(count : Nat) : Feeds.Found = #page { items = items(count); next = null };

func feedAt(cursor : Nat) : (Feeds.Feeds, Feeds.Feed) {
  let feeds = Feeds.empty();
  Feeds.configure(feeds, [config("since")]);
  let feed = feeds.all[0];
  feed.cursor := cursor;
  Feeds.seekAll(feeds);
  (feeds, feed);
};

/// Seeks the end of a feed with `size` items that come in pages; returns the number of queries.
func seek(feed : Feeds.Feed, size : Nat, page : Nat, refusesBeyondEnd : Bool) : Nat {
  var queries = 0;
  while (queries < 1_000) {
    queries += 1;
    let at = Feeds.position(feed);
    let count = if (at >= size) 0 else Nat.min(page, size - at : Nat);
    if (refusesBeyondEnd and at > size) { ignore Feeds.sought(feed, at, #refused) } else if (Feeds.sought(feed, at, found(count))) return queries;
  };
  queries;
};

func log2(n : Nat) : Nat = if (n < 2) 0 else 1 + log2(n / 2);

for (refuses in [false, true].values()) {
  for (page in [1, 2, 10, 500].values()) {
    for (start in [0, 1, 5].values()) {
      for (size in [5, 6, 9, 10, 11, 100, 499, 500, 501, 1_500, 2_000, 12_345, 1_000_000].values()) {
        let (_, feed) = feedAt(start);
        let queries = seek(feed, size, page, refuses);
        let name = "seeking " # Nat.toText(start) # ".." # Nat.toText(size) # " in pages of " # Nat.toText(page);
        if (feed.cursor != size or feed.isSeeking) Check.nat(name, feed.cursor, size);
        // a few pages, then looking ahead in steps that double, then halving the gap
        if (queries > 8 + 2 * log2(size / page + 2)) Check.nat(name # ", queries", queries, 0);
      };
    };
  };
};
Check.isTrue("seeking", true);

// a target that fails for a moment, wherever that is, costs a few more queries and no item
for (failing in [3, 5, 8, 12, 15, 20].values()) {
  let (_, feed) = feedAt(0);
  let size = 12_345;
  var queries = 0;
  label seeking while (queries < 1_000) {
    queries += 1;
    let at = Feeds.position(feed);
    let count = if (at >= size or (queries == failing and at > feed.cursor)) 0 else Nat.min(10, size - at : Nat);
    if (Feeds.sought(feed, at, found(count))) break seeking;
  };
  let name = "seeking with a failure at query " # Nat.toText(failing);
  Check.nat(name, feed.cursor, size);
  Check.isTrue(name # ", queries", queries < 80);
};

// a page shorter than the longest is taken as the last
let (feeds, feed) = feedAt(0);
feed.isSeeking := false;
Check.isTrue("the first page", Feeds.isMoreLikely(feed, 3));
Check.isTrue("a longer one", Feeds.isMoreLikely(feed, 10));
Check.isTrue("as long", Feeds.isMoreLikely(feed, 10));
Check.isTrue("a shorter one", not Feeds.isMoreLikely(feed, 9));
Check.isTrue("an empty one", not Feeds.isMoreLikely(feed, 0));

// calls of the same target wait while the end is looked for, but not for a feed that failed
Check.isTrue("holds up nobody", not Feeds.holdsUp(feeds, target));
Feeds.seekAll(feeds);
Check.isTrue("holds up its target", Feeds.holdsUp(feeds, target));
Check.isTrue("holds up no other target", not Feeds.holdsUp(feeds, Check.principal(2)));
feed.lastError := ?"it failed";
Check.isTrue("a failed feed holds up nobody", not Feeds.holdsUp(feeds, target));

// configurations
func isMissing(feeds : Feeds.Feeds) : Bool = switch (Feeds.find(feeds, target, "since")) { case null true; case _ false };
feed.cursor := 17;
Feeds.configure(feeds, [config("other"), config("since")]);
Check.nat("feeds", feeds.all.size(), 2);
Check.nat("a feed that stays keeps its cursor", feeds.all[1].cursor, 17);
Check.isTrue("it is the same feed", Feeds.isConfigured(feeds, feed));
Check.isTrue("a new feed looks for its end", feeds.all[0].isSeeking and feeds.all[0].cursor == 0);
Feeds.configure(feeds, []);
Check.isTrue("a feed that goes", not Feeds.isConfigured(feeds, feed) and isMissing(feeds));
Feeds.configure(feeds, [config("since")]);
Check.isTrue("one that comes back is another one", not Feeds.isConfigured(feeds, feed));

Check.refused("a reply that is no vec", Feeds.page(feed, Candid.nat(3)), "a nat where a vec of items is expected");

// -- targets that have been reinstalled

do {
  let (_, feed) = feedAt(50);
  Check.nat("it is looked whether the item before is still there", Feeds.position(feed), 49);
  Check.isTrue("it is not", not Feeds.sought(feed, 49, found(0)));
  Check.nat("seeking starts over", Feeds.position(feed), 0);
  Check.nat("and finds the new end", do { ignore seek(feed, 7, 10, false); feed.cursor }, 7);
  let (_, same) = feedAt(50);
  Check.isTrue("it is", not Feeds.sought(same, 49, found(1)));
  Check.nat("seeking goes on", Feeds.position(same), 50);
};

// -- targets that say where their next items are

/// Seeks the end of such a feed, whose cursors are 10 for each item; returns the number of queries.
func seekOpaque(feed : Feeds.Feed, size : Nat, page : Nat, knowsItsEnd : Bool) : Nat {
  var queries = 0;
  while (queries < 1_000) {
    queries += 1;
    let at = Feeds.position(feed);
    let from = Nat.min(at / 10, size);
    let count = Nat.min(page, size - from : Nat);
    let next = if (at > 10 * size and not knowsItsEnd) at else 10 * (from + count);
    feed.isOpaque := true;
    if (Feeds.sought(feed, at, #page { items = Array.tabulate<Candid.Item>(count, func i = { content = Candid.nat(from + i); recipient = #everybody }); next = ?next })) return queries;
  };
  queries;
};

for (knowsItsEnd in [true, false].values()) {
  for (size in [0, 1, 9, 10, 11, 500].values()) {
    let (_, feed) = feedAt(0);
    let queries = seekOpaque(feed, size, 10, knowsItsEnd);
    let name = "the end of " # Nat.toText(size) # " items";
    Check.nat(name, feed.cursor, 10 * size);
    Check.isTrue(name # ", queries", queries <= (if (knowsItsEnd) 2 else 3 + size / 10));
  };
  // the last items are kept on the way, so every page is read
  let feeds = Feeds.empty();
  Feeds.configure(feeds, [{ config("since") with last = ?(3 : Nat64) }]);
  let feed = feeds.all[0];
  ignore seekOpaque(feed, 25, 10, knowsItsEnd);
  Check.nat("the end with last items", feed.cursor, 250);
  let last = debug_show ([Candid.nat(22), Candid.nat(23), Candid.nat(24)]);
  Check.text("the last items, for those who wait", debug_show (Array.map<Candid.Item, Blob>(feed.waiting, func i = i.content)), last);
  Feeds.sentWaiting(feed);
  Check.text("and for who comes later", debug_show (Feeds.greetings(feeds, Check.principal(9))), last);
};

// what a target may say
let page = { items = items(2); next = null : ?Nat };
Check.text("by index", debug_show (Feeds.after(5, page)), "#ok(7)");
Check.text("by next", debug_show (Feeds.after(5, { page with next = ?70 })), "#ok(70)");
Check.refused("one that stands still", Feeds.after(5, { page with next = ?5 }), "next is 5 after items from 5 on");
Check.refused("one that goes back", Feeds.after(5, { page with next = ?4 }), "next is 4 after items from 5 on");
Check.text("one that has lost its items", debug_show (Feeds.after(5, { items = []; next = ?0 })), "#ok(0)");

// -- the last items

do {
  let feeds = Feeds.empty();
  Feeds.configure(feeds, [{ config("since") with last = ?(3 : Nat64) }, config("other")]);
  let feed = feeds.all[0];
  let (one, other) = (Check.principal(10), Check.principal(11));
  ignore seek(feed, 100, 10, false);
  Check.nat("those who wait get the last three", feed.cursor, 97);
  for (i in Nat.range(0, 5)) Feeds.keep(feed, { content = Candid.nat(i); recipient = if (i == 3) #client one else #everybody });
  Check.nat("so many are kept", feed.recent.size, 3);
  Check.text("for everybody", debug_show (Feeds.greetings(feeds, other)), debug_show ([Candid.nat(2), Candid.nat(4)]));
  Check.text("and for one client", debug_show (Feeds.greetings(feeds, one)), debug_show ([Candid.nat(2), Candid.nat(3), Candid.nat(4)]));
  Feeds.configure(feeds, [{ config("since") with last = ?(1 : Nat64) }]);
  Check.text("fewer by configuration", debug_show (Feeds.greetings(feeds, one)), debug_show ([Candid.nat(4)]));
  Feeds.configure(feeds, [{ config("since") with last = ?(1 : Nat64); tag = ?"T" }]);
  Check.nat("none that were made without the tag", Feeds.greetings(feeds, one).size(), 0);
  Feeds.keep(feed, { content = Candid.nat(1); recipient = #everybody });
  Feeds.seekAll(feeds);
  Check.nat("none while the end is looked for", Feeds.greetings(feeds, one).size() + feed.recent.size, 0);
  let large : Candid.Item = { content = Blob.fromArray(Array.repeat<Nat8>(1, 400_000)); recipient = #everybody };
  Feeds.configure(feeds, [{ config("since") with last = ?(1_000 : Nat64); tag = ?"T" }]);
  for (_ in Nat.range(0, 10)) Feeds.keep(feed, large);
  Check.nat("at most a megabyte", feed.recent.size, 2);
  var bytes = 0;
  for (item in Ring.values(feed.recent)) bytes += item.content.size();
  Check.nat("its bytes are counted", feed.recentBytes, bytes);
};
