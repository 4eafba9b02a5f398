/// Reads the bytes of Candid: numbers and texts, never past the end.
///
/// Positions are passed and returned, not kept: reading a variable of an object costs more than all the rest of a step.
/// The first error sticks. After it every position is `nowhere`, which lies past every end, so all reading fails and
/// numbers are 0.
///
/// As lenient as the runtimes that canisters are built with: LEB128 numbers may have zeros to spare, up to ten bytes in
/// all where it is a length or a type.

import Nat16 "mo:core/Nat16";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Nat8 "mo:core/Nat8";

module {
  /// `budget` is how many more steps may be taken that no byte stands for.
  public type Reader = { bytes : Blob; end : Nat32; var budget : Nat32; var error : ?Text };

  /// The position after an error.
  public let nowhere : Nat32 = 0x3fff_ffff;

  public func reader(bytes : Blob, end : Nat32, budget : Nat32) : Reader = {
    bytes;
    end;
    var budget;
    var error = null;
  };

  /// O(1).
  public func ok(r : Reader) : Bool = switch (r.error) { case null true; case _ false };

  /// Notes what is wrong with the bytes, unless something already is. O(1).
  public func fail(r : Reader, error : Text) : Nat32 = refuse(r, "not readable as Candid: " # error);

  /// Notes why readable bytes are not taken, unless they are not readable. O(1).
  public func refuse(r : Reader, error : Text) : Nat32 {
    if (ok(r)) r.error := ?error;
    nowhere;
  };

  /// O(1).
  public func endsEarly(r : Reader) : Nat32 {
    if (Nat32.toNat(r.end) < r.bytes.size()) fail(r, "its types take too many bytes") else fail(r, "it ends too early");
  };

  /// Takes steps that no byte stands for; false when that is too many. O(1).
  public func spend(r : Reader, steps : Nat32) : Bool {
    let budget = r.budget;
    if (budget < steps) {
      ignore fail(r, "too many values for its size");
      return false;
    };
    r.budget := budget -% steps;
    true;
  };

  /// The byte at `at`, for a position that a function of this module has not yet compared with the end. O(1).
  public func byte(r : Reader, at : Nat32) : Nat8 {
    if (at < r.end) return r.bytes[Nat32.toNat(at)];
    ignore endsEarly(r);
    0;
  };

  /// The position `size` bytes further on; `size` is at most 8. O(1).
  public func step(r : Reader, at : Nat32, size : Nat32) : Nat32 {
    let next = at +% size;
    if (next > r.end) endsEarly(r) else next;
  };

  /// The position `count` times `size` bytes further on; `size` is at least 1. O(1).
  public func advance(r : Reader, at : Nat32, count : Nat32, size : Nat32) : Nat32 {
    if (at > r.end or count > (r.end -% at) / size) endsEarly(r) else at +% count *% size;
  };

  /// A length, a count, an index or a field number, and the position after it. O(1).
  public func leb(r : Reader, at : Nat32) : (Nat32, Nat32) {
    if (at >= r.end) return (0, endsEarly(r));
    let first = r.bytes[Nat32.toNat(at)];
    if (first < 0x80) return (wide(first), at +% 1);
    var value = wide(first & 0x7f);
    var shift : Nat32 = 7;
    var next = at +% 1;
    while (shift < 70 and next < r.end) {
      let b = r.bytes[Nat32.toNat(next)];
      let bits = wide(b & 0x7f);
      if (shift > 28 and bits > 0 or shift == 28 and bits > 15) return tooLarge(r);
      value |= bits << shift;
      next +%= 1;
      if (b < 0x80) return (value, next);
      shift +%= 7;
    };
    if (shift < 70) (0, endsEarly(r)) else tooLarge(r);
  };

  func tooLarge(r : Reader) : (Nat32, Nat32) = (0, fail(r, "a number of more than 32 bits"));

  /// A type, as a number from -2^31 to 2^31-1, and the position after it. O(1).
  public func sleb(r : Reader, at : Nat32) : (Int, Nat32) {
    var value : Int = 0;
    var factor = 1;
    var next = at;
    var more = 10;
    while (more > 0 and next < r.end) {
      let b = Nat8.toNat(r.bytes[Nat32.toNat(next)]);
      value += (b % 0x80) * factor;
      factor *= 0x80;
      next +%= 1;
      if (b < 0x80) {
        if (b >= 0x40) value -= factor;
        if (value < -0x8000_0000 or value > 0x7fff_ffff) more := 1 else return (value, next);
      };
      more -= 1;
    };
    if (more > 0) (0, endsEarly(r)) else (0, fail(r, "a type number of more than 32 bits"));
  };

  /// The position after a nat or an int of any size. O(size).
  public func skipNumber(r : Reader, at : Nat32) : Nat32 {
    let bytes = r.bytes;
    let end = r.end;
    var next = at;
    while (next < end) {
      if (bytes[Nat32.toNat(next)] < 0x80) return next +% 1;
      next +%= 1;
    };
    endsEarly(r);
  };

  /// A nat, and the position after it; null when it is larger than 2^64-1. O(size).
  public func nat(r : Reader, at : Nat32) : (?Nat64, Nat32) {
    let after = skipNumber(r, at);
    if (after == nowhere) return (null, nowhere);
    var value : Nat64 = 0;
    var shift : Nat64 = 0;
    var i = at;
    while (i < after) {
      let bits = Nat64.fromNat(Nat8.toNat(r.bytes[Nat32.toNat(i)] & 0x7f));
      if (bits > 0) {
        if (shift > 63 or shift == 63 and bits > 1) return (null, after);
        value |= bits << shift;
      };
      // zeros to spare
      if (shift < 70) shift += 7;
      i +%= 1;
    };
    (?value, after);
  };

  /// A number of `size` bytes, at most 8, and the position after it. O(size).
  public func fixed(r : Reader, at : Nat32, size : Nat32) : (Nat64, Nat32) {
    let after = step(r, at, size);
    if (after == nowhere) return (0, nowhere);
    var value : Nat64 = 0;
    var i = after;
    while (i > at) {
      i -%= 1;
      value := value << 8 | Nat64.fromNat(Nat8.toNat(r.bytes[Nat32.toNat(i)]));
    };
    (value, after);
  };

  /// The position after a text. What is not UTF-8 is refused: a client that cannot read a text ends its connection.
  /// O(size).
  public func skipText(r : Reader, at : Nat32) : Nat32 {
    let (size, from) = leb(r, at);
    let to = advance(r, from, size, 1);
    if (to == nowhere or isUtf8(r.bytes, from, to)) to else fail(r, "a text that is not UTF-8");
  };

  /// Unicode, table 3-7 "Well-Formed UTF-8 Byte Sequences".
  func isUtf8(bytes : Blob, from : Nat32, to : Nat32) : Bool {
    var i = from;
    while (i < to) {
      let b = bytes[Nat32.toNat(i)];
      i +%= 1;
      if (b >= 0x80) {
        if (b < 0xc2 or b > 0xf4) return false;
        let more : Nat32 = if (b < 0xe0) 1 else if (b < 0xf0) 2 else 3;
        if (i +% more > to) return false;
        let at = Nat32.toNat(i);
        let second = bytes[at];
        let low : Nat8 = if (b == 0xe0) 0xa0 else if (b == 0xf0) 0x90 else 0x80;
        let high : Nat8 = if (b == 0xed) 0x9f else if (b == 0xf4) 0x8f else 0xbf;
        if (second < low or second > high) return false;
        if (more > 1 and bytes[at + 1] & 0xc0 != 0x80) return false;
        if (more > 2 and bytes[at + 2] & 0xc0 != 0x80) return false;
        i +%= more;
      };
    };
    true;
  };

  func wide(b : Nat8) : Nat32 = Nat32.fromNat16(Nat16.fromNat8(b));
};
