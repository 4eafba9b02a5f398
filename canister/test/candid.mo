import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Nat32 "mo:core/Nat32";
import Nat8 "mo:core/Nat8";
import Principal "mo:core/Principal";
import Candid "../src/Candid";
import Service "../src/Service";
import Check "Check";

// -- what the page of a feed becomes

func contents(name : Text, bytes : Blob, want : [Blob]) {
  switch (Candid.page(bytes, 100, null, null)) {
    case (#ok({ items; next = null })) Check.isTrue(name, Array.map<Candid.Item, Blob>(items, func item = item.content) == want);
    case (#ok(_)) Check.isTrue(name # " has a cursor", false);
    case (#err(e)) Check.text(name, e, "");
  };
};
contents("texts", to_candid (["a", "bc"]), ["DIDL\01\6d\71\01\71\01a", "DIDL\01\6d\71\01\71\02bc"]);
contents("a blob is a vec of bytes", "DIDL\01\6d\7b\01\00\02\07\09", ["DIDL\01\6d\7b\01\7b\07", "DIDL\01\6d\7b\01\7b\09"]);
contents("no items", to_candid ([] : [Nat]), []);
contents("further values", to_candid (["a"], 7, "more"), ["DIDL\01\6d\71\01\71\01a"]);
contents("the limits of UTF-8", to_candid (["\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}"]), ["DIDL\01\6d\71\01\71\19\7f\c2\80\df\bf\e0\a0\80\ed\9f\bf\ee\80\80\ef\bf\bf\f0\90\80\80\f4\8f\bf\bf"]);
// types of a later version of Candid carry their size
contents("a type from the future", "DIDL\02\6d\01\60\02\aa\bb\01\00\01\03\00\01\02\03", ["DIDL\02\6d\01\60\02\aa\bb\01\01\03\00\01\02\03"]);
contents("zeros to spare in lengths and types", "DIDL\81\80\80\80\80\80\80\80\80\00\ed\ff\ff\7f\f1\ff\7f\01\80\80\00\81\00\81\80\00a", ["DIDL\01\ed\ff\ff\7f\f1\ff\7f\01\71\81\80\00a"]);

func ofNat8s(bytes : [[Nat8]]) : Blob = Blob.fromArray(Array.flatten<Nat8>(bytes));
let didl : [Nat8] = [0x44, 0x49, 0x44, 0x4c];

// 67 types: vec of type 66, opts, a record without fields
let table = Array.flatten<Nat8>([didl, [67, 0x6d, 0xc2, 0x00], Array.tabulate<Nat8>(130, func i = if (i % 2 == 0) (0x6e : Nat8) else 0x71), [0x6c, 0]]);
let part = ofNat8s([table, [1, 0xc2, 0x00]]);
contents("a type number of two bytes", ofNat8s([table, [1, 0, 2]]), [part, part]);
// 127 types and the variant's
let opts = Array.tabulate<Nat8>(252, func i = if (i % 2 == 0) (0x6e : Nat8) else 0x71);
switch (Candid.page(ofNat8s([didl, [127, 0x6d, 0x7d], opts, [1, 0, 1, 42]]), 1, ?"a", null)) {
  case (#ok({ items })) Check.isTrue("a count of two bytes", items[0].content == ofNat8s([didl, [0x80, 0x01, 0x6d, 0x7d], opts, [0x6b, 1, 0x61, 0x7d, 1, 0xff, 0x00, 0, 42]]));
  case (#err(e)) Check.text("a count of two bytes", e, "");
};

func refusedPage(name : Text, reply : Blob, part : Text) = Check.refused(name, Candid.page(reply, 3, ?"tag", null), part);
refusedPage("not a vec", to_candid ("text"), "a text where a vec of items is expected");
refusedPage("a principal", to_candid (Check.principal(1)), "a principal where a vec of items is expected");
refusedPage("an opt vec", to_candid (?[1]), "an opt where a vec of items is expected");
refusedPage("no value", "DIDL\00\00", "no value where a vec of items is expected");
refusedPage("too many items", to_candid ([1, 2, 3, 4]), "a vec of 4 items, at most 3 are taken at a time");

// -- pages with a cursor

func cursor(name : Text, reply : Blob, want : Nat) {
  switch (Candid.page(reply, 3, null, null)) {
    case (#ok({ items; next = ?next })) {
      Check.nat(name, next, want);
      Check.isTrue(name # " has an item", items.size() == 1 and (from_candid (items[0].content) : ?Text) == ?"a");
    };
    case (#ok(_)) Check.isTrue(name, false);
    case (#err(e)) Check.text(name, e, "");
  };
};
cursor("a nat", to_candid ({ items = ["a"]; next = 300 }), 300);
cursor("a nat8", to_candid ({ items = ["a"]; next = 255 : Nat8 }), 255);
cursor("a nat16", to_candid ({ items = ["a"]; next = 65_534 : Nat16 }), 65_534);
cursor("a nat32", to_candid ({ items = ["a"]; next = 0xffff_fffe : Nat32 }), 0xffff_fffe);
cursor("a nat64", to_candid ({ items = ["a"]; next = 0xffff_ffff_ffff_fffe : Nat64 }), 0xffff_ffff_ffff_fffe);
cursor("the largest", to_candid ({ items = ["a"]; next = 0xffff_ffff_ffff_ffff }), 0xffff_ffff_ffff_ffff);
cursor("other fields", to_candid ({ items = ["a"]; next = 1; total = 7; author = "b"; z = null }, "more"), 1);
// record { next; items }, the fields in the order of their numbers
let recordTypes : [Nat8] = [0x44, 0x49, 0x44, 0x4c, 2, 0x6c, 2, 0xf3, 0x89, 0x8a, 0xc8, 0x04, 0x7d, 0x80, 0xd8, 0xb2, 0x90, 0x0c, 1, 0x6d, 0x71, 1, 0];
func withCursor(cursor : [Nat8]) : Blob = ofNat8s([recordTypes, cursor, [1, 1, 0x61]]);
cursor("a nat with zeros to spare", withCursor(Array.concat<Nat8>([0x87], Array.tabulate<Nat8>(100_000, func i = if (i == 99_999) 0 else 0x80))), 7);
for ((name, next) in ([
  ("2^64", [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]),
  ("2^64+1", [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]),
  ("2^70", [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
  ("very large", Array.tabulate<Nat8>(100_000, func i = if (i == 99_999) 0x7f else 0xff)),
] : [(Text, [Nat8])]).values()) {
  refusedPage("a cursor that is " # name, withCursor(next), "in the field next, a nat of more than 64 bits");
};
refusedPage("a cursor that does not end", ofNat8s([recordTypes, Array.repeat<Nat8>(0xff, 1_000)]), "it ends too early");
refusedPage("no items", to_candid ({ next = 1; entries = ["a"] }), "a record without a field items");
refusedPage("no cursor", to_candid ({ items = ["a"] }), "without a field next : nat");
refusedPage("a cursor that is an int", to_candid ({ items = ["a"]; next = 1 : Int }), "in the field next, an int where a nat is expected");
refusedPage("a cursor that is an int8", to_candid ({ items = ["a"]; next = 1 : Int8 }), "in the field next, an int8 where");
refusedPage("a cursor that is an opt", to_candid ({ items = ["a"]; next = ?1 }), "in the field next, an opt where a nat is expected");
refusedPage("items that are a text", to_candid ({ items = "a"; next = 1 }), "in the field items, a text where a vec is expected");
refusedPage("items that are an opt", to_candid ({ items = ?["a"]; next = 1 }), "in the field items, an opt where a vec is expected");
refusedPage("too many items with a cursor", to_candid ({ items = [1, 2, 3, 4]; next = 1 }), "a vec of 4 items");

// -- items for one client

let (alice, bob) = (Check.principal(1), Check.anonymous());
func recipients(name : Text, reply : Blob, field : Text, want : [Candid.Recipient]) {
  switch (Candid.page(reply, 10, null, ?field)) {
    case (#ok({ items })) Check.isTrue(name, Array.map<Candid.Item, Candid.Recipient>(items, func item = item.recipient) == want);
    case (#err(e)) Check.text(name, e, "");
  };
};
recipients("principals", to_candid ([{ to = alice; text = "a" }, { to = bob; text = "b" }]), "to", [#client alice, #client bob]);
recipients("opt principals", to_candid ([{ to = ?alice; n = 1 }, { to = null; n = 2 }, { to = ?bob; n = 3 }]), "to", [#client alice, #everybody, #client bob]);
recipients("tuples", to_candid ([("a", alice), ("b", bob)]), "1", [#client alice, #client bob]);
recipients("an empty principal", to_candid ([{ to = Principal.fromBlob("") }]), "to", [#client(Principal.fromBlob(""))]);
recipients("with a cursor", to_candid ({ items = [{ to = alice }]; next = 1 }), "to", [#client alice]);
recipients("no items", to_candid ([] : [{ to : Principal }]), "to", []);
recipients("no items, of type empty", "DIDL\01\6d\6f\01\00\00", "to", []);
func refusedItem(name : Text, reply : Blob, part : Text) = Check.refused(name, Candid.page(reply, 3, ?"tag", ?"to"), part);
refusedItem("a text", to_candid (["a"]), "an item is a text where a record with the field to is expected");
refusedItem("another field", to_candid ([{ recipient = alice }]), "an item is a record without the field to");
refusedItem("a field that is a text", to_candid ([{ to = "a" }]), "in the field to of an item, a text where a principal or an opt principal is expected");
refusedItem("a field that is an opt text", to_candid ([{ to = ?"a" }]), "in the field to of an item, an opt whose value is a text where");
refusedItem("a field that is an opt opt principal", to_candid ([{ to = ??alice }]), "in the field to of an item, an opt whose value is an opt where");
refusedItem("a field of the wrong type without items", to_candid ([] : [{ to : Text }]), "in the field to of an item, a text where");
refusedItem("a principal of 30 bytes", ofNat8s([didl, [2, 0x6d, 1, 0x6c, 1, 0xfb, 0xca, 0x01, 0x68, 1, 0, 1, 1, 30], Array.repeat<Nat8>(1, 30)]), "a principal of more than 29 bytes");

// -- what the Motoko runtime reads of what is made

func made(name : Text, result : Candid.Result<Blob>) : Blob {
  switch result {
    case (#ok(blob)) blob;
    case (#err(e)) {
      Check.text(name, e, "");
      "";
    };
  };
};
type Post = { author : Text; likes : [Nat]; at : ?Int };
let post : Post = { author = "anna"; likes = [1, 2, 3]; at = ?-5 };
Check.isTrue("client", (from_candid (Candid.client(alice, 12_345_678_901_234_567_890)) : ?(Principal, Nat64)) == ?(alice, 12_345_678_901_234_567_890));
Check.isTrue("nat", (from_candid (Candid.nat(2 ** 100)) : ?Nat) == ?(2 ** 100));
Check.isTrue("variantText", (from_candid (Candid.variantText("failed", "why")) : ?{ #ok; #failed : Text }) == ?#failed("why"));
Check.isTrue("prepend", (from_candid (made("prepend", Candid.prepend(alice, to_candid (post, #like)))) : ?(Principal, Post, { #like; #unlike })) == ?(alice, post, #like));
Check.isTrue("prepend to nothing", (from_candid (made("prepend", Candid.prepend(alice, to_candid ()))) : ?Principal) == ?alice);
Check.isTrue("wrap", (from_candid (made("wrap", Candid.wrap("posted", to_candid (post)))) : ?{ #posted : Post; #other }) == ?#posted(post));
Check.isTrue("wrap nothing", (from_candid (made("wrap", Candid.wrap("posted", to_candid ()))) : ?{ #posted }) == ?#posted);
Check.isTrue("wrap several", (from_candid (made("wrap", Candid.wrap("posted", to_candid (1, post, "two")))) : ?{ #posted : (Nat, Post, Text) }) == ?#posted(1, post, "two"));
switch (Candid.payload(to_candid (#post post : { #post : Post; #like : Nat }, "more"))) {
  case (#ok(?{ tag; argument })) {
    Check.isTrue("the tag of a payload", tag == Candid.hash("post"));
    Check.isTrue("payload", (from_candid argument : ?Post) == ?post);
  };
  case other Check.text("payload", debug_show other, "");
};
switch (Candid.payload(to_candid (#stop))) {
  case (#ok(?{ tag; argument })) Check.isTrue("a payload of null", tag == Candid.hash("stop") and (from_candid argument : ?(Null)) == ?null);
  case other Check.text("a payload of null", debug_show other, "");
};
Check.isTrue("no variant has no payload", Candid.payload(to_candid (post)) == #ok(null));
Check.refused("a message without a value has no payload", Candid.payload(to_candid ()), "a message without a value");
Check.refused("what is no variant is checked as well", Candid.payload("DIDL\00\01\71\01\ff"), "not UTF-8");
Check.refused("what follows a payload is checked as well", Candid.payload("DIDL\01\6b\01\00\7f\02\00\7e\00\02"), "neither true nor false");
Check.isTrue("check", Candid.check(to_candid (post, 1, "two")) == #ok 3 and Candid.check(to_candid ()) == #ok 0);

// names and numbers of fields
for ((name, number) in ([("to", 25_979), ("", 0), ("0", 0), ("10", 10), ("4294967295", 4_294_967_295), ("007", 2_397_751), ("KeepAliveMessage", 2_525_358_527)] : [(Text, Nat32)]).values()) {
  Check.nat("hash of \"" # name # "\"", Nat32.toNat(Candid.hash(name)), Nat32.toNat(number));
};

// -- hostile bytes

func hostile(name : Text, bytes : Blob, part : Text) {
  Check.refused(name, Candid.check(bytes), part);
  Check.refused(name # ", as a page", Candid.page(bytes, 10_000, ?"a", null), "");
  Check.refused(name # ", behind a principal", Candid.prepend(alice, bytes), part);
  Check.refused(name # ", in a tag", Candid.wrap("a", bytes), part);
  Check.refused(name # ", as a message", Candid.payload(bytes), "");
  Check.refused(name # ", as a service message", Candid.variantOfNat64s(bytes), "");
};

hostile("nothing", "", "not Candid: it does not start with DIDL");
hostile("other magic bytes", "DIDX\00\00", "not Candid");
hostile("only the magic bytes", "DIDL", "it ends too early");
hostile("bytes left over", "DIDL\01\6d\71\01\00\00\00", "left over");
hostile("bytes left over after nothing", "DIDL\00\00\00", "left over");
hostile("a table of 2^32 types", "DIDL\ff\ff\ff\ff\0f", "more than 10000 types");
hostile("a table longer than the bytes", "DIDL\90\4e\6e\71", "it ends too early");
hostile("a length of 33 bits", "DIDL\ff\ff\ff\ff\1f", "more than 32 bits");
hostile("a length of 70 bits", "DIDL\ff\ff\ff\ff\ff\ff\ff\ff\ff\7f", "more than 32 bits");
hostile("a length of eleven bytes", "DIDL\80\80\80\80\80\80\80\80\80\80\00\00", "more than 32 bits");
hostile("a length that never ends", ofNat8s([didl, Array.repeat<Nat8>(0x80, 1_000)]), "more than 32 bits");
hostile("a type number of eleven bytes", "DIDL\00\01\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\7f", "more than 32 bits");
hostile("a type number that ends early", "DIDL\00\01\ff", "it ends too early");
hostile("a type number of 33 bits", "DIDL\00\01\80\80\80\80\10", "more than 32 bits");
hostile("2^32 arguments", "DIDL\00\ff\ff\ff\ff\0f\7f\7f", "it ends too early");
hostile("a type that does not exist", "DIDL\01\6d\05\01\00\00", "a type that does not exist");
hostile("a very large type", "DIDL\01\6d\ff\ff\03\01\00\00", "a type that does not exist");
hostile("a very small type", "DIDL\01\6d\80\80\7c\01\00\00", "a type that does not exist");
hostile("an argument of a type that does not exist", "DIDL\00\01\00", "a type that does not exist");
hostile("a primitive type in the table", "DIDL\01\7d\01\00\00", "a type table with a type that is not an entry of one");
hostile("a number in the table", "DIDL\01\00\01\00\00", "a type table with a type that is not an entry of one");
hostile("a principal in the table", "DIDL\01\68\01\00\00", "a type table with a type that is not an entry of one");
hostile("an opcode between the types", "DIDL\01\6d\6e\01\00\00", "a type that does not exist");
hostile("fields out of order", "DIDL\02\6d\01\6c\02\05\71\04\71\01\00\00", "not in order");
hostile("a field twice", "DIDL\02\6d\01\6c\02\05\71\05\71\01\00\00", "not in order");
hostile("the field 0 twice", "DIDL\02\6d\01\6c\02\00\71\00\71\01\00\00", "not in order");
hostile("a field of 33 bits", "DIDL\02\6d\01\6c\01\80\80\80\80\10\71\01\00\00", "more than 32 bits");
hostile("a record of 2^32 fields", "DIDL\01\6c\ff\ff\ff\ff\0f\01\71", "it ends too early");
hostile("a func of 2^32 arguments", "DIDL\01\6a\ff\ff\ff\ff\0f\71\71\71", "it ends too early");
hostile("a func with 2^32 annotations", "DIDL\01\6a\00\00\ff\ff\ff\ff\0f\01\01", "it ends too early");
hostile("an annotation that is not one", "DIDL\01\6a\00\00\01\04\00", "neither query, oneway nor composite_query");
hostile("the annotation 0", "DIDL\01\6a\00\00\01\00\00", "neither query, oneway nor composite_query");
hostile("a service of 2^32 methods", "DIDL\01\69\ff\ff\ff\ff\0f\01\61\00", "it ends too early");
hostile("a method twice", "DIDL\02\69\02\01a\01\01a\01\6a\00\00\00\00", "methods of a service that are not in order");
hostile("methods out of order", "DIDL\02\69\02\02ab\01\01a\01\6a\00\00\00\00", "methods of a service that are not in order");
hostile("a method that is not UTF-8", "DIDL\02\69\01\01\ff\01\6a\00\00\00\00", "not UTF-8");
hostile("a method that is a text", "DIDL\01\69\01\01a\71\00", "a service whose method is a text");
hostile("a method that is a service", "DIDL\01\69\01\01a\00\00", "a service whose method is a service");
hostile("a type from the future that is too long", "DIDL\01\60\ff\ff\ff\ff\0f\00", "it ends too early");
hostile("a type from the future with a reference", "DIDL\01\60\00\01\00\00\01", "opaque reference");
hostile("a vec of 2^32 texts", "DIDL\01\6d\71\01\00\ff\ff\ff\ff\0f", "it ends too early");
hostile("a vec of 2^32 nat64", "DIDL\01\6d\78\01\00\ff\ff\ff\ff\0f", "it ends too early");
hostile("a vec of 3 nat64 in 20 bytes", "DIDL\01\6d\78\01\00\0301234567890123456789", "it ends too early");
hostile("2^32 bools inside", "DIDL\02\6d\01\6d\7e\01\00\01\ff\ff\ff\ff\0f", "it ends too early");
hostile("2^32 nulls inside", "DIDL\02\6d\01\6d\7f\01\00\01\ff\ff\ff\ff\0f", "too many values for its size");
hostile("2^32 reserved inside", "DIDL\02\6d\01\6d\70\01\00\01\ff\ff\ff\ff\0f", "too many values for its size");
hostile("2^32 empty records inside", "DIDL\03\6d\01\6d\02\6c\00\01\00\01\ff\ff\ff\ff\0f", "too many values for its size");
hostile("a record that contains itself", "DIDL\02\6d\01\6c\01\00\01\01\00\01", "nested deeper than 1000");
hostile("records that contain each other", "DIDL\03\6d\01\6c\01\00\02\6c\01\00\01\01\00\01", "nested deeper than 1000");
hostile("a record that contains itself twice", "DIDL\02\6d\01\6c\02\00\01\01\01\01\00\01", "nested deeper than 1000");
hostile("an opt that contains itself, deeply", ofNat8s([didl, [2, 0x6d, 1, 0x6e, 1, 1, 0, 1], Array.repeat<Nat8>(1, 5_000)]), "nested deeper than 1000");
hostile("a value of type empty", "DIDL\01\6d\6f\01\00\01", "of type empty");
hostile("an argument of type empty", "DIDL\00\01\6f", "of type empty");
hostile("a bool of 2", "DIDL\01\6d\7e\01\00\01\02", "neither true nor false");
hostile("an opt of 2", "DIDL\02\6d\01\6e\71\01\00\01\02", "neither null nor a value");
hostile("a variant's tag out of range", "DIDL\02\6d\01\6b\01\00\71\01\00\01\01", "tag number is out of range");
hostile("a variant's tag far out of range", "DIDL\02\6d\01\6b\01\00\71\01\00\01\ff\ff\ff\ff\0f", "tag number is out of range");
hostile("a variant without tags", "DIDL\02\6d\01\6b\00\01\00\01\00", "tag number is out of range");
hostile("a text longer than the bytes", "DIDL\01\6d\71\01\00\01\ff\ff\03abc", "it ends too early");
hostile("a principal of 30 bytes", "DIDL\01\6d\68\01\00\01\01\1e", "more than 29 bytes");
hostile("an opaque principal", "DIDL\01\6d\68\01\00\01\00", "opaque reference");
hostile("an opaque func", "DIDL\01\6a\00\00\00\01\00\00", "opaque reference");
hostile("a func of an opaque service", "DIDL\01\6a\00\00\00\01\00\01\00\00", "opaque reference");
hostile("an opaque service", "DIDL\01\69\00\01\00\00", "opaque reference");
hostile("a nat that does not end", ofNat8s([didl, [1, 0x6d, 0x7d, 1, 0, 1], Array.repeat<Nat8>(0xff, 10_000)]), "it ends too early");
for (bytes in ([[0x80], [0xc1, 0xbf], [0xc3], [0xc3, 0x28], [0xe0, 0x9f, 0xbf], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf0, 0x8f, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82, 0x28], [0xf0, 0x9f, 0x99, 0x28], [0x61, 0xff]] : [[Nat8]]).values()) {
  hostile("a text that is not UTF-8", ofNat8s([didl, [1, 0x6d, 0x71, 1, 0, 1, Nat8.fromNat(bytes.size())], bytes]), "not UTF-8");
};
// 20 records with two fields of the next: a million values out of a few bytes
hostile(
  "a tree of records without bytes",
  ofNat8s([didl, [22, 0x6d, 1], Array.flatten<Nat8>(Array.tabulate<[Nat8]>(20, func i = [0x6c, 2, 0, Nat8.fromNat(i + 2), 1, Nat8.fromNat(i + 2)])), [0x6c, 0], [1, 0, 1]]),
  "too many values for its size",
);

// -- limits, just reached and just exceeded

func taken(name : Text, bytes : Blob, count : Nat) {
  switch (Candid.check(bytes)) {
    case (#ok(got)) Check.nat(name, got, count);
    case (#err(e)) Check.text(name, e, "");
  };
};
func repeated(head : [Nat8], part : [Nat8], count : Nat, tail : [Nat8]) : Blob = ofNat8s([didl, head, Array.tabulate<Nat8>(part.size() * count, func i = part[i % part.size()]), tail]);

// each link is as many values deep as its type has parts
for ((name, types, link, deep, last) in ([
  ("opts", [1, 0x6e, 0, 1, 0], [1], 1, [0]),
  ("vecs", [1, 0x6d, 0, 1, 0], [1], 1, [0]),
  ("variants", [1, 0x6b, 2, 0, 0x7f, 1, 0, 1, 0], [1], 1, [0]),
  ("records with opts", [2, 0x6e, 1, 0x6c, 3, 0, 0x7f, 1, 0, 2, 0x7f, 1, 0], [1], 2, [0]),
  ("opts with vecs with records with variants", [4, 0x6e, 1, 0x6d, 2, 0x6c, 2, 0, 0x7b, 1, 3, 0x6b, 1, 0, 0, 1, 0], [1, 1, 7, 0], 4, [0]),
] : [(Text, [Nat8], [Nat8], Nat, [Nat8])]).values()) {
  taken(name # " 1000 deep", repeated(types, link, 1_000 / deep, last), 1);
  hostile(name # " more than 1000 deep", repeated(types, link, 1_000 / deep + 1, last), "nested deeper than 1000");
  hostile(name # " a million deep", repeated(types, link, 1_000_000 / deep, last), "nested deeper than 1000");
};

let opt : [Nat8] = [0x6e, 0x71];
taken("10000 types", repeated([0x90, 0x4e], opt, 10_000, [0]), 0);
hostile("10001 types", repeated([0x91, 0x4e], opt, 10_001, [0]), "more than 10000 types");
Check.refused("a variant over 10000 types", Candid.wrap("a", repeated([0x90, 0x4e], opt, 10_000, [0])), "too many types to add anything");
// the magic bytes, the counts and the nulls
taken("65536 bytes of types", repeated([0, 0xf8, 0xff, 3], [0x7f], 65_528, []), 65_528);
hostile("65537 bytes of types", repeated([0, 0xf9, 0xff, 3], [0x7f], 65_529, []), "its types take too many bytes");
Check.refused("a tuple of too many types", Candid.wrap("a", repeated([0, 0xf8, 0xff, 3], [0x7f], 65_528, [])), "too many types to add anything");
Check.refused("a principal before too many types", Candid.prepend(alice, repeated([0, 0xf8, 0xff, 3], [0x7f], 65_528, [])), "too many types to add anything");
// 13 bytes, 4 steps for each, and 10,000
taken("nulls for all steps", "DIDL\01\6d\7f\01\00\c4\ce\80\00", 1);
hostile("one null more", "DIDL\01\6d\7f\01\00\c5\ce\80\00", "too many values for its size");

// a type table of 19,811 bytes for each item
func heavy(items : [Nat8]) : Candid.Result<Candid.Page> = Candid.page(repeated([0xad, 0x4d, 0x6d, 0x7f], opt, 9_900, Array.concat<Nat8>([1, 0], items)), 10_000, null, null);
switch (heavy([0xa7, 0x03])) {
  case (#ok({ items })) Check.nat("423 items with a large type table", items.size(), 423);
  case (#err(e)) Check.text("423 items with a large type table", e, "");
};
Check.refused("424 items with a large type table", heavy([0xa8, 0x03]), "the type table is too large for so many items");

// two megabytes, the largest message
let mega = 2_000_000;
taken("a blob", repeated([1, 0x6d, 0x7b, 1, 0, 0x80, 0x89, 0x7a], [0xff], mega, []), 1);
taken("a text", repeated([0, 1, 0x71, 0x80, 0x89, 0x7a], [0x61], mega, []), 1);
taken("a nat", repeated([0, 1, 0x7d], [0xff], mega, [0x7f]), 1);
taken("bools", repeated([1, 0x6d, 0x7e, 1, 0, 0x80, 0x89, 0x7a], [1], mega, []), 1);
hostile("more records without bytes than two megabytes have steps", repeated([2, 0x6d, 1, 0x6c, 0, 2, 0x7d, 0], [0xff], mega, [0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f]), "too many values for its size");
hostile("a text with the last byte wrong", repeated([0, 1, 0x71, 0x81, 0x89, 0x7a], [0x61], mega, [0xc3]), "not UTF-8");
hostile("a nat without an end", repeated([0, 1, 0x7d], [0xff], mega, []), "it ends too early");

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
