/// The certified tree of all queued messages: `websocket` / `<gateway>_<nonce in 20 digits>` / sha256(content).
///
/// Nonces of a gateway are contiguous, messages are added at one end and dropped at the other. So the shape of a
/// gateway's part (a `Track`) need not be searched or rebalanced: it follows from `first` and `next` alone. Blocks of 2^k
/// messages that start at a multiple of 2^k have one hash each, kept in `levels[k]`. The greatest such boundary inside
/// `first .. next` divides the track: the blocks left of it grow in size, those right of it shrink. Each side is folded
/// so that its outermost block is nearest to the root. Adding and dropping therefore cost O(1) hashes amortized,
/// O(log n) at worst, and the newest messages, which gateways poll, have the shortest witnesses.
///
/// Tracks lie side by side in the order of their keys, under a tree whose inner hashes are kept too: O(log gateways).
///
/// Hashes are those of the IC interface specification, "Certificate" (domain separators `ic-hashtree-*`).

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Text "mo:core/Text";
import VarArray "mo:core/VarArray";
import Bytes "Bytes";
import Cbor "Cbor";
import HashTree "HashTree";
import Ring "Ring";

module {
  /// Hashes of the complete blocks of one size, from block number `start` on.
  type Level = { var start : Nat; hashes : Ring.Ring<Blob> };

  /// The messages of one gateway: nonces `first` up to but not including `next`.
  public type Track = {
    prefix : Text;
    var first : Nat;
    var next : Nat;
    contents : Ring.Ring<Blob>;
    levels : List.List<Level>;
    // Folded hashes of the last commit. `left` pairs the start of each block left of `middle` with the hash of
    // everything from there to `middle`, innermost first; `right` pairs the end of each block with the hash from `middle` to there.
    var middle : Nat;
    var left : [(Nat, Blob)];
    var right : [(Nat, Blob)];
    var root : ?Blob;
  };

  public type Tree = {
    // sorted by prefix
    var tracks : [Track];
    // a complete binary tree in an array, root at 1, as many leaves as `tracks` rounded up to a power of two
    var forks : [var ?Blob];
  };

  public func empty() : Tree = { var tracks = []; var forks = [var null, null] };

  /// The key of a message. `prefix` is the gateway's principal as text and an underscore.
  public func key(prefix : Text, nonce : Nat) : Text {
    let digits = Nat.toText(nonce);
    var zeros = "";
    var missing = 20 - digits.size() : Int;
    while (missing > 0) {
      zeros #= "0";
      missing -= 1;
    };
    prefix # zeros # digits;
  };

  /// Adds an empty track whose first message will have the nonce `first`. O(tracks).
  public func addTrack(tree : Tree, gateway : Text, first : Nat) : Track {
    let track : Track = {
      prefix = gateway # "_";
      var first = first;
      var next = first;
      contents = Ring.empty();
      levels = List.empty();
      var middle = first;
      var left = [];
      var right = [];
      var root = null;
    };
    let before = Array.filter<Track>(tree.tracks, func t = Text.less(t.prefix, track.prefix));
    let after = Array.filter<Track>(tree.tracks, func t = Text.greater(t.prefix, track.prefix));
    tree.tracks := Array.concat(before, Array.concat([track], after));
    rebuild(tree);
    track;
  };

  /// Takes a track away with all its messages. O(tracks).
  public func removeTrack(tree : Tree, track : Track) {
    tree.tracks := Array.filter<Track>(tree.tracks, func t = t.prefix != track.prefix);
    rebuild(tree);
  };

  /// Adds the message with the nonce `track.next`; `content` is sha256 of its content. Amortized O(1) hashes.
  public func append(track : Track, content : Blob) {
    var index = track.next;
    var hash = HashTree.labeled(Text.encodeUtf8(key(track.prefix, index)), HashTree.leaf(content));
    Ring.pushBack(track.contents, content);
    track.next += 1;
    var k = 0;
    loop {
      let level = levelAt(track, k);
      if (level.hashes.size == 0) level.start := index;
      Ring.pushBack(level.hashes, hash);
      // a block is complete with its odd half; it does not come into being when the even half has been dropped
      if (index % 2 == 0 or level.hashes.size < 2) return;
      hash := HashTree.fork(Ring.at(level.hashes, level.hashes.size - 2 : Nat), hash);
      index /= 2;
      k += 1;
    };
  };

  /// Drops the oldest message. No hashes now, amortized O(1) at the next commit.
  public func dropFirst(track : Track) {
    if (track.first == track.next) return;
    ignore Ring.popFront(track.contents);
    var index = track.first;
    track.first += 1;
    for (level in List.values(track.levels)) {
      if (level.hashes.size == 0 or level.start != index) return;
      ignore Ring.popFront(level.hashes);
      level.start += 1;
      index /= 2;
    };
  };

  /// Brings the hashes above a track up to date after its messages changed. Amortized O(1) hashes for the track
  /// and O(log tracks) above it.
  public func commit(tree : Tree, track : Track) {
    fold(track);
    let width = tree.forks.size() / 2;
    for (i in tree.tracks.keys()) {
      if (tree.tracks[i].prefix == track.prefix) {
        var node = width + i;
        tree.forks[node] := track.root;
        while (node > 1) {
          node /= 2;
          tree.forks[node] := join(tree.forks[2 * node], tree.forks[2 * node + 1]);
        };
        return;
      };
    };
  };

  /// What goes into the canister's certified data. O(1).
  public func certifiedData(tree : Tree) : Blob {
    HashTree.labeled(
      label_,
      switch (tree.forks[1]) {
        case null HashTree.empty();
        case (?hash) hash;
      },
    );
  };

  /// The tree as self-described CBOR, with the messages `from` up to but not including `to` of one track shown and
  /// the rest pruned. The track must be committed. O(to - from + log n).
  public func witness(tree : Tree, track : Track, from : Nat, to : Nat) : Blob {
    let w = Bytes.writer(256 + 160 * (to - from));
    Cbor.selfDescribe(w);
    Cbor.labeled(w, label_);
    writeForks(w, tree, 1, tree.forks.size() / 2, 0, track, from, to);
    Bytes.toBlob(w);
  };

  let label_ : Blob = "websocket";

  func join(left : ?Blob, right : ?Blob) : ?Blob {
    switch (left, right) {
      case (null, _) right;
      case (_, null) left;
      case (?l, ?r) ?HashTree.fork(l, r);
    };
  };

  func rebuild(tree : Tree) {
    var width = 1;
    while (width < tree.tracks.size()) width *= 2;
    let forks = VarArray.repeat<?Blob>(null, 2 * width);
    for (i in tree.tracks.keys()) forks[width + i] := tree.tracks[i].root;
    var node = width;
    while (node > 1) {
      node -= 1;
      forks[node] := join(forks[2 * node], forks[2 * node + 1]);
    };
    tree.forks := forks;
  };

  func levelAt(track : Track, k : Nat) : Level {
    switch (List.get(track.levels, k)) {
      case (?level) level;
      case null {
        let level : Level = { var start = 0; hashes = Ring.empty() };
        List.add(track.levels, level);
        level;
      };
    };
  };

  func block(track : Track, k : Nat, index : Nat) : Blob {
    let level = List.at(track.levels, k);
    Ring.at(level.hashes, index - level.start : Nat);
  };

  /// The number in `first .. next` that is divisible by the greatest power of two.
  func middleOf(first : Nat, next : Nat) : Nat {
    var m = Nat64.fromNat(next);
    let low = Nat64.fromNat(first);
    loop {
      if (m == 0) return 0;
      let cleared = m & (m - 1);
      if (cleared < low) return Nat64.toNat(m);
      m := cleared;
    };
  };

  /// The blocks left of the middle, outermost first: (level, start).
  func leftBlocks(first : Nat, middle : Nat) : [(Nat, Nat)] {
    let blocks = List.empty<(Nat, Nat)>();
    var at = first;
    while (at < middle) {
      let k = Nat64.toNat(Nat64.bitcountTrailingZero(Nat64.fromNat(at)));
      List.add(blocks, (k, at));
      at += 2 ** k;
    };
    List.toArray(blocks);
  };

  /// The blocks right of the middle, innermost first: (level, start).
  func rightBlocks(middle : Nat, next : Nat) : [(Nat, Nat)] {
    let blocks = List.empty<(Nat, Nat)>();
    let rest = Nat64.fromNat(next - middle);
    var at = middle;
    var k = 64 - Nat64.toNat(Nat64.bitcountLeadingZero(rest)) : Int;
    while (k > 0) {
      k -= 1;
      let level = k : Int;
      if (Nat64.bittest(rest, Nat64.toNat(Nat64.fromIntWrap(level)))) {
        let size = 2 ** Nat64.toNat(Nat64.fromIntWrap(level));
        List.add(blocks, (Nat64.toNat(Nat64.fromIntWrap(level)), at));
        at += size;
      };
    };
    List.toArray(blocks);
  };

  func fold(track : Track) {
    if (track.first == track.next) {
      track.left := [];
      track.right := [];
      track.root := null;
      return;
    };
    let middle = middleOf(track.first, track.next);
    let sameMiddle = middle == track.middle;

    let outermostFirst = leftBlocks(track.first, middle);
    let count = outermostFirst.size();
    let left = List.empty<(Nat, Blob)>();
    var known = sameMiddle;
    var i = 0;
    while (i < count) {
      let (k, start) = outermostFirst[count - 1 - i : Nat];
      known := known and i < track.left.size() and track.left[i].0 == start;
      List.add(
        left,
        if (known) track.left[i] else {
          let hash = block(track, k, start / 2 ** k);
          (start, if (i == 0) hash else HashTree.fork(hash, List.at(left, i - 1 : Nat).1));
        },
      );
      i += 1;
    };

    let right = List.empty<(Nat, Blob)>();
    known := sameMiddle;
    i := 0;
    for ((k, start) in rightBlocks(middle, track.next).values()) {
      let end = start + 2 ** k;
      known := known and i < track.right.size() and track.right[i].0 == end;
      List.add(
        right,
        if (known) track.right[i] else {
          let hash = block(track, k, start / 2 ** k);
          (end, if (i == 0) hash else HashTree.fork(List.at(right, i - 1 : Nat).1, hash));
        },
      );
      i += 1;
    };

    track.middle := middle;
    track.left := List.toArray(left);
    track.right := List.toArray(right);
    track.root := join(last(track.left), last(track.right));
  };

  func last(folded : [(Nat, Blob)]) : ?Blob {
    if (folded.size() == 0) null else ?folded[folded.size() - 1 : Nat].1;
  };

  func writeForks(w : Bytes.Writer, tree : Tree, node : Nat, width : Nat, at : Nat, track : Track, from : Nat, to : Nat) {
    if (width == 1) return writeTrack(w, track, from, to);
    let half = width / 2;
    // the half in which the track lies: its sibling is shown as a hash
    let inRight = at + half < tree.tracks.size() and Text.greaterOrEqual(track.prefix, tree.tracks[at + half].prefix);
    let sibling = tree.forks[if (inRight) 2 * node else 2 * node + 1];
    switch sibling {
      case null {};
      case (?hash) {
        Cbor.fork(w);
        if (inRight) Cbor.pruned(w, hash);
      };
    };
    if (inRight) writeForks(w, tree, 2 * node + 1, half, at + half, track, from, to) else {
      writeForks(w, tree, 2 * node, half, at, track, from, to);
      switch sibling {
        case null {};
        case (?hash) Cbor.pruned(w, hash);
      };
    };
  };

  func writeTrack(w : Bytes.Writer, track : Track, from : Nat, to : Nat) {
    let left = leftBlocks(track.first, track.middle);
    let right = rightBlocks(track.middle, track.next);
    if (left.size() > 0 and right.size() > 0) Cbor.fork(w);
    writeLeft(w, track, left, 0, from, to);
    if (right.size() > 0) writeRight(w, track, right, right.size() - 1 : Nat, from, to);
  };

  /// Blocks `i` and further in: fork(block i, fork(block i + 1, ...)).
  func writeLeft(w : Bytes.Writer, track : Track, blocks : [(Nat, Nat)], i : Nat, from : Nat, to : Nat) {
    let count = blocks.size();
    if (i >= count) return;
    let (k, start) = blocks[i];
    if (i + 1 == count) return writeBlock(w, track, k, start / 2 ** k, from, to);
    if (to <= start or from >= track.middle) return Cbor.pruned(w, track.left[count - 1 - i : Nat].1);
    Cbor.fork(w);
    writeBlock(w, track, k, start / 2 ** k, from, to);
    writeLeft(w, track, blocks, i + 1, from, to);
  };

  /// Blocks `i` and further in: fork(fork(..., block i - 1), block i).
  func writeRight(w : Bytes.Writer, track : Track, blocks : [(Nat, Nat)], i : Nat, from : Nat, to : Nat) {
    let (k, start) = blocks[i];
    if (i == 0) return writeBlock(w, track, k, start / 2 ** k, from, to);
    if (from >= start + 2 ** k or to <= track.middle) return Cbor.pruned(w, track.right[i].1);
    Cbor.fork(w);
    writeRight(w, track, blocks, i - 1 : Nat, from, to);
    writeBlock(w, track, k, start / 2 ** k, from, to);
  };

  func writeBlock(w : Bytes.Writer, track : Track, k : Nat, index : Nat, from : Nat, to : Nat) {
    let size = 2 ** k;
    let start = index * size;
    if (to <= start or from >= start + size) return Cbor.pruned(w, block(track, k, index));
    if (k == 0) {
      Cbor.labeled(w, Text.encodeUtf8(key(track.prefix, index)));
      return Cbor.leaf(w, Ring.at(track.contents, index - track.first : Nat));
    };
    Cbor.fork(w);
    writeBlock(w, track, k - 1 : Nat, 2 * index, from, to);
    writeBlock(w, track, k - 1 : Nat, 2 * index + 1, from, to);
  };
};
