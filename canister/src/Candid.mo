/// Candid of types known only at run time (https://github.com/dfinity/candid, spec/Candid.md).
///
/// The bytes come from clients and from other canisters, so nothing about them is taken for granted: nesting is
/// bounded by `maxDepth`, the number of types by `maxTypes`, and all steps together by a budget. Bytes that are not
/// Candid, or too much of it, are refused with a sentence; nothing traps.

import Blob "mo:core/Blob";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat8 "mo:core/Nat8";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Int "mo:core/Int";
import Text "mo:core/Text";
import Bytes "Bytes";

module {
  public type Result<T> = { #ok : T; #err : Text };

  /// Values nested deeper than this are refused.
  public let maxDepth = 1_000;
  /// A type table with more entries is refused.
  public let maxTypes = 10_000;

  /// How many bytes of type tables the parts of a vec may repeat.
  public let maxSplitBytes = 8_388_608;

  /// A type: an opcode of a primitive type (negative) or the number of an entry of the type table.
  type Ref = Int;

  type Field = { hash : Nat32; ref : Ref };

  type Def = {
    #opt : Ref;
    #vec : Ref;
    #record : [Field];
    #variant : [Field];
    #func_;
    #service;
    #future;
  };

  /// The first error sticks: after it, reading gives zeros and every loop ends.
  type Reader = { bytes : Blob; var at : Nat; var budget : Nat; var error : ?Text };

  /// An argument tuple whose type table has been read. The values start at `reader.at`.
  type Tuple = { reader : Reader; defs : [Def]; tableEnd : Nat; args : [Ref] };

  // ---------------------------------------------------------------------------------------------------------------
  // What the relay canister does with Candid

  /// The argument tuple `(nat)`.
  public func nat(value : Nat) : Blob {
    let w = Bytes.writer(16);
    Bytes.blob(w, "DIDL\00\01\7d");
    Bytes.leb128(w, value);
    Bytes.toBlob(w);
  };

  /// Splits an argument tuple that starts with a `vec T` into one argument tuple `(T)` per element. All of them have
  /// the type table of the original, so nothing is re-encoded. At most `maxItems` elements are accepted.
  /// O(size of bytes + elements * size of the type table).
  public func splitVec(bytes : Blob, maxItems : Nat) : Result<[Blob]> {
    let tuple = switch (open(bytes)) {
      case (#ok(tuple)) tuple;
      case (#err(e)) return #err(e);
    };
    let { reader; defs } = tuple;
    if (tuple.args.size() == 0) return #err("no value where a vec is expected");
    let element = switch (definition(defs, tuple.args[0])) {
      case (? #vec(element)) element;
      case _ return #err(typeName(defs, tuple.args[0]) # " where a vec is expected");
    };

    let length = leb(reader);
    if (length > maxItems) fail(reader, "a vec of " # Nat.toText(length) # " elements, at most " # Nat.toText(maxItems) # " are taken at a time");
    if (length * (tuple.tableEnd + 12) > maxSplitBytes) fail(reader, "the type table is too large for so many elements");
    let bounds = List.empty<(Nat, Nat)>();
    var i = 0;
    while (i < length and ok(reader)) {
      let start = reader.at;
      skip(reader, defs, element, 0);
      List.add(bounds, (start, reader.at));
      i += 1;
    };
    i := 1;
    while (i < tuple.args.size()) {
      skip(reader, defs, tuple.args[i], 0);
      i += 1;
    };
    finish(reader);
    switch (reader.error) {
      case (?e) return #err(e);
      case null {};
    };

    let items = List.empty<Blob>();
    for ((start, end) in List.values(bounds)) {
      let w = Bytes.writer(tuple.tableEnd + 12 + end - start : Nat);
      Bytes.slice(w, bytes, 0, tuple.tableEnd);
      Bytes.byte(w, 1);
      writeRef(w, element);
      Bytes.slice(w, bytes, start, end);
      List.add(items, Bytes.toBlob(w));
    };
    #ok(List.toArray(items));
  };

  /// The tag of an argument tuple that consists of one variant, and what `nat64` fields the tag's record has.
  /// This is all that is needed of a service message. O(size of bytes).
  public func variantOfNat64s(bytes : Blob) : Result<{ tag : Nat32; fields : [(Nat32, Nat64)] }> {
    let { reader; defs; args } = switch (open(bytes)) {
      case (#ok(tuple)) tuple;
      case (#err(e)) return #err(e);
    };
    if (args.size() == 0) return #err("no value where a variant is expected");
    let tags = switch (definition(defs, args[0])) {
      case (? #variant(tags)) tags;
      case _ return #err(typeName(defs, args[0]) # " where a variant is expected");
    };
    let index = leb(reader);
    if (index >= tags.size()) {
      fail(reader, "a variant's tag number is out of range");
      return #err(errorOf(reader));
    };
    let tag = tags[index];
    let fields = List.empty<(Nat32, Nat64)>();
    switch (definition(defs, tag.ref)) {
      case (? #record(members)) {
        for (member in members.values()) {
          if (not ok(reader)) return #err(errorOf(reader));
          let start = reader.at;
          skip(reader, defs, member.ref, 1);
          if (member.ref == nat64Ref and ok(reader)) List.add(fields, (member.hash, littleEndian(bytes, start)));
        };
      };
      case _ skip(reader, defs, tag.ref, 1);
    };
    var i = 1;
    while (i < args.size()) {
      skip(reader, defs, args[i], 0);
      i += 1;
    };
    finish(reader);
    switch (reader.error) {
      case (?e) #err(e);
      case null #ok({ tag = tag.hash; fields = List.toArray(fields) });
    };
  };

  /// The number of a field or tag. O(size of label).
  public func hash(name : Text) : Nat32 {
    var h : Nat32 = 0;
    for (b in Text.encodeUtf8(name).vals()) h := h *% 223 +% Nat32.fromNat(Nat8.toNat(b));
    h;
  };

  // ---------------------------------------------------------------------------------------------------------------
  // The type table

  let nat64Ref : Ref = -8;
  let emptyRef : Ref = -17;
  let principalRef : Ref = -24;

  /// Reads the magic bytes, the type table and the types of the arguments.
  func open(bytes : Blob) : Result<Tuple> {
    // every byte of a value can start at most a few nested types; more steps are only possible with values of no size
    let r : Reader = { bytes; var at = 0; var budget = 16 * bytes.size() + 10_000; var error = null };
    if (bytes.size() < 4 or bytes[0] != 0x44 or bytes[1] != 0x49 or bytes[2] != 0x44 or bytes[3] != 0x4c) {
      return #err("not Candid: it does not start with DIDL");
    };
    r.at := 4;
    let count = leb(r);
    if (count > maxTypes) fail(r, "more than " # Nat.toText(maxTypes) # " types");
    let defs = List.empty<Def>();
    var i = 0;
    while (i < count and ok(r)) {
      List.add(defs, def(r, count));
      i += 1;
    };
    let tableEnd = r.at;
    let argCount = leb(r);
    let args = List.empty<Ref>();
    i := 0;
    while (i < argCount and ok(r)) {
      List.add(args, ref(r, count));
      i += 1;
    };
    switch (r.error) {
      case (?e) #err(e);
      case null #ok({
        reader = r;
        defs = List.toArray(defs);
        tableEnd;
        args = List.toArray(args);
      });
    };
  };

  func def(r : Reader, count : Nat) : Def {
    step(r, 1);
    let op = sleb(r);
    if (op == -18) return #opt(ref(r, count));
    if (op == -19) return #vec(ref(r, count));
    if (op == -20) return #record(fields(r, count));
    if (op == -21) return #variant(fields(r, count));
    if (op == -22) {
      // arguments, results, annotations
      refs(r, count);
      refs(r, count);
      let annotations = leb(r);
      var i = 0;
      while (i < annotations and ok(r)) {
        ignore byte(r);
        i += 1;
      };
      return #func_;
    };
    if (op == -23) {
      let methods = leb(r);
      var i = 0;
      while (i < methods and ok(r)) {
        step(r, 1);
        advance(r, leb(r));
        ignore ref(r, count);
        i += 1;
      };
      return #service;
    };
    if (op < -24) {
      // a type of a later version of Candid carries its size
      advance(r, leb(r));
      return #future;
    };
    fail(r, "type " # Int.toText(op) # " in the type table");
    #future;
  };

  func refs(r : Reader, count : Nat) {
    let n = leb(r);
    var i = 0;
    while (i < n and ok(r)) {
      ignore ref(r, count);
      i += 1;
    };
  };

  func ref(r : Reader, count : Nat) : Ref {
    step(r, 1);
    let t = sleb(r);
    if (t >= count or (t < emptyRef and t != principalRef)) fail(r, "type " # Int.toText(t) # " does not exist");
    t;
  };

  func fields(r : Reader, count : Nat) : [Field] {
    let n = leb(r);
    let list = List.empty<Field>();
    var previous : Int = -1;
    var i = 0;
    while (i < n and ok(r)) {
      let h = leb(r);
      if (h <= previous or h > 0xffff_ffff) fail(r, "field numbers are not in order");
      previous := h;
      let t = ref(r, count);
      if (ok(r)) List.add(list, { hash = Nat32.fromNat(h); ref = t });
      i += 1;
    };
    List.toArray(list);
  };

  func definition(defs : [Def], t : Ref) : ?Def {
    if (t < 0) null else ?defs[Int.abs(t)];
  };

  func typeName(defs : [Def], t : Ref) : Text {
    switch (definition(defs, t)) {
      case (? #opt(_)) "an opt";
      case (? #vec(_)) "a vec";
      case (? #record(_)) "a record";
      case (? #variant(_)) "a variant";
      case (? #func_) "a func";
      case (? #service) "a service";
      case (? #future) "a value of an unknown type";
      case null {
        let names = ["null", "a bool", "a nat", "an int", "a nat8", "a nat16", "a nat32", "a nat64", "an int8", "an int16", "an int32", "an int64", "a float32", "a float64", "a text", "a reserved value", "an empty value"];
        let i = Int.abs(t + 1);
        if (i < names.size()) names[i] else "a principal";
      };
    };
  };

  // ---------------------------------------------------------------------------------------------------------------
  // Values

  /// Sizes of the primitive types with a fixed size, by -1 - opcode; 255 for the others.
  let sizes : [Nat] = [0, 1, 255, 255, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 255, 0];

  func skip(r : Reader, defs : [Def], t : Ref, depth : Nat) {
    step(r, 1);
    if (depth > maxDepth) return fail(r, "values nested deeper than " # Nat.toText(maxDepth));
    if (not ok(r)) return;
    if (t < 0) return skipPrimitive(r, Int.abs(t));
    switch (defs[Int.abs(t)]) {
      case (#opt(inner)) {
        switch (byte(r)) {
          case 0 {};
          case 1 skip(r, defs, inner, depth + 1);
          case _ fail(r, "an opt that is neither null nor a value");
        };
      };
      case (#vec(inner)) {
        let length = leb(r);
        if (inner < 0 and -inner <= sizes.size() and sizes[Int.abs(inner) - 1 : Nat] != 255 and inner != -2) {
          // a blob in one step, and values of no size without a loop
          return advance(r, length * sizes[Int.abs(inner) - 1 : Nat]);
        };
        var i = 0;
        while (i < length and ok(r)) {
          skip(r, defs, inner, depth + 1);
          i += 1;
        };
      };
      case (#record(members)) {
        for (member in members.values()) {
          // what follows an error would be looked at once for each field of each level
          if (not ok(r)) return;
          skip(r, defs, member.ref, depth + 1);
        };
      };
      case (#variant(members)) {
        let i = leb(r);
        if (i >= members.size()) return fail(r, "a variant's tag number is out of range");
        skip(r, defs, members[i].ref, depth + 1);
      };
      case (#func_) {
        if (byte(r) != 1) return fail(r, "an opaque reference");
        skipPrincipal(r);
        skipText(r);
      };
      case (#service) skipPrincipal(r);
      case (#future) {
        let size = leb(r);
        ignore leb(r);
        advance(r, size);
      };
    };
  };

  func skipPrimitive(r : Reader, op : Nat) {
    if (op == 24) return skipPrincipal(r);
    if (op == 15) return skipText(r);
    if (op == 17) return fail(r, "a value of type empty");
    if (op == 2) {
      if (byte(r) > 1) fail(r, "a bool that is neither true nor false");
      return;
    };
    if (op == 3 or op == 4) {
      while (byte(r) >= 0x80) step(r, 1);
      return;
    };
    advance(r, sizes[op - 1 : Nat]);
  };

  func skipPrincipal(r : Reader) {
    if (byte(r) != 1) return fail(r, "an opaque reference");
    let size = leb(r);
    if (size > 29) return fail(r, "a principal of more than 29 bytes");
    advance(r, size);
  };

  /// Texts are checked: a client that cannot read one ends its connection.
  func skipText(r : Reader) {
    let size = leb(r);
    let from = r.at;
    advance(r, size);
    if (ok(r) and not isUtf8(r.bytes, from, r.at)) fail(r, "a text that is not UTF-8");
  };

  /// Unicode, table 3-7 "Well-Formed UTF-8 Byte Sequences".
  func isUtf8(bytes : Blob, from : Nat, to : Nat) : Bool {
    var i = from;
    while (i < to) {
      let b = bytes[i];
      i += 1;
      if (b >= 0x80) {
        if (b < 0xc2 or b > 0xf4) return false;
        let more = if (b < 0xe0) 1 else if (b < 0xf0) 2 else 3;
        if (i + more > to) return false;
        let second = bytes[i];
        let low : Nat8 = if (b == 0xe0) 0xa0 else if (b == 0xf0) 0x90 else 0x80;
        let high : Nat8 = if (b == 0xed) 0x9f else if (b == 0xf4) 0x8f else 0xbf;
        if (second < low or second > high) return false;
        if (more > 1 and bytes[i + 1] & 0xc0 != 0x80) return false;
        if (more > 2 and bytes[i + 2] & 0xc0 != 0x80) return false;
        i += more;
      };
    };
    true;
  };

  func writeRef(w : Bytes.Writer, t : Ref) {
    if (t < 0) return Bytes.byte(w, Nat8.fromNat(Int.abs(t + 0x80)));
    // signed: the last group must not look negative
    var rest = Int.abs(t);
    while (rest >= 0x40) {
      Bytes.byte(w, Nat8.fromNat(rest % 0x80 + 0x80));
      rest /= 0x80;
    };
    Bytes.byte(w, Nat8.fromNat(rest));
  };

  // ---------------------------------------------------------------------------------------------------------------
  // Bytes

  func ok(r : Reader) : Bool = r.error == null;

  func errorOf(r : Reader) : Text = switch (r.error) { case (?e) e; case null "" };

  func fail(r : Reader, error : Text) {
    if (r.error == null) r.error := ?("not readable as Candid: " # error);
  };

  func step(r : Reader, cost : Nat) {
    if (r.budget < cost) { fail(r, "too many values for its size") } else r.budget -= cost;
  };

  func byte(r : Reader) : Nat8 {
    if (r.error != null) return 0;
    if (r.at >= r.bytes.size()) {
      fail(r, "it ends too early");
      return 0;
    };
    let b = r.bytes[r.at];
    r.at += 1;
    b;
  };

  func advance(r : Reader, count : Nat) {
    if (r.error != null) return;
    if (count > (r.bytes.size() - r.at : Nat)) return fail(r, "it ends too early");
    r.at += count;
  };

  /// A length, count or index: at most 32 bits make sense in bytes of at most a few megabytes.
  func leb(r : Reader) : Nat {
    var value = 0;
    var factor = 1;
    loop {
      let b = Nat8.toNat(byte(r));
      value += (b % 0x80) * factor;
      if (value > 0xffff_ffff) {
        fail(r, "a length of more than 32 bits");
        return 0;
      };
      if (b < 0x80) return if (ok(r)) value else 0;
      if (factor > 0xffff_ffff) {
        fail(r, "a length of more than 32 bits");
        return 0;
      };
      factor *= 0x80;
    };
  };

  func sleb(r : Reader) : Int {
    var value : Int = 0;
    var factor = 1;
    loop {
      let b = Nat8.toNat(byte(r));
      value += (b % 0x80) * factor;
      factor *= 0x80;
      if (b < 0x80) {
        if (not ok(r)) return 0;
        return if (b >= 0x40) value - factor else value;
      };
      if (factor > 0xffff_ffff) {
        fail(r, "a type number of more than 32 bits");
        return 0;
      };
    };
  };

  func littleEndian(bytes : Blob, at : Nat) : Nat64 {
    var value : Nat64 = 0;
    var i = 8;
    while (i > 0) {
      i -= 1;
      value := value << 8 | Nat64.fromNat(Nat8.toNat(bytes[at + i]));
    };
    value;
  };

  func finish(r : Reader) {
    if (ok(r) and r.at != r.bytes.size()) fail(r, "bytes are left over at its end");
  };
};
