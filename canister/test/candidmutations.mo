// Hostile bytes: good vectors with a few bytes changed, and made-up type tables with values that may fit them. Nothing
// traps, and what is taken or refused goes to mutations.mjs, which asks @dfinity/candid.

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat32 "mo:core/Nat32";
import Nat8 "mo:core/Nat8";
import Text "mo:core/Text";
import Candid "../src/Candid";
import Check "Check";
import Vectors "CandidVectors";

let random = Check.Random(Vectors.seed);
func oneOf<T>(list : [T]) : T = list[random.below(list.size())];

// what is not hex must not look like it, and there must not be a space in it
func words(error : Text) : Text = Text.map(error, func c = if (c == ' ') '-' else c);

var taken = 0;
var refused = 0;

func judge(bytes : Blob) {
  let verdict = Candid.check(bytes);
  switch verdict { case (#ok(_)) taken += 1; case (#err(_)) refused += 1 };
  // these have more to do than what is reported below
  ignore Candid.variantOfNat64s(bytes);
  for (recipient in ["to", "0", "2"].values()) ignore Candid.page(bytes, 1_000, ?"tag", ?recipient);
  let items = switch (Candid.page(bytes, 1_000, null, null)) {
    case (#ok({ items })) if (items.size() == 0) "-" else Text.join(Array.map<Candid.Item, Text>(items, func item = Check.hex(item.content)).values(), ",");
    case (#err(e)) words(e);
  };
  switch (verdict, Candid.prepend(Check.anonymous(), bytes), Candid.wrap("5", bytes), Candid.payload(bytes)) {
    case (#err(e), #err(_), #err(_), #err(_)) {
      Check.isTrue("a page of refused bytes is refused", switch (Candid.page(bytes, 1_000, null, null)) { case (#ok(_)) false; case (#err(_)) true });
      Check.examine("mutated", [Check.hex(bytes), words(e)]);
    };
    case (#ok(count), #ok(prepended), #ok(wrapped), payload) {
      let found = switch payload {
        case (#ok(?{ tag; argument })) Nat32.toText(tag) # ":" # Check.hex(argument);
        case (#ok(null)) "none";
        case (#err(e)) words(e);
      };
      Check.isTrue("a payload is refused only where there is no value", switch payload { case (#ok(_)) count > 0; case (#err(_)) count == 0 });
      Check.examine("mutated", [Check.hex(bytes), Nat.toText(count), Check.hex(prepended), Check.hex(wrapped), found, items]);
    };
    case _ Check.isTrue("refused by one and taken by another: " # Check.hex(bytes), false);
  };
};

// -- good vectors with a few bytes changed

let good = List.empty<[Nat8]>();
for ((bytes, _, _) in Vectors.pages.values()) if (bytes.size() <= 400) List.add(good, Blob.toArray(bytes));
for ((bytes, _) in Vectors.tuples.values()) if (bytes.size() <= 400) List.add(good, Blob.toArray(bytes));
let interesting : [Nat8] = [0, 1, 2, 3, 29, 30, 0x3f, 0x40, 0x60, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x78, 0x7b, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0xff];

func change(bytes : [Nat8]) : [Nat8] {
  let size = bytes.size();
  if (size < 6) return bytes;
  // the types stand at the front; that all of it is not Candid need not be tried as often
  let end = if (random.below(2) == 0) size else 6 + random.below(size - 5);
  let at = if (random.below(50) == 0) random.below(4) else 4 + random.below(end - 4 : Nat);
  func cut(from : Nat, to : Nat) : [Nat8] = Array.tabulate<Nat8>(to - from : Nat, func i = bytes[from + i]);
  func replace(value : Nat8) : [Nat8] = Array.tabulate<Nat8>(size, func i = if (i == at) value else bytes[i]);
  switch (random.below(9)) {
    case (0 or 1) replace(bytes[at] ^ (1 << Nat8.fromNat(random.below(8))));
    case (2 or 3) replace(oneOf(interesting));
    case 4 replace(bytes[at] +% 1);
    case 5 Array.flatten<Nat8>([cut(0, at), [oneOf(interesting)], cut(at, size)]);
    case 6 Array.concat<Nat8>(cut(0, at), cut(at + 1, size));
    case 7 {
      let to = at + random.below(size - at + 1);
      Array.flatten<Nat8>([cut(0, to), cut(at, to), cut(to, size)]);
    };
    case _ if (random.below(3) == 0) cut(0, at) else Array.concat<Nat8>(bytes, [oneOf(interesting)]);
  };
};

for (_ in Nat.range(0, Vectors.mutations)) {
  var bytes = List.at(good, random.below(List.size(good)));
  for (_ in Nat.range(0, 1 + random.below(3))) bytes := change(bytes);
  judge(Blob.fromArray(bytes));
};

// -- made-up types with values that may fit them

let magic : [Nat8] = [0x44, 0x49, 0x44, 0x4c];

func madeUp() : [Nat8] {
  let count = random.below(5);
  func ref() : Nat8 = if (count > 0 and random.below(2) == 0) Nat8.fromNat(random.below(count)) else oneOf<Nat8>([0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x7a, 0x79, 0x78, 0x77, 0x73, 0x72, 0x71, 0x70, 0x6f, 0x68]);
  func list(size : Nat, part : Nat -> [Nat8]) : [Nat8] = Array.concat<Nat8>([Nat8.fromNat(size)], Array.flatten(Array.tabulate<[Nat8]>(size, part)));
  func entry(_ : Nat) : [Nat8] {
    switch (random.below(12)) {
      case (0 or 1) [0x6e, ref()];
      case (2 or 3 or 4) [0x6d, ref()];
      case (5 or 6 or 7) Array.concat<Nat8>([0x6c], list(random.below(4), func i = [Nat8.fromNat(i + random.below(2) * 2), ref()]));
      case (8 or 9) Array.concat<Nat8>([0x6b], list(random.below(4), func i = [Nat8.fromNat(i), ref()]));
      case 10 Array.flatten<Nat8>([[0x6a], list(random.below(2), func _ = [ref()]), list(random.below(2), func _ = [ref()]), list(random.below(2), func _ = [oneOf<Nat8>([1, 2, 3, 4])])]);
      case _ if (random.below(2) == 0) [oneOf<Nat8>([0x60, 0x67, 0x40]), 1, 0xaa] else Array.concat<Nat8>([0x69], list(random.below(3), func i = [1, 0x61 + Nat8.fromNat(i), ref()]));
    };
  };
  Array.flatten<Nat8>([magic, list(count, entry), list(1 + random.below(2), func _ = [ref()])]);
};

for (_ in Nat.range(0, Vectors.mutations / 4)) {
  let types = madeUp();
  let values = Array.tabulate<Nat8>(24, func _ = if (random.below(8) == 0) oneOf(interesting) else Nat8.fromNat(random.below(3)));
  // at most one size of the values fits
  var wholes = 0;
  label sizes for (size in Nat.range(0, values.size() + 1)) {
    let bytes = Blob.fromArray(Array.concat<Nat8>(types, Array.tabulate<Nat8>(size, func i = values[i])));
    switch (Candid.check(bytes)) {
      case (#ok(_)) {
        wholes += 1;
        judge(bytes);
      };
      case (#err(_)) if (size == values.size()) judge(bytes);
    };
  };
  if (wholes > 1) Check.isTrue("values of two sizes fit: " # Check.hex(Blob.fromArray(types)), false);
};

Check.isTrue("enough is taken: " # Nat.toText(taken) # ", and refused: " # Nat.toText(refused), taken > Vectors.mutations / 10 and refused > Vectors.mutations / 10);
