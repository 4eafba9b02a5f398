/// The types of a Candid argument tuple: reads the type table, which may be anybody's, and checks all of it. Also writes
/// entries of a type table.

import Array "mo:core/Array";
import Int "mo:core/Int";
import Nat "mo:core/Nat";
import Nat16 "mo:core/Nat16";
import Nat32 "mo:core/Nat32";
import Bytes "Bytes";
import Reader "CandidReader";

module {
  /// A type table with more entries is refused.
  public let maxTypes = 10_000;
  /// Type tables and argument types that take more bytes than this are refused: in memory they are many times larger,
  /// and they are repeated for each item of a feed.
  public let maxTypeBytes = 65_536;
  /// How many steps may be taken that no byte stands for, for each byte and in addition: the fields of records, and null
  /// in a vec. Canisters written in Motoko refuse more than one value for each byte and 1,024 in addition.
  public let stepsPerByte : Nat32 = 4;
  public let moreSteps : Nat32 = 10_000;
  /// Longer argument tuples are refused; no message is half as long.
  let maxSize = 0x0400_0000;

  /// A type: the number of an entry of the type table, or 0xff00 plus the byte that stands for a primitive type.
  public type Ref = Nat16;

  public let null_ : Ref = 0xff7f;
  public let bool : Ref = 0xff7e;
  public let nat : Ref = 0xff7d;
  public let int : Ref = 0xff7c;
  public let nat8 : Ref = 0xff7b;
  public let nat64 : Ref = 0xff78;
  public let text : Ref = 0xff71;
  public let empty : Ref = 0xff6f;
  public let principal : Ref = 0xff68;
  /// From here on types are primitive.
  public let primitives : Ref = 0xff00;

  public type Field = { hash : Nat32; ref : Ref };

  public type Def = {
    #opt : Ref;
    #vec : Ref;
    #record : [Field];
    #variant : [Field];
    #func_;
    // the types of its methods
    #service : [Ref];
    #future;
  };

  /// An argument tuple whose types have been read. The entries of its type table are the bytes from `tableStart` to
  /// `tableEnd`, and its values start at `start`.
  public type Tuple = {
    reader : Reader.Reader;
    defs : [Def];
    args : [Ref];
    tableStart : Nat32;
    tableEnd : Nat32;
    start : Nat32;
  };

  // ---------------------------------------------------------------------------------------------------------------
  // Reading

  /// Reads the magic bytes, the type table and the types of the arguments. O(size of these), which is bounded.
  public func open(bytes : Blob) : { #ok : Tuple; #err : Text } {
    let size = bytes.size();
    if (size < 4 or bytes[0] != 0x44 or bytes[1] != 0x49 or bytes[2] != 0x44 or bytes[3] != 0x4c) {
      return #err("not Candid: it does not start with DIDL");
    };
    if (size > maxSize) return #err("more than " # Nat.toText(maxSize) # " bytes of Candid");
    let r = Reader.reader(bytes, Nat32.fromNat(Nat.min(size, maxTypeBytes)), 0);
    let (count, tableStart) = Reader.leb(r, 4);
    if (Nat32.toNat(count) > maxTypes) return #err("not readable as Candid: more than " # Nat.toText(maxTypes) # " types");
    let (defs, tableEnd) = readDefinitions(r, tableStart, count);
    let (args, start) = refs(r, tableEnd, count);
    if (Reader.ok(r)) checkMethods(r, defs);
    switch (r.error) {
      case (?e) #err(e);
      case null {
        let bounded = Nat32.fromNat(size);
        let reader = Reader.reader(bytes, bounded, stepsPerByte * bounded + moreSteps);
        #ok({ reader; defs; args; tableStart; tableEnd; start });
      };
    };
  };

  func readDefinitions(r : Reader.Reader, start : Nat32, count : Nat32) : ([Def], Nat32) {
    var at = start;
    if (isTooMany(r, at, count, 2)) return ([], Reader.endsEarly(r));
    let defs = Array.tabulate<Def>(
      Nat32.toNat(count),
      func _ {
        let (def, next) = readDefinition(r, at, count);
        at := next;
        def;
      },
    );
    (defs, at);
  };

  /// Whether so many parts of at least `size` bytes do not fit in.
  func isTooMany(r : Reader.Reader, at : Nat32, count : Nat32, size : Nat32) : Bool = at > r.end or count > (r.end -% at) / size;

  func readDefinition(r : Reader.Reader, at : Nat32, count : Nat32) : (Def, Nat32) {
    let (op, from) = code(r, at);
    switch op {
      case 0xff6e {
        let (t, next) = ref(r, from, count);
        (#opt(t), next);
      };
      case 0xff6d {
        let (t, next) = ref(r, from, count);
        (#vec(t), next);
      };
      case 0xff6c {
        let (members, next) = fields(r, from, count);
        (#record(members), next);
      };
      case 0xff6b {
        let (members, next) = fields(r, from, count);
        (#variant(members), next);
      };
      case 0xff6a {
        let (_, results) = refs(r, from, count);
        let (_, annotations) = refs(r, results, count);
        (#func_, skipAnnotations(r, annotations));
      };
      case 0xff69 {
        let (types, next) = methods(r, from, count);
        (#service types, next);
      };
      case _ {
        if (op != future and (op < primitives or op >= principal)) return (#future, Reader.fail(r, "a type table with a type that is not an entry of one"));
        // a type of a later version of Candid carries its size
        let (size, start) = Reader.leb(r, from);
        (#future, Reader.advance(r, start, size, 1));
      };
    };
  };

  /// What `code` gives for a negative number that takes more than one byte, and for a number that is too large.
  let future : Nat16 = 0xfe00;
  let none : Nat16 = 0xfe01;

  /// A type or the constructor of a type: a positive number, or 0xff00 plus a byte from 0x40 to 0x7f.
  func code(r : Reader.Reader, at : Nat32) : (Nat16, Nat32) {
    let first = Reader.byte(r, at);
    if (first < 0x80) {
      let op = Nat16.fromNat8(first);
      return (if (first < 0x40) op else primitives | op, if (Reader.ok(r)) at +% 1 else Reader.nowhere);
    };
    let (n, next) = Reader.sleb(r, at);
    let op = if (n < -0x40) future else if (n < 0) Nat16.fromNat(Int.abs(0xff80 + n)) else if (n < maxTypes) Nat16.fromNat(Int.abs(n)) else none;
    (op, next);
  };

  func ref(r : Reader.Reader, at : Nat32, count : Nat32) : (Ref, Nat32) {
    let (t, next) = code(r, at);
    if (t >= empty or t == principal or Nat32.fromNat16(t) < count) (t, next) else (null_, Reader.fail(r, "a type that does not exist"));
  };

  func refs(r : Reader.Reader, start : Nat32, count : Nat32) : ([Ref], Nat32) {
    let (size, first) = Reader.leb(r, start);
    if (isTooMany(r, first, size, 1)) return ([], Reader.endsEarly(r));
    var at = first;
    let types = Array.tabulate<Ref>(
      Nat32.toNat(size),
      func _ {
        let (t, next) = ref(r, at, count);
        at := next;
        t;
      },
    );
    (types, at);
  };

  func fields(r : Reader.Reader, start : Nat32, count : Nat32) : ([Field], Nat32) {
    let (size, first) = Reader.leb(r, start);
    if (isTooMany(r, first, size, 2)) return ([], Reader.endsEarly(r));
    var at = first;
    var previous : Nat32 = 0;
    let members = Array.tabulate<Field>(
      Nat32.toNat(size),
      func i {
        let (hash, from) = Reader.leb(r, at);
        let (t, next) = ref(r, from, count);
        at := if (hash > previous or i == 0) next else Reader.fail(r, "field numbers that are not in order");
        previous := hash;
        { hash; ref = t };
      },
    );
    (members, at);
  };

  func skipAnnotations(r : Reader.Reader, start : Nat32) : Nat32 {
    let (size, first) = Reader.leb(r, start);
    let end = Reader.advance(r, first, size, 1);
    var at = first;
    while (at < end and Reader.ok(r)) {
      let annotation = Reader.byte(r, at);
      if (annotation < 1 or annotation > 3) ignore Reader.fail(r, "a func that is neither query, oneway nor composite_query");
      at +%= 1;
    };
    if (Reader.ok(r)) end else Reader.nowhere;
  };

  func methods(r : Reader.Reader, start : Nat32, count : Nat32) : ([Ref], Nat32) {
    let (size, first) = Reader.leb(r, start);
    if (isTooMany(r, first, size, 2)) return ([], Reader.endsEarly(r));
    var at = first;
    var previous = (first, first);
    let types = Array.tabulate<Ref>(
      Nat32.toNat(size),
      func i {
        let (_, from) = Reader.leb(r, at);
        let to = Reader.skipText(r, at);
        let (t, next) = ref(r, to, count);
        at := if (i == 0 or not Reader.ok(r) or isBefore(r.bytes, previous, (from, to))) next else Reader.fail(r, "methods of a service that are not in order");
        previous := (from, to);
        t;
      },
    );
    (types, at);
  };

  /// Whether one slice of the bytes comes before another in the order of their bytes.
  func isBefore(bytes : Blob, a : (Nat32, Nat32), b : (Nat32, Nat32)) : Bool {
    var i = a.0;
    var j = b.0;
    while (i < a.1 and j < b.1) {
      let left = bytes[Nat32.toNat(i)];
      let right = bytes[Nat32.toNat(j)];
      if (left != right) return left < right;
      i +%= 1;
      j +%= 1;
    };
    j < b.1;
  };

  /// Methods are of func types, which may stand further down in the table.
  func checkMethods(r : Reader.Reader, defs : [Def]) {
    for (def in defs.values()) {
      switch def {
        case (#service types) for (t in types.values()) switch (definition(defs, t)) {
          case (? #func_) {};
          case _ ignore Reader.fail(r, "a service whose method is " # name(defs, t));
        };
        case _ {};
      };
    };
  };

  // ---------------------------------------------------------------------------------------------------------------
  // Using

  /// The entry of a type; primitive types have none. O(1).
  public func definition(defs : [Def], t : Ref) : ?Def = if (t >= primitives) null else ?defs[Nat16.toNat(t)];

  /// A field of a record, or a tag of a variant. O(number of fields).
  public func member(members : [Field], hash : Nat32) : ?Field = Array.find<Field>(members, func m = m.hash == hash);

  /// What a type is, for a sentence. O(1).
  public func name(defs : [Def], t : Ref) : Text {
    switch (definition(defs, t)) {
      case (? #opt(_)) "an opt";
      case (? #vec(_)) "a vec";
      case (? #record(_)) "a record";
      case (? #variant(_)) "a variant";
      case (? #func_) "a func";
      case (? #service(_)) "a service";
      case (? #future) "a value of an unknown type";
      case null {
        let names = ["null", "a bool", "a nat", "an int", "a nat8", "a nat16", "a nat32", "a nat64", "an int8", "an int16", "an int32", "an int64", "a float32", "a float64", "a text", "a reserved value", "an empty value"];
        let i = Nat16.toNat(null_ -% t);
        if (i < names.size()) names[i] else "a principal";
      };
    };
  };

  // ---------------------------------------------------------------------------------------------------------------
  // Writing

  /// The type of entry `number`. O(1).
  public func entry(number : Nat) : Ref = Nat16.fromNat(number);

  /// Appends a type. O(1).
  public func writeRef(w : Bytes.Writer, t : Ref) {
    if (t >= primitives) return Bytes.byte(w, Nat16.toNat8(t & 0xff));
    // signed: the last group must not look negative
    var rest = t;
    while (rest >= 0x40) {
      Bytes.byte(w, Nat16.toNat8(rest & 0x7f | 0x80));
      rest >>= 7;
    };
    Bytes.byte(w, Nat16.toNat8(rest));
  };

  /// Appends the entry `variant { <hash> : <t> }`. O(1).
  public func writeVariant(w : Bytes.Writer, hash : Nat32, t : Ref) {
    Bytes.byte(w, 0x6b);
    Bytes.byte(w, 1);
    Bytes.leb128(w, Nat32.toNat(hash));
    writeRef(w, t);
  };

  /// Appends the entry of a tuple, `record { 0 : <t>; 1 : <t>; ... }`. O(number of types).
  public func writeTuple(w : Bytes.Writer, types : [Ref]) {
    Bytes.byte(w, 0x6c);
    Bytes.leb128(w, types.size());
    for (i in types.keys()) {
      Bytes.leb128(w, i);
      writeRef(w, types[i]);
    };
  };
};
