/// Going on after a lost connection.
///
/// What is sent to a client is kept until the client says, in a keep-alive message, that it has it. Of a connection that
/// is lost, the rest stays for a while, and whatever the client would have got since is added to it. It goes to the
/// connection that comes next for the same principal. A client that is back before its old connection is known to be lost
/// gets the rest when it is: a connection is the successor of those that have given no sign of life since it opened.
///
/// Everything is bounded. Where something had to be thrown away, nothing is handed on, so that a client never misses a
/// message between others.

import Array "mo:core/Array";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Ring "Ring";
import Types "Types";

module {
  /// Messages kept for one connection.
  public let maxLetters = 1_000;
  /// Bytes of content kept for one connection. One message alone may have more.
  public let maxBytes = 1_048_576;
  /// Messages kept for all connections together; one that several are to get counts for each.
  public let maxTotalLetters = 2_000_000;
  /// Bytes of content kept for all connections together; what several are to get is there once.
  public let maxTotalBytes = 67_108_864;
  /// Lost connections that are remembered. For one more the longest lost is forgotten.
  public let maxLost = 10_000;
  /// So many messages that a client has not acknowledged, or so many bytes, are a reason to ask it.
  public let askLetters = 64;
  public let askBytes = 262_144;
  /// Where messages for a lost connection are to go is followed so far.
  let maxHops = 64;

  /// A message to one or several clients. `at` is how many connections had been opened before it. `isOwn` when it was for
  /// one connection, and not for all of its principal.
  public type Letter = { content : Blob; at : Nat; isOwn : Bool; var holders : Nat };

  /// A letter with the sequence number that it has in a connection.
  type Entry = { letter : Letter; number : Nat64 };

  /// What is kept of one connection. Connections are numbered as they open.
  public type Box = {
    key : Types.ClientKey;
    gateway : Principal;
    entries : Ring.Ring<Entry>;
    var bytes : Nat;
    // its own number, and that of the first connection that it goes on with
    born : Nat;
    var since : Nat;
    // the last connection that had been opened when it gave a sign of life
    var heard : Nat;
    // the client has closed this connection: those from before it are not lost but done with
    var ended : Nat;
    // sequence numbers: the client has all up to `received`; `missing` is the last that was thrown away
    var received : Nat64;
    var missing : Nat64;
    // what the client was asked last: the number of the question, and the last connection that had been opened then
    var asked : { number : Nat64; opens : Nat };
    // of a lost connection: when that was, or when it was handed on, and to whom
    var lostAt : Nat64;
    var heir : ?Types.ClientKey;
  };

  public type Resume = {
    open : Map.Map<Types.ClientKey, Box>;
    // lost ones, and those that have been handed on, for messages that are still on their way to them
    lost : Map.Map<Types.ClientKey, Box>;
    // lost ones in the order in which they expire; one whose time is another in `lost` does not count
    expiry : Ring.Ring<{ key : Types.ClientKey; at : Nat64 }>;
    var opens : Nat;
    var letters : Nat;
    var bytes : Nat;
    var waiting : Nat;
    // messages that were sent again, and their bytes, for those who must not send too many in one go
    var handed : Nat;
    var handedBytes : Nat;
    // counters
    var resumed : Nat64;
    var expired : Nat64;
    var overflowed : Nat64;
  };

  public func empty() : Resume = {
    open = Map.empty();
    lost = Map.empty();
    expiry = Ring.empty();
    var opens = 0;
    var letters = 0;
    var bytes = 0;
    var waiting = 0;
    var handed = 0;
    var handedBytes = 0;
    var resumed = 0;
    var expired = 0;
    var overflowed = 0;
  };

  func compare(a : Types.ClientKey, b : Types.ClientKey) : { #less; #equal; #greater } = switch (Principal.compare(a.client_principal, b.client_principal)) {
    case (#equal) Nat64.compare(a.client_nonce, b.client_nonce);
    case order order;
  };

  /// A message that is about to be sent. O(1).
  public func letter(resume : Resume, content : Blob, isOwn : Bool) : Letter = { content; at = resume.opens; isOwn; var holders = 0 };

  // -- connections that are open ------------------------------------------------------------------------------------

  /// O(log n).
  public func find(resume : Resume, key : Types.ClientKey) : ?Box = Map.get(resume.open, compare, key);

  /// A connection from its beginning, or from the message `sent` on, before which nothing was kept. O(log n).
  public func add(resume : Resume, key : Types.ClientKey, gateway : Principal, sent : Nat64) : Box {
    resume.opens += 1;
    let number = resume.opens;
    let box : Box = {
      key;
      gateway;
      entries = Ring.empty();
      var bytes = 0;
      born = number;
      var since = number;
      var heard = number;
      var ended = 0;
      var received = 0;
      var missing = sent;
      var asked = { number = 0; opens = 0 };
      var lostAt = 0;
      var heir = null;
    };
    Map.add(resume.open, compare, key, box);
    box;
  };

  /// Keeps a message that was sent with this number, or would have been. What does not fit makes all that is kept
  /// worthless, until the client has acknowledged it. Amortized O(1).
  public func keep(resume : Resume, box : Box, letter : Letter, number : Nat64) {
    let size = letter.content.size();
    let isFull = box.entries.size >= maxLetters or box.entries.size > 0 and box.bytes + size > maxBytes;
    let isTotalFull = resume.letters >= maxTotalLetters or letter.holders == 0 and resume.bytes + size > maxTotalBytes;
    if (isFull or isTotalFull) {
      clear(resume, box);
      box.missing := number;
      return;
    };
    Ring.pushBack(box.entries, { letter; number });
    hold(resume, box, letter);
  };

  /// The client has all messages up to this number. O(messages that are forgotten).
  public func acknowledged(resume : Resume, box : Box, number : Nat64) {
    if (number >= box.asked.number and box.asked.opens > box.heard) box.heard := box.asked.opens;
    if (number > box.received) box.received := number;
    label more loop {
      switch (Ring.peekFront(box.entries)) {
        case (?entry) if (entry.number > number) break more;
        case null break more;
      };
      ignore dropFirst(resume, box);
    };
  };

  /// Whether the client should be asked what it has. O(1).
  public func mustAsk(box : Box) : Bool = (box.entries.size >= askLetters or box.bytes >= askBytes) and box.asked.number <= box.received;

  /// Notes that the message with this number asks the client. O(1).
  public func noteAsked(resume : Resume, box : Box, number : Nat64) = box.asked := { number; opens = resume.opens };

  /// The open connections of a principal. O(log n), then O(1) each.
  public func openOf(resume : Resume, principal : Principal) : { next : () -> ?Box } = ofPrincipal(resume.open, principal);

  /// A client has closed its connection for good, or it was closed by others. Those that it goes on with are done with
  /// too. O(log n), and O(1) for each connection of the principal.
  public func close(resume : Resume, box : Box) {
    Map.remove(resume.open, compare, box.key);
    clear(resume, box);
    for (older in openOf(resume, box.key.client_principal)) {
      if (older.heard < box.since and older.ended < box.since) older.ended := box.since;
    };
  };

  // -- lost connections ---------------------------------------------------------------------------------------------

  /// What becomes of a lost connection. `#done`: nothing more is to be done. `#to`: this open one is its successor.
  public type Fate = { #done; #to : Box };

  /// Notes that a connection is lost. Without `mayHandOn` it waits, though an open one may be its successor. Amortized
  /// O(log n), and O(1) for each connection of the principal.
  public func lose(resume : Resume, box : Box, mayHandOn : Bool, now : Nat64, window : Nat64) : Fate {
    Map.remove(resume.open, compare, box.key);
    if (isOver(resume, box)) return #done;
    if (mayHandOn) switch (successor(resume.open, box)) {
      case (?next) return #to next;
      case null {};
    };
    switch (successor(resume.lost, box)) {
      case (?next) if (next.heir == null) prepend(resume, box, next, now) else wait(resume, box, now);
      case null wait(resume, box, now);
    };
    prune(resume, now, window);
    #done;
  };

  /// Whether there is nothing to go on with: the client is done with it, or something was thrown away.
  func isOver(resume : Resume, box : Box) : Bool {
    let isOver = box.ended > box.heard or box.missing > box.received;
    if (box.ended <= box.heard and isOver) resume.overflowed += 1;
    if (isOver) clear(resume, box);
    isOver;
  };

  /// The connection of the same principal that has opened since the lost one gave its last sign of life: the first of
  /// those that have not gone on with another one from before that.
  func successor(boxes : Map.Map<Types.ClientKey, Box>, lost : Box) : ?Box {
    var found : ?Box = null;
    for (box in ofPrincipal(boxes, lost.key.client_principal)) {
      if (box.heir == null and box.since > lost.heard) switch found {
        case (?other) if (box.since < other.since) found := ?box;
        case null found := ?box;
      };
    };
    found;
  };

  func wait(resume : Resume, box : Box, now : Nat64) {
    insert(resume, box, now);
    resume.waiting += 1;
  };

  func insert(resume : Resume, box : Box, now : Nat64) {
    // a key may come again
    switch (Map.get(resume.lost, compare, box.key)) {
      case (?old) forget(resume, old);
      case null {};
    };
    box.lostAt := now;
    Map.add(resume.lost, compare, box.key, box);
    Ring.pushBack(resume.expiry, { key = box.key; at = now });
    while (Map.size(resume.lost) > maxLost or resume.expiry.size > 4 * maxLost) forgetOldest(resume);
  };

  /// Puts what a lost connection was to get in front of what its successor, which is lost too, is to get.
  func prepend(resume : Resume, box : Box, next : Box, now : Nat64) {
    let letters = take(resume, box, next);
    let size = Array.foldLeft<Letter, Nat>(letters, 0, func(n, letter) = n + letter.content.size());
    next.since := box.since;
    if (next.entries.size + letters.size() > maxLetters or next.bytes + size > maxBytes) {
      resume.overflowed += 1;
      forget(resume, next);
      return;
    };
    var i = letters.size();
    while (i > 0) {
      i -= 1;
      Ring.pushFront(next.entries, { letter = letters[i]; number = 0 : Nat64 });
      hold(resume, next, letters[i]);
    };
    handOn(resume, box, next, now);
  };

  /// The lost connection that a new one of this principal goes on with: the oldest. Amortized O(1) and O(lost connections
  /// of the principal).
  public func waitingOf(resume : Resume, principal : Principal, now : Nat64, window : Nat64) : ?Box {
    prune(resume, now, window);
    var found : ?Box = null;
    for (box in ofPrincipal(resume.lost, principal)) {
      if (box.heir == null) switch found {
        case (?other) if (box.since < other.since) found := ?box;
        case null found := ?box;
      };
    };
    found;
  };

  /// Takes the messages out of a lost connection that `next` is to get: that one, or those that it goes on with, have been
  /// sent themselves what came since and was for all connections of the principal. O(messages).
  public func take(resume : Resume, box : Box, next : Box) : [Letter] = Array.fromIter<Letter>({
    next = func() : ?Letter {
      loop {
        switch (dropFirst(resume, box)) {
          case null return null;
          case (?letter) if (letter.at < next.since or letter.isOwn) return ?letter;
        };
      };
    };
  });

  /// How many messages and bytes `take` would return at most. O(1).
  public func size(box : Box) : { count : Nat; bytes : Nat } = { count = box.entries.size; bytes = box.bytes };

  /// Notes that a connection goes on with a lost one, whose messages have been taken out. O(log n).
  public func handOn(resume : Resume, box : Box, next : Box, now : Nat64) {
    next.since := box.since;
    resume.resumed += 1;
    switch (Map.get(resume.lost, compare, box.key)) {
      // not another one that had the same key
      case (?waiting) if (waiting.born == box.born) forget(resume, waiting);
      case null {};
    };
    box.heir := ?next.key;
    // a connection with the key of the lost one needs no way to itself
    if (compare(box.key, next.key) != #equal) insert(resume, box, now);
  };

  /// Where messages for a connection go that was lost: to itself, while it waits, or to the open one that has gone on
  /// with it. O(hops * log n).
  public func follow(resume : Resume, key : Types.ClientKey, now : Nat64, window : Nat64) : { #open : Types.ClientKey; #lost : Box; #nowhere } {
    prune(resume, now, window);
    var at = key;
    var hops = 0;
    while (hops < maxHops) {
      if (hops > 0 and Map.containsKey(resume.open, compare, at)) return #open at;
      switch (Map.get(resume.lost, compare, at)) {
        case null return #nowhere;
        case (?box) switch (box.heir) {
          case null return #lost box;
          case (?next) at := next;
        };
      };
      hops += 1;
    };
    #nowhere;
  };

  /// Amortized O(1).
  public func isAnybodyWaiting(resume : Resume, now : Nat64, window : Nat64) : Bool {
    prune(resume, now, window);
    resume.waiting > 0;
  };

  /// The lost connections that wait. O(n).
  public func allWaiting(resume : Resume, now : Nat64, window : Nat64) : [Box] {
    prune(resume, now, window);
    if (resume.waiting == 0) [] else waitingAmong(Map.values(resume.lost));
  };

  /// Those of one principal. O(log n), and O(1) for each.
  public func allWaitingOf(resume : Resume, principal : Principal, now : Nat64, window : Nat64) : [Box] {
    prune(resume, now, window);
    if (resume.waiting == 0) [] else waitingAmong(ofPrincipal(resume.lost, principal));
  };

  func waitingAmong(boxes : { next : () -> ?Box }) : [Box] = Array.fromIter<Box>({
    next = func() : ?Box {
      loop {
        switch (boxes.next()) {
          case null return null;
          case (?box) if (box.heir == null) return ?box;
        };
      };
    };
  });

  /// Keeps a message for a lost connection. One that has no room for it is forgotten: its client begins anew. Amortized
  /// O(1).
  public func collect(resume : Resume, box : Box, letter : Letter) {
    let number = box.received + 1;
    keep(resume, box, letter, number);
    if (box.missing != number) return;
    resume.overflowed += 1;
    forget(resume, box);
  };

  /// Forgets a lost connection. O(log n).
  public func forget(resume : Resume, box : Box) {
    clear(resume, box);
    Map.remove(resume.lost, compare, box.key);
    if (box.heir == null) resume.waiting -= 1;
  };

  /// The lost connection with this key, whoever has gone on with it. O(log n).
  public func findLost(resume : Resume, key : Types.ClientKey) : ?Box = Map.get(resume.lost, compare, key);

  /// Forgets what was lost longer than `window` nanoseconds ago. Amortized O(log n).
  public func prune(resume : Resume, now : Nat64, window : Nat64) {
    loop {
      switch (Ring.peekFront(resume.expiry)) {
        case (?{ at }) if (now - at <= window) return;
        case null return;
      };
      forgetOldest(resume);
    };
  };

  func forgetOldest(resume : Resume) {
    loop {
      switch (Ring.popFront(resume.expiry)) {
        case null return;
        case (?{ key; at }) switch (Map.get(resume.lost, compare, key)) {
          case (?box) if (box.lostAt == at) {
            if (box.heir == null) resume.expired += 1;
            forget(resume, box);
            return;
          };
          case null {};
        };
      };
    };
  };

  /// Forgets everything but the counters. O(n).
  public func forgetAll(resume : Resume) {
    Map.clear(resume.open);
    Map.clear(resume.lost);
    Ring.clear(resume.expiry);
    resume.letters := 0;
    resume.bytes := 0;
    resume.waiting := 0;
  };

  /// O(1).
  public func state(resume : Resume) : Types.ResumeState = {
    waiting = Nat64.fromNat(resume.waiting);
    messages = Nat64.fromNat(resume.letters);
    bytes = Nat64.fromNat(resume.bytes);
    resumed = resume.resumed;
    expired = resume.expired;
    overflowed = resume.overflowed;
  };

  // -- small things -------------------------------------------------------------------------------------------------

  func ofPrincipal(boxes : Map.Map<Types.ClientKey, Box>, principal : Principal) : { next : () -> ?Box } {
    let entries = Map.entriesFrom(boxes, compare, { client_principal = principal; client_nonce = 0 : Nat64 });
    {
      next = func() : ?Box {
        switch (entries.next()) {
          case (?(key, box)) if (key.client_principal == principal) ?box else null;
          case null null;
        };
      };
    };
  };

  func hold(resume : Resume, box : Box, letter : Letter) {
    if (letter.holders == 0) resume.bytes += letter.content.size();
    letter.holders += 1;
    box.bytes += letter.content.size();
    resume.letters += 1;
  };

  func dropFirst(resume : Resume, box : Box) : ?Letter {
    switch (Ring.popFront(box.entries)) {
      case null null;
      case (?{ letter }) {
        letter.holders -= 1;
        if (letter.holders == 0) resume.bytes -= letter.content.size();
        box.bytes -= letter.content.size();
        resume.letters -= 1;
        ?letter;
      };
    };
  };

  func clear(resume : Resume, box : Box) {
    while (box.entries.size > 0) ignore dropFirst(resume, box);
    Ring.clear(box.entries);
  };
};
