/// Goes past Candid values of types known only at run time, and checks them.
///
/// The work is bounded: nesting by `maxDepth`, and values that take no bytes by the reader's budget.

import Nat16 "mo:core/Nat16";
import Nat32 "mo:core/Nat32";
import Reader "CandidReader";
import Types "CandidTypes";

module {
  /// Values nested deeper than this are refused. What skips them recurs, and a stack has its limits.
  public let maxDepth : Nat32 = 1_000;

  /// Sizes of the primitive types from null on; 255 for those that have none, or need a look.
  let sizes : [Nat32] = [0, 255, 255, 255, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 255, 0];

  func sizeOf(t : Types.Ref) : Nat32 {
    if (t < Types.primitives) return 255;
    let i = Nat16.toNat(Types.null_ -% t);
    if (i < sizes.size()) sizes[i] else 255;
  };

  /// The position after a value that stands `depth` deep in an argument. O(its size); O(1) for numbers of a fixed size in
  /// a vec, thus for blobs.
  public func skip(r : Reader.Reader, defs : [Types.Def], t : Types.Ref, at : Nat32, depth : Nat32) : Nat32 {
    if (t >= Types.primitives) return skipPrimitive(r, t, at);
    if (depth > maxDepth) return Reader.fail(r, "values nested deeper than " # Nat32.toText(maxDepth));
    switch (defs[Nat16.toNat(t)]) {
      case (#opt(inner)) {
        let (isSome, next) = opt(r, at);
        if (isSome) skip(r, defs, inner, next, depth +% 1) else next;
      };
      case (#vec(inner)) {
        let (length, first) = Reader.leb(r, at);
        let size = sizeOf(inner);
        if (size == 0) return if (Reader.spend(r, length)) first else Reader.nowhere;
        if (size != 255) return Reader.advance(r, first, length, size);
        var next = first;
        var i : Nat32 = 0;
        while (i < length) {
          next := skip(r, defs, inner, next, depth +% 1);
          if (next == Reader.nowhere) return next;
          i +%= 1;
        };
        next;
      };
      case (#record(members)) skipFields(r, defs, members, at, depth);
      case (#variant(members)) {
        let (member, next) = tag(r, members, at);
        skip(r, defs, member.ref, next, depth +% 1);
      };
      case (#func_) {
        if (Reader.byte(r, at) != 1) return opaque(r);
        let (_, service) = principal(r, at +% 1);
        Reader.skipText(r, service);
      };
      case (#service(_)) {
        let (_, next) = principal(r, at);
        next;
      };
      case (#future) {
        let (size, references) = Reader.leb(r, at);
        let (count, from) = Reader.leb(r, references);
        if (count > 0) opaque(r) else Reader.advance(r, from, size, 1);
      };
    };
  };

  func skipFields(r : Reader.Reader, defs : [Types.Def], members : [Types.Field], at : Nat32, depth : Nat32) : Nat32 {
    if (not Reader.spend(r, Nat32.fromNat(members.size()) +% 1)) return Reader.nowhere;
    var next = at;
    for (member in members.values()) {
      next := skip(r, defs, member.ref, next, depth +% 1);
      // the fields that follow an error would be looked at on every level
      if (next == Reader.nowhere) return next;
    };
    next;
  };

  /// The position after a record that stands `depth` deep. `read` is asked first, and gives the position after a field
  /// that it knows. O(size of record).
  public func readFields(r : Reader.Reader, defs : [Types.Def], members : [Types.Field], at : Nat32, depth : Nat32, read : (Types.Field, Nat32) -> ?Nat32) : Nat32 {
    if (not Reader.spend(r, Nat32.fromNat(members.size()) +% 1)) return Reader.nowhere;
    var next = at;
    for (member in members.values()) {
      next := switch (read(member, next)) {
        case (?after) after;
        case null skip(r, defs, member.ref, next, depth +% 1);
      };
      if (next == Reader.nowhere) return next;
    };
    next;
  };

  func skipPrimitive(r : Reader.Reader, t : Types.Ref, at : Nat32) : Nat32 {
    switch t {
      case 0xff71 Reader.skipText(r, at);
      case (0xff7d or 0xff7c) Reader.skipNumber(r, at);
      case 0xff68 {
        let (_, next) = principal(r, at);
        next;
      };
      case 0xff7e {
        if (Reader.byte(r, at) > 1) return Reader.fail(r, "a bool that is neither true nor false");
        Reader.step(r, at, 1);
      };
      case 0xff6f Reader.fail(r, "a value of type empty");
      case _ Reader.step(r, at, sizeOf(t));
    };
  };

  /// Goes past the arguments from number `from` on, the first of which stands at `at`; they have to be the last bytes.
  /// O(their size).
  public func skipRest(t : Types.Tuple, from : Nat, at : Nat32) {
    let r = t.reader;
    var next = at;
    var i = from;
    while (i < t.args.size() and next != Reader.nowhere) {
      next := skip(r, t.defs, t.args[i], next, 0);
      i += 1;
    };
    if (next != r.end) ignore Reader.fail(r, "bytes are left over at its end");
  };

  /// A principal: where its own bytes begin and where they end. O(1).
  public func principal(r : Reader.Reader, at : Nat32) : (Nat32, Nat32) {
    if (Reader.byte(r, at) != 1) return (Reader.nowhere, opaque(r));
    let (size, from) = Reader.leb(r, at +% 1);
    if (size > 29) (Reader.nowhere, Reader.fail(r, "a principal of more than 29 bytes")) else (from, Reader.advance(r, from, size, 1));
  };

  /// Whether an opt has a value, and the position after what says so. O(1).
  public func opt(r : Reader.Reader, at : Nat32) : (Bool, Nat32) {
    let b = Reader.byte(r, at);
    if (b > 1) return (false, Reader.fail(r, "an opt that is neither null nor a value"));
    (b == 1, Reader.step(r, at, 1));
  };

  /// Which tag of a variant follows, and the position after what says so. O(1).
  public func tag(r : Reader.Reader, members : [Types.Field], at : Nat32) : (Types.Field, Nat32) {
    let (i, next) = Reader.leb(r, at);
    if (Nat32.toNat(i) < members.size()) return (members[Nat32.toNat(i)], next);
    ({ hash = 0; ref = Types.null_ }, Reader.fail(r, "a variant's tag number is out of range"));
  };

  /// A reference that only the system understands.
  func opaque(r : Reader.Reader) : Nat32 = Reader.fail(r, "an opaque reference");
};
