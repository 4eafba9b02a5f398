/// The messages that a gateway can poll. Their nonces are contiguous; the oldest are dropped first.
///
/// A poll is a query, so the canister does not learn from it what was delivered. Messages are dropped when the gateway
/// says so in one of its updates, when they are older than the acknowledgement interval (as in the CDK), and, only when
/// there is no room, when they are older than `pressureAge`: a gateway polls several times a second. The last message
/// always stays, because a gateway recognises the queue by it. Besides its own bounds each queue has a share in the
/// bytes that all queues of the canister may have together.

import Nat64 "mo:core/Nat64";
import CertTree "CertTree";
import Ring "Ring";
import Types "Types";

module {
  /// A queue with so many messages is full.
  public let maxCount = 50_000;
  /// A queue with so many bytes of content is full.
  public let maxBytes = 67_108_864;
  /// So many bytes of content in all queues are too many.
  public let maxTotalBytes = 268_435_456;
  /// Nanoseconds after which a message may be dropped when there is no room.
  public let pressureAge : Nat64 = 10_000_000_000;
  /// How many messages too old to be kept are dropped for each new one (the CDK's number).
  public let dropsPerPush = 5;

  public type Item = { key : Types.ClientKey; content : Blob; at : Nat64 };

  /// The bytes in all queues.
  public type Total = { var bytes : Nat };

  public type Queue = { track : CertTree.Track; items : Ring.Ring<Item>; var bytes : Nat; total : Total };

  /// The messages `from` up to but not including `to`; `isEnd` when none follows.
  public type Range = { from : Nat; to : Nat; isEnd : Bool };

  public func empty(track : CertTree.Track, total : Total) : Queue = {
    track;
    items = Ring.empty();
    var bytes = 0;
    total;
  };

  /// Adds a message, whether there is room or not; `hash` is sha256 of `content`. Amortized O(1) hashes.
  public func push(queue : Queue, item : Item, hash : Blob) {
    Ring.pushBack(queue.items, item);
    queue.bytes += item.content.size();
    queue.total.bytes += item.content.size();
    CertTree.append(queue.track, hash);
  };

  /// Whether `count` messages with `bytes` bytes in all fit, after dropping what may be dropped.
  public func makeRoom(queue : Queue, count : Nat, bytes : Nat, now : Nat64) : Bool {
    while (not fits(queue, count, bytes)) if (not dropIfOlder(queue, now, pressureAge)) return false;
    true;
  };

  /// Whether all queues together have no room for `bytes` more bytes. O(1).
  public func isTotalFull(total : Total, bytes : Nat) : Bool = total.bytes + bytes > maxTotalBytes;

  /// Drops at most `count` messages older than `age` nanoseconds. O(count).
  public func dropOld(queue : Queue, count : Nat, now : Nat64, age : Nat64) {
    var left = count;
    while (left > 0 and dropIfOlder(queue, now, age)) left -= 1;
  };

  /// Drops the messages with nonces below `nonce`. A nonce that was never given out is somebody's memory of another
  /// installation and drops nothing. O(number dropped).
  public func dropBelow(queue : Queue, nonce : Nat) {
    if (nonce > queue.track.next) return;
    while (queue.track.first < nonce and queue.items.size > 1) drop(queue);
  };

  /// The messages that a poll from `nonce` returns: at most `count` of them and about `bytes` bytes, but always one
  /// if there is one. O(messages returned).
  public func range(queue : Queue, nonce : Nat, count : Nat, bytes : Nat) : Range {
    let first = queue.track.first;
    let next = queue.track.next;
    let from = if (nonce < first) first else if (nonce > next) next else nonce;
    var to = from;
    var left = bytes;
    label more while (to < next and to < from + count) {
      // the key, the client's key and the witness of a message come to about so much
      let size = Ring.at(queue.items, to - first : Nat).content.size() + 250;
      if (size > left and to > from) break more;
      left := if (size > left) 0 else left - size;
      to += 1;
    };
    { from; to; isEnd = to == next };
  };

  /// The message with this nonce, which must be in the queue. O(1).
  public func at(queue : Queue, nonce : Nat) : Item = Ring.at(queue.items, nonce - queue.track.first : Nat);

  /// A queue that holds nothing but its last message takes whatever comes: no message is too large for ever.
  func fits(queue : Queue, count : Nat, bytes : Nat) : Bool {
    queue.items.size <= 1 or queue.items.size + count <= maxCount and queue.bytes + bytes <= maxBytes;
  };

  func dropIfOlder(queue : Queue, now : Nat64, age : Nat64) : Bool {
    switch (Ring.peekFront(queue.items)) {
      case null false;
      case (?oldest) {
        // the clock of a canister never runs backwards
        if (queue.items.size == 1 or now - oldest.at <= age) return false;
        drop(queue);
        true;
      };
    };
  };

  /// Takes what the queue holds off the bytes of all queues, because it goes. O(1).
  public func discard(queue : Queue) = queue.total.bytes -= queue.bytes;

  func drop(queue : Queue) {
    switch (Ring.popFront(queue.items)) {
      case null {};
      case (?item) {
        queue.bytes -= item.content.size();
        queue.total.bytes -= item.content.size();
        CertTree.dropFirst(queue.track);
      };
    };
  };
};
