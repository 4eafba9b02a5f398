import Array "mo:core/Array";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import CertTree "../src/CertTree";
import HashTree "../src/HashTree";
import Sha256 "../src/Sha256";
import Check "Check";

// nothing but the label
Check.blob("empty tree", CertTree.certifiedData(CertTree.empty()), HashTree.labeled("websocket", HashTree.empty()));

Check.text("key", CertTree.key("aaaaa-aa_", 42), "aaaaa-aa_00000000000000000042");
Check.text("key of the largest nonce", CertTree.key("aaaaa-aa_", 18_446_744_073_709_551_615), "aaaaa-aa_18446744073709551615");

func hashOf(n : Nat) : Blob = Sha256.ofBlob(Text.encodeUtf8("content " # Nat.toText(n)));

func show(tree : CertTree.Tree, track : CertTree.Track, from : Nat, to : Nat) {
  Check.examine(
    "witness",
    Array.concat(
      [Check.hex(CertTree.certifiedData(tree)), Check.hex(CertTree.witness(tree, track, from, to))],
      Array.tabulate<Text>(2 * (to - from), func i = if (i % 2 == 0) CertTree.key(track.prefix, from + i / 2) else Check.hex(hashOf(from + i / 2))),
    ),
  );
};

/// The tree that has the same messages but was made at once.
func fresh(tracks : [CertTree.Track]) : CertTree.Tree {
  let tree = CertTree.empty();
  for (track in tracks.values()) {
    let copy = CertTree.addTrack(tree, Text.replace(track.prefix, #text "_", ""), track.first);
    var n = track.first;
    while (n < track.next) {
      CertTree.append(copy, hashOf(n));
      n += 1;
    };
    CertTree.commit(tree, copy);
  };
  tree;
};

// Random changes of several tracks. The root must not depend on how the tree came about, and every range has a witness.
let random = Check.Random(42);
for (start in [0, 1, 7, 1_000_000].values()) {
  let tree = CertTree.empty();
  let tracks = List.empty<CertTree.Track>();
  for (round in Nat.range(0, 60)) {
    if (List.size(tracks) < 5 and random.below(8) == 0 or List.size(tracks) == 0) {
      List.add(tracks, CertTree.addTrack(tree, Principal.toText(Check.principal(random.below(1_000))), start));
    };
    let track = List.at(tracks, random.below(List.size(tracks)));
    for (_ in Nat.range(0, random.below(40))) CertTree.append(track, hashOf(track.next));
    for (_ in Nat.range(0, random.below(30))) CertTree.dropFirst(track);
    CertTree.commit(tree, track);
    let root = CertTree.certifiedData(tree);
    if (root != CertTree.certifiedData(fresh(List.toArray(tracks)))) {
      Check.isTrue("the root follows from the messages, from " # Nat.toText(start) # ", round " # Nat.toText(round), false);
    };
    let count = track.next - track.first : Nat;
    if (count > 0) {
      let from = track.first + random.below(count);
      show(tree, track, from, from + 1 + random.below(track.next - from));
      if (round % 10 == 0) show(tree, track, track.first, track.next);
    };
  };
  Check.isTrue("the root follows from the messages, from " # Nat.toText(start), true);

  // taking tracks away
  while (List.size(tracks) > 1) {
    switch (List.removeLast(tracks)) {
      case (?track) CertTree.removeTrack(tree, track);
      case null {};
    };
    Check.blob("a track less", CertTree.certifiedData(tree), CertTree.certifiedData(fresh(List.toArray(tracks))));
  };
};

// one at a time, in and out, as a queue in use does
let tree = CertTree.empty();
let track = CertTree.addTrack(tree, "aaaaa-aa", 0);
var wrong = 0;
for (n in Nat.range(0, 300)) {
  CertTree.append(track, hashOf(n));
  if (n >= 20) CertTree.dropFirst(track);
  CertTree.commit(tree, track);
  if (CertTree.certifiedData(tree) != CertTree.certifiedData(fresh([track]))) wrong += 1;
};
Check.nat("a moving window", wrong, 0);
show(tree, track, 290, 300);
while (track.first < track.next) CertTree.dropFirst(track);
CertTree.commit(tree, track);
Check.blob("emptied", CertTree.certifiedData(tree), CertTree.certifiedData(CertTree.empty()));

// the newest message of a long queue has a short witness
let long = CertTree.addTrack(tree, "2vxsx-fae", 0);
for (n in Nat.range(0, 10_000)) CertTree.append(long, hashOf(n));
CertTree.commit(tree, long);
show(tree, long, 9_999, 10_000);
show(tree, long, 0, 1);
Check.isTrue("witness of the newest of 10000 is under 1 KB", CertTree.witness(tree, long, 9_999, 10_000).size() < 1_000);
Check.isTrue("witness of the oldest of 10000 is under 2 KB", CertTree.witness(tree, long, 0, 1).size() < 2_000);
