import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Nat "mo:core/Nat";
import Nat8 "mo:core/Nat8";
import Candid "../src/Candid";
import Service "../src/Service";
import Check "Check";
import Vectors "CandidVectors";

// -- vectors of @dfinity/candid

for (i in Vectors.splits.keys()) {
  switch (Candid.splitVec(Vectors.splits[i], 1_000)) {
    case (#ok(items)) Check.examine("split", Array.concat([Nat.toText(i)], Array.map<Blob, Text>(items, Check.hex)));
    case (#err(e)) Check.text("split " # Nat.toText(i), e, "");
  };
};

// every prefix of good bytes, and every bit of them turned, is either taken or refused: nothing traps
var taken = 0;
var refused = 0;
for (i in Nat.range(0, 30)) {
  let good = Vectors.splits[i];
  for (size in Nat.range(0, Nat.min(good.size(), 120))) {
    switch (Candid.splitVec(Blob.fromArray(Array.tabulate<Nat8>(size, func j = good[j])), 1_000)) {
      case (#ok(_)) Check.isTrue("a prefix of vector " # Nat.toText(i) # " of " # Nat.toText(size) # " bytes is refused", false);
      case (#err(_)) refused += 1;
    };
    for (bit in [0, 6].values()) {
      let turned = Blob.fromArray(Array.tabulate<Nat8>(good.size(), func j = if (j == size) good[j] ^ (1 << Nat8.fromNat(bit)) else good[j]));
      switch (Candid.splitVec(turned, 1_000), Candid.variantOfNat64s(turned)) {
        case (#ok(_), _) taken += 1;
        case _ refused += 1;
      };
    };
  };
};
Check.isTrue("prefixes and turned bits", taken > 0 and refused > 0);

// -- arguments

Check.blob("nat 0", Candid.nat(0), "DIDL\00\01\7d\00");
Check.blob("nat 127", Candid.nat(127), "DIDL\00\01\7d\7f");
Check.blob("nat 128", Candid.nat(128), "DIDL\00\01\7d\80\01");
Check.blob("nat 10^12", Candid.nat(1_000_000_000_000), to_candid (1_000_000_000_000 : Nat));

// -- splitting

func items(name : Text, bytes : Blob, want : [Blob]) {
  switch (Candid.splitVec(bytes, 100)) {
    case (#ok(got)) Check.isTrue(name, got == want);
    case (#err(e)) Check.text(name, e, "");
  };
};
items("texts", to_candid (["a", "bc"]), ["DIDL\01\6d\71\01\71\01a", "DIDL\01\6d\71\01\71\02bc"]);
items("a blob is a vec of bytes", "DIDL\01\6d\7b\01\00\02\07\09", ["DIDL\01\6d\7b\01\7b\07", "DIDL\01\6d\7b\01\7b\09"]);
items("no items", to_candid ([] : [Nat]), []);

func ofNat8s(bytes : [[Nat8]]) : Blob = Blob.fromArray(Array.flatten<Nat8>(bytes));
let didl : [Nat8] = [0x44, 0x49, 0x44, 0x4c];

// 67 types: vec of type 66, opts, a record without fields
let table = Array.flatten<Nat8>([didl, [67, 0x6d, 0xc2, 0x00], Array.tabulate<Nat8>(130, func i = if (i % 2 == 0) (0x6e : Nat8) else 0x71), [0x6c, 0]]);
let part = ofNat8s([table, [1, 0xc2, 0x00]]);
items("a type number of two bytes", ofNat8s([table, [1, 0, 2]]), [part, part]);

Check.refused("not a vec", Candid.splitVec(to_candid ("text"), 10), "a text where a vec is expected");
Check.refused("a record", Candid.splitVec(to_candid ({ a = 1 }), 10), "a record where a vec is expected");
Check.refused("a principal", Candid.splitVec(to_candid (Check.principal(1)), 10), "a principal where a vec is expected");
Check.refused("no value", Candid.splitVec("DIDL\00\00", 10), "no value where a vec is expected");
Check.refused("too many items", Candid.splitVec(to_candid ([1, 2, 3, 4]), 3), "a vec of 4 elements, at most 3 are taken at a time");

// -- hostile bytes

func hostile(name : Text, bytes : Blob, part : Text) {
  Check.refused(name, Candid.splitVec(bytes, 10_000), part);
  switch (Candid.variantOfNat64s(bytes)) {
    case (#ok(_)) Check.isTrue(name # " as a variant", false);
    case (#err(_)) Check.isTrue(name # " as a variant", true);
  };
};

hostile("nothing", "", "not Candid: it does not start with DIDL");
hostile("other magic bytes", "DIDX\00\00", "not Candid");
hostile("only the magic bytes", "DIDL", "it ends too early");
hostile("bytes left over", "DIDL\01\6d\71\01\00\00\00", "left over");
hostile("a table of 2^32 types", "DIDL\ff\ff\ff\ff\0f", "more than 10000 types");
hostile("a length of 70 bits", "DIDL\ff\ff\ff\ff\ff\ff\ff\ff\ff\7f", "more than 32 bits");
hostile("a length that never ends", ofNat8s([didl, Array.repeat<Nat8>(0x80, 1_000)]), "more than 32 bits");
hostile("2^32 arguments", "DIDL\00\ff\ff\ff\ff\0f\7f\7f", "it ends too early");
hostile("a type that does not exist", "DIDL\01\6d\05\01\00\00", "type 5 does not exist");
hostile("a primitive type in the table", "DIDL\01\7d\01\00\00", "type -3 in the type table");
hostile("an opcode between the types", "DIDL\01\6d\6e\01\00\00", "type -18 does not exist");
hostile("fields out of order", "DIDL\02\6d\01\6c\02\05\71\04\71\01\00\00", "not in order");
hostile("a field twice", "DIDL\02\6d\01\6c\02\05\71\05\71\01\00\00", "not in order");
hostile("a record of 2^32 fields", "DIDL\01\6c\ff\ff\ff\ff\0f\01\71", "it ends too early");
hostile("a vec of 2^32 texts", "DIDL\01\6d\71\01\00\ff\ff\ff\ff\0f", "at most 10000");
hostile("2^32 nulls inside", "DIDL\02\6d\01\6d\7e\01\00\01\ff\ff\ff\ff\0f", "it ends too early");
hostile("2^32 empty records inside", "DIDL\03\6d\01\6d\02\6c\00\01\00\01\ff\ff\ff\ff\0f", "too many values for its size");
hostile("a record that contains itself", "DIDL\02\6d\01\6c\01\00\01\01\00\01", "nested deeper than 1000");
hostile("records that contain each other", "DIDL\03\6d\01\6c\01\00\02\6c\01\00\01\01\00\01", "nested deeper than 1000");
hostile("an opt that contains itself, deeply", ofNat8s([didl, [2, 0x6d, 1, 0x6e, 1, 1, 0, 1], Array.repeat<Nat8>(1, 5_000)]), "nested deeper than 1000");
hostile("a value of type empty", "DIDL\01\6d\6f\01\00\01", "of type empty");
hostile("a bool of 2", "DIDL\01\6d\7e\01\00\01\02", "neither true nor false");
hostile("an opt of 2", "DIDL\02\6d\01\6e\71\01\00\01\02", "neither null nor a value");
hostile("a variant's tag out of range", "DIDL\02\6d\01\6b\01\00\71\01\00\01\01", "tag number is out of range");
hostile("a variant without tags", "DIDL\02\6d\01\6b\00\01\00\01\00", "tag number is out of range");
hostile("a text longer than the bytes", "DIDL\01\6d\71\01\00\01\ff\ff\03abc", "it ends too early");
hostile("a principal of 30 bytes", "DIDL\01\6d\68\01\00\01\01\1e", "more than 29 bytes");
hostile("an opaque principal", "DIDL\01\6d\68\01\00\01\00", "opaque reference");
hostile("a nat that does not end", ofNat8s([didl, [1, 0x6d, 0x7d, 1, 0, 1], Array.repeat<Nat8>(0xff, 10_000)]), "it ends too early");
for (bytes in ([[0x80], [0xc1, 0xbf], [0xc3], [0xc3, 0x28], [0xe0, 0x9f, 0xbf], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf0, 0x8f, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82, 0x28], [0xf0, 0x9f, 0x99, 0x28], [0x61, 0xff]] : [[Nat8]]).values()) {
  hostile("a text that is not UTF-8", ofNat8s([didl, [1, 0x6d, 0x71, 1, 0, 1, Nat8.fromNat(bytes.size())], bytes]), "not UTF-8");
};
items("the limits of UTF-8", to_candid (["\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}"]), ["DIDL\01\6d\71\01\71\19\7f\c2\80\df\bf\e0\a0\80\ed\9f\bf\ee\80\80\ef\bf\bf\f0\90\80\80\f4\8f\bf\bf"]);
// 20 records with two fields of the next: a million values out of a few bytes
hostile(
  "a tree of records without bytes",
  ofNat8s([didl, [22, 0x6d, 1], Array.flatten<Nat8>(Array.tabulate<[Nat8]>(20, func i = [0x6c, 2, 0, Nat8.fromNat(i + 2), 1, Nat8.fromNat(i + 2)])), [0x6c, 0], [1, 0, 1]]),
  "too many values for its size",
);
// types of a later version of Candid carry their size
items("a type from the future", "DIDL\02\6d\01\60\02\aa\bb\01\00\01\03\00\01\02\03", ["DIDL\02\6d\01\60\02\aa\bb\01\01\03\00\01\02\03"]);

// -- service messages

func keepAlive(n : Nat64) : Blob = to_candid (#KeepAliveMessage { last_incoming_sequence_num = n } : Service.Content);
switch (Service.decodeKeepAlive(keepAlive(12_345_678_901))) {
  case (#ok({ lastIncoming })) Check.isTrue("keep-alive", lastIncoming == 12_345_678_901);
  case (#err(e)) Check.text("keep-alive", e, "");
};
switch (Service.decodeKeepAlive(to_candid (#KeepAliveMessage { last_incoming_sequence_num = 7 : Nat64; other = "field" }))) {
  case (#ok({ lastIncoming })) Check.isTrue("keep-alive with more fields", lastIncoming == 7);
  case (#err(e)) Check.text("keep-alive with more fields", e, "");
};
for (content in ([#OpenMessage { client_key = { client_principal = Check.principal(1); client_nonce = 1 } }, #AckMessage { last_incoming_sequence_num = 1 }, #CloseMessage { reason = #ClosedByApplication }] : [Service.Content]).values()) {
  switch (Service.decodeKeepAlive(Service.encode(content))) {
    case (#ok(_)) Check.isTrue("a canister's message from a client", false);
    case (#err(e)) Check.text("a canister's message from a client", e, "Invalid service message");
  };
};
for ((name, bytes, part) in ([
  ("numbers", to_candid ([1, 2, 3]), "a vec where a variant is expected"),
  ("not Candid", "hello", "not Candid"),
  ("nothing", "", "not Candid"),
  ("an unknown tag", to_candid (#Hello), "unknown tag"),
  ("another type of number", to_candid (#KeepAliveMessage { last_incoming_sequence_num = 7 : Nat }), "without last_incoming_sequence_num"),
  ("no record", to_candid (#KeepAliveMessage 7), "without last_incoming_sequence_num"),
] : [(Text, Blob, Text)]).values()) {
  Check.refused("service message: " # name, Service.decodeKeepAlive(bytes), "Error decoding service message content: ");
  Check.refused("service message: " # name, Service.decodeKeepAlive(bytes), part);
};
