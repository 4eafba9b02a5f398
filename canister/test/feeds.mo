import Nat "mo:core/Nat";
import Feeds "../src/Feeds";
import Candid "../src/Candid";
import Check "Check";

let target = Check.principal(1);

func feedAt(cursor : Nat) : (Feeds.Feeds, Feeds.Feed) {
  let feeds = Feeds.empty();
  Feeds.configure(feeds, [{ target; method = "since" }]);
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
    if (refusesBeyondEnd and at > size) { ignore Feeds.sought(feed, at, 0) } else if (Feeds.sought(feed, at, count)) return queries;
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
    if (Feeds.sought(feed, at, count)) break seeking;
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
Feeds.configure(feeds, [{ target; method = "other" }, { target; method = "since" }]);
Check.nat("feeds", feeds.all.size(), 2);
Check.nat("a feed that stays keeps its cursor", feeds.all[1].cursor, 17);
Check.isTrue("it is the same feed", Feeds.isConfigured(feeds, feed));
Check.isTrue("a new feed looks for its end", feeds.all[0].isSeeking and feeds.all[0].cursor == 0);
Feeds.configure(feeds, []);
Check.isTrue("a feed that goes", not Feeds.isConfigured(feeds, feed) and isMissing(feeds));
Feeds.configure(feeds, [{ target; method = "since" }]);
Check.isTrue("one that comes back is another one", not Feeds.isConfigured(feeds, feed));

Check.refused("a reply that is no vec", Feeds.page(Candid.nat(3)), "a nat where a vec is expected");
