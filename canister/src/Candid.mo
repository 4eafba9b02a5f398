/// Candid of types known only at run time (https://github.com/dfinity/candid, spec/Candid.md): what the relay canister
/// does with messages whose types are the business of clients and targets.
///
/// Nothing is encoded anew. A result has the type table of the original, perhaps with an entry or two added to its end,
/// and the bytes of its values. All of the original is checked first (see CandidTypes and CandidValues); what is not
/// readable, or too much, is refused with a sentence. Nothing traps.

import Array "mo:core/Array";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat16 "mo:core/Nat16";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Bytes "Bytes";
import Reader "CandidReader";
import Types "CandidTypes";
import Values "CandidValues";

module {
  public type Result<T> = { #ok : T; #err : Text };

  public type Recipient = { #everybody; #client : Principal };
  public type Item = { content : Blob; recipient : Recipient };
  /// `next` is there when the feed names its cursors itself.
  public type Page = { items : [Item]; next : ?Nat };

  /// How many bytes of types the items of a page may repeat.
  public let maxPageTypeBytes = 8_388_608;

  // ---------------------------------------------------------------------------------------------------------------
  // Values known here

  /// The argument tuple `(nat)`. O(size).
  public func nat(value : Nat) : Blob = to_candid (value);

  /// The argument tuple `(principal, nat64)` of a hook. O(1).
  public func client(client : Principal, nonce : Nat64) : Blob = to_candid (client, nonce);

  /// The argument tuple `(variant { <tag> : text })`. O(size).
  public func variantText(tag : Text, text : Text) : Blob {
    let plain = to_candid (text);
    let w = Bytes.writer(plain.size() + 16);
    Bytes.blob(w, "DIDL\01");
    Types.writeVariant(w, hash(tag), Types.text);
    Bytes.blob(w, "\01\00\00");
    Bytes.slice(w, plain, plainStart, plain.size());
    Bytes.toBlob(w);
  };

  /// Where the value stands in an argument tuple of one value of a primitive type.
  let plainStart = 7;

  /// The number of a field or tag. A name of digits is that number, as in Candid's text format: the fields of a tuple
  /// are 0, 1 and so on. O(size of name).
  public func hash(name : Text) : Nat32 {
    let utf8 = Text.encodeUtf8(name);
    if (utf8.size() > 0 and utf8.size() <= 10 and utf8[0] <= 0x39) {
      switch (Nat.fromText(name)) {
        case (?number) if (number <= 0xffff_ffff and Nat.toText(number) == name) return Nat32.fromNat(number);
        case null {};
      };
    };
    var h : Nat32 = 0;
    for (b in utf8.vals()) h := h *% 223 +% Nat32.fromNat16(Nat16.fromNat8(b));
    h;
  };

  // ---------------------------------------------------------------------------------------------------------------
  // Messages and replies

  /// The number of values of an argument tuple. O(size).
  public func check(message : Blob) : Result<Nat> {
    let tuple = switch (Types.open(message)) {
      case (#err(e)) return #err(e);
      case (#ok(tuple)) tuple;
    };
    Values.skipRest(tuple, 0, tuple.start);
    result(tuple, tuple.args.size());
  };

  /// Puts the client in front: `(principal, <arguments>)`. O(size).
  public func prepend(client : Principal, arguments : Blob) : Result<Blob> {
    let tuple = switch (Types.open(arguments)) {
      case (#err(e)) return #err(e);
      case (#ok(tuple)) tuple;
    };
    Values.skipRest(tuple, 0, tuple.start);
    let { args } = tuple;
    let w = Bytes.writer(args.size() + 48);
    Bytes.leb128(w, args.size() + 1);
    Types.writeRef(w, Types.principal);
    for (t in args.values()) Types.writeRef(w, t);
    let plain = to_candid (client);
    Bytes.slice(w, plain, plainStart, plain.size());
    compose(tuple, 0, w, tuple.start, tuple.reader.end);
  };

  /// When the first value is a variant, the number of its tag and the argument tuple `(<payload>)`; null when it is
  /// something else. Further values are checked and dropped. O(size).
  public func payload(message : Blob) : Result<?{ tag : Nat32; argument : Blob }> {
    let tuple = switch (Types.open(message)) {
      case (#err(e)) return #err(e);
      case (#ok(tuple)) tuple;
    };
    let { reader; defs; args; start } = tuple;
    if (args.size() == 0) return #err("a message without a value");
    let ?#variant(tags) = Types.definition(defs, args[0]) else {
      Values.skipRest(tuple, 0, start);
      return result(tuple, null);
    };
    let (tag, from) = Values.tag(reader, tags, start);
    let to = Values.skip(reader, defs, tag.ref, from, 1);
    Values.skipRest(tuple, 1, to);
    let w = Bytes.writer(4);
    writeArgument(w, tag.ref);
    switch (compose(tuple, 0, w, from, to)) {
      case (#ok(argument)) #ok(?{ tag = tag.hash; argument });
      case (#err(e)) #err(e);
    };
  };

  /// Wraps a method's reply in a tag: `(variant { <tag> : R })`. R is the one value, null if there is none, and a tuple
  /// `record { 0; 1; ... }` if there are several. O(size).
  public func wrap(tag : Text, arguments : Blob) : Result<Blob> {
    let tuple = switch (Types.open(arguments)) {
      case (#err(e)) return #err(e);
      case (#ok(tuple)) tuple;
    };
    Values.skipRest(tuple, 0, tuple.start);
    let { args; defs } = tuple;
    let w = Bytes.writer(5 * args.size() + 24);
    if (args.size() <= 1) {
      writeTagged(w, tuple, tag, if (args.size() == 0) Types.null_ else args[0]);
      return compose(tuple, 1, w, tuple.start, tuple.reader.end);
    };
    Types.writeTuple(w, args);
    Types.writeVariant(w, hash(tag), Types.entry(defs.size()));
    writeArgument(w, Types.entry(defs.size() + 1));
    Bytes.byte(w, 0);
    compose(tuple, 2, w, tuple.start, tuple.reader.end);
  };

  /// The tag of an argument tuple that consists of one variant, and what `nat64` fields the tag's record has.
  /// This is all that is needed of a service message. O(size).
  public func variantOfNat64s(bytes : Blob) : Result<{ tag : Nat32; fields : [(Nat32, Nat64)] }> {
    let tuple = switch (Types.open(bytes)) {
      case (#err(e)) return #err(e);
      case (#ok(tuple)) tuple;
    };
    let { reader; defs; args; start } = tuple;
    if (args.size() == 0) return #err("no value where a variant is expected");
    let ?#variant(tags) = Types.definition(defs, args[0]) else return #err(Types.name(defs, args[0]) # " where a variant is expected");
    let (tag, from) = Values.tag(reader, tags, start);
    let fields = List.empty<(Nat32, Nat64)>();
    Values.skipRest(
      tuple,
      1,
      switch (Types.definition(defs, tag.ref)) {
        case (? #record(members)) {
          Values.readFields(
            reader,
            defs,
            members,
            from,
            1,
            func(member, at) {
              if (member.ref != Types.nat64) return null;
              let (value, next) = Reader.fixed(reader, at, 8);
              List.add(fields, (member.hash, value));
              ?next;
            },
          );
        };
        case _ Values.skip(reader, defs, tag.ref, from, 1);
      },
    );
    result(tuple, { tag = tag.hash; fields = List.toArray(fields) });
  };

  // ---------------------------------------------------------------------------------------------------------------
  // Feeds

  /// The reply of a feed's query, whose first value is a `vec T` or a `record { items : vec T; next : nat }`: each
  /// element becomes an argument tuple `(T)`, or with a tag `(variant { <tag> : T })`. With `recipient`, T is a record
  /// in which the field of this name says who the item is for: a principal, or an opt principal where null is everybody.
  /// `next` may also be a nat8, nat16, nat32 or nat64. At most `maxItems` elements are taken, and `maxPageTypeBytes` of
  /// types in all of them. O(size of reply + elements * size of the type table).
  public func page(reply : Blob, maxItems : Nat, tag : ?Text, recipient : ?Text) : Result<Page> {
    let tuple = switch (Types.open(reply)) {
      case (#err(e)) return #err(e);
      case (#ok(tuple)) tuple;
    };
    let { reader; defs; args; start } = tuple;
    if (args.size() == 0) return #err("no value where a vec of items is expected");
    let items : Items = { maxItems; tag; recipient; found = List.empty(); var header = "" };
    var next : ?Nat64 = null;
    switch (Types.definition(defs, args[0])) {
      case (? #vec(element)) Values.skipRest(tuple, 1, readItems(tuple, items, element, start, 0));
      case (? #record(members)) {
        let itemsMember = Types.member(members, itemsField);
        if (itemsMember == null) return #err("a record without a field items where a vec of items is expected");
        if (Types.member(members, nextField) == null) return #err("a record with items but without a field next : nat");
        let end = Values.readFields(
          reader,
          defs,
          members,
          start,
          0,
          func(member, at) {
            if (member.hash == nextField) {
              let (cursor, after) = readCursor(tuple, member.ref, at);
              next := cursor;
              return ?after;
            };
            if (member.hash != itemsField) return null;
            switch (Types.definition(defs, member.ref)) {
              case (? #vec(element)) ?readItems(tuple, items, element, at, 1);
              case _ ?Reader.refuse(reader, "in the field items, " # Types.name(defs, member.ref) # " where a vec is expected");
            };
          },
        );
        Values.skipRest(tuple, 1, end);
      };
      case _ return #err(Types.name(defs, args[0]) # " where a vec of items is expected");
    };
    switch (reader.error) {
      case (?e) #err(e);
      case null #ok({
        items = Array.map<(Nat32, Nat32, Recipient), Item>(
          List.toArray(items.found),
          func(from, to, recipient) = { content = join(items.header, reply, from, to); recipient },
        );
        next = switch next { case (?n) ?Nat64.toNat(n); case null null };
      });
    };
  };

  let itemsField : Nat32 = 3_255_610_368; // hash("items")
  let nextField : Nat32 = 1_224_901_875; // hash("next")

  /// What is wanted of the items, and what has been found: where each begins and ends, whom it is for, and what stands
  /// in front of each of them.
  type Items = {
    maxItems : Nat;
    tag : ?Text;
    recipient : ?Text;
    found : List.List<(Nat32, Nat32, Recipient)>;
    var header : Blob;
  };

  func readCursor(tuple : Types.Tuple, t : Types.Ref, at : Nat32) : (?Nat64, Nat32) {
    let { reader; defs } = tuple;
    if (t == Types.nat) {
      let (cursor, next) = Reader.nat(reader, at);
      return (cursor, if (cursor == null) Reader.refuse(reader, "in the field next, a nat of more than 64 bits") else next);
    };
    if (t <= Types.nat8 and t >= Types.nat64) {
      let (cursor, next) = Reader.fixed(reader, at, 1 << Nat32.fromNat16(Types.nat8 - t));
      return (?cursor, next);
    };
    (null, Reader.refuse(reader, "in the field next, " # Types.name(defs, t) # " where a nat is expected"));
  };

  /// The elements of a vec that stands `depth` deep.
  func readItems(tuple : Types.Tuple, items : Items, element : Types.Ref, at : Nat32, depth : Nat32) : Nat32 {
    let { reader; defs } = tuple;
    let w = Bytes.writer(24);
    switch (items.tag) {
      case (?tag) writeTagged(w, tuple, tag, element);
      case null writeArgument(w, element);
    };
    items.header := switch (compose(tuple, switch (items.tag) { case null 0; case _ 1 }, w, 0, 0)) {
      case (#ok(header)) header;
      case (#err(e)) return Reader.refuse(reader, e);
    };
    let addressed = recipientOf(tuple, items, element);
    let (length, first) = Reader.leb(reader, at);
    if (Nat32.toNat(length) > items.maxItems) return Reader.refuse(reader, "a vec of " # Nat32.toText(length) # " items, at most " # Nat.toText(items.maxItems) # " are taken at a time");
    if (Nat32.toNat(length) * items.header.size() > maxPageTypeBytes) return Reader.refuse(reader, "the type table is too large for so many items");
    var next = first;
    var i : Nat32 = 0;
    while (i < length and Reader.ok(reader)) {
      let from = next;
      var recipient : Recipient = #everybody;
      next := switch addressed {
        case null Values.skip(reader, defs, element, from, depth + 1);
        case (?(members, field)) Values.readFields(
          reader,
          defs,
          members,
          from,
          depth + 1,
          func(member, at) {
            if (member.hash != field) return null;
            let (to, after) = readRecipient(reader, member.ref, at);
            recipient := to;
            ?after;
          },
        );
      };
      List.add(items.found, (from, next, recipient));
      i +%= 1;
    };
    next;
  };

  /// The fields of T and which of them names the recipient, if one is to.
  func recipientOf(tuple : Types.Tuple, items : Items, element : Types.Ref) : ?([Types.Field], Nat32) {
    let { reader; defs } = tuple;
    let ?name = items.recipient else return null;
    // what some encoders take for the type of a vec without elements
    if (element == Types.empty) return null;
    let ?#record(members) = Types.definition(defs, element) else {
      ignore Reader.refuse(reader, "an item is " # Types.name(defs, element) # " where a record with the field " # name # " is expected");
      return null;
    };
    let ?member = Types.member(members, hash(name)) else {
      ignore Reader.refuse(reader, "an item is a record without the field " # name);
      return null;
    };
    let found = switch (Types.definition(defs, member.ref)) {
      case (? #opt(inner)) if (inner == Types.principal) "" else "an opt whose value is " # Types.name(defs, inner);
      case _ if (member.ref == Types.principal) "" else Types.name(defs, member.ref);
    };
    if (found != "") ignore Reader.refuse(reader, "in the field " # name # " of an item, " # found # " where a principal or an opt principal is expected");
    ?(members, member.hash);
  };

  /// A principal or an opt principal.
  func readRecipient(reader : Reader.Reader, t : Types.Ref, at : Nat32) : (Recipient, Nat32) {
    let (isNamed, start) = if (t == Types.principal) (true, at) else Values.opt(reader, at);
    if (not isNamed) return (#everybody, start);
    let (from, to) = Values.principal(reader, start);
    if (to == Reader.nowhere) return (#everybody, to);
    (#client(Principal.fromBlob(join("", reader.bytes, from, to))), to);
  };

  // ---------------------------------------------------------------------------------------------------------------
  // Composing

  func result<T>({ reader } : Types.Tuple, value : T) : Result<T> = switch (reader.error) {
    case (?e) #err(e);
    case null #ok(value);
  };

  /// If nothing was wrong with the original: its type table and the further entries, types of arguments and values that
  /// `w` begins with, and its bytes `from` to `to`.
  func compose({ reader; defs; tableStart; tableEnd } : Types.Tuple, entries : Nat, middle : Bytes.Writer, from : Nat32, to : Nat32) : Result<Blob> {
    switch (reader.error) {
      case (?e) return #err(e);
      case null {};
    };
    let count = defs.size() + entries;
    let table = Nat32.toNat(tableEnd - tableStart);
    let head = (if (count < 0x80) 5 else 6) + table + middle.size;
    if (count > Types.maxTypes or head > Types.maxTypeBytes) return #err("too many types to add anything");
    let w = Bytes.writer(head + Nat32.toNat(to - from));
    Bytes.blob(w, "DIDL");
    Bytes.leb128(w, count);
    Bytes.slice(w, reader.bytes, Nat32.toNat(tableStart), Nat32.toNat(tableEnd));
    Bytes.blob(w, Bytes.toBlob(middle));
    Bytes.slice(w, reader.bytes, Nat32.toNat(from), Nat32.toNat(to));
    #ok(Bytes.toBlob(w));
  };

  /// One further entry `variant { <tag> : <t> }`, and the beginning of an argument of this type.
  func writeTagged(w : Bytes.Writer, { defs } : Types.Tuple, tag : Text, t : Types.Ref) {
    Types.writeVariant(w, hash(tag), t);
    writeArgument(w, Types.entry(defs.size()));
    Bytes.byte(w, 0);
  };

  func writeArgument(w : Bytes.Writer, t : Types.Ref) {
    Bytes.byte(w, 1);
    Types.writeRef(w, t);
  };

  func join(header : Blob, bytes : Blob, from : Nat32, to : Nat32) : Blob {
    let w = Bytes.writer(header.size() + Nat32.toNat(to - from));
    Bytes.blob(w, header);
    Bytes.slice(w, bytes, Nat32.toNat(from), Nat32.toNat(to));
    Bytes.toBlob(w);
  };
};
