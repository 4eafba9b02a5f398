/// Building byte strings piece by piece.

import Blob "mo:core/Blob";
import Nat32 "mo:core/Nat32";
import Nat8 "mo:core/Nat8";
import VarArray "mo:core/VarArray";

module {
  public type Writer = { var bytes : [var Nat8]; var size : Nat };

  /// A writer that grows by itself; `capacity` saves the growing when the size is known.
  public func writer(capacity : Nat) : Writer = {
    var bytes = VarArray.repeat<Nat8>(0, capacity);
    var size = 0;
  };

  /// Amortized O(1).
  public func byte(w : Writer, value : Nat8) {
    let at = w.size;
    if (at == w.bytes.size()) grow(w, 1);
    w.bytes[at] := value;
    w.size := at + 1;
  };

  /// O(size of blob).
  public func blob(w : Writer, value : Blob) = slice(w, value, 0, value.size());

  /// Appends `value[from .. to)`. O(to - from).
  public func slice(w : Writer, value : Blob, from : Nat, to : Nat) {
    if (to <= from) return;
    let count = to - from : Nat;
    if (w.size + count > w.bytes.size()) grow(w, count);
    let bytes = w.bytes;
    let end = Nat32.fromNat(to);
    var i = Nat32.fromNat(from);
    var o = Nat32.fromNat(w.size);
    while (i < end) {
      bytes[Nat32.toNat(o)] := value[Nat32.toNat(i)];
      i +%= 1;
      o +%= 1;
    };
    w.size += count;
  };

  /// Appends `value` as LEB128. O(size).
  public func leb128(w : Writer, value : Nat) {
    var rest = value;
    while (rest >= 0x80) {
      byte(w, Nat8.fromNat(rest % 0x80 + 0x80));
      rest /= 0x80;
    };
    byte(w, Nat8.fromNat(rest));
  };

  /// What has been written so far. O(size).
  public func toBlob(w : Writer) : Blob {
    if (w.size == w.bytes.size()) return Blob.fromVarArray(w.bytes);
    let bytes = w.bytes;
    Blob.fromVarArray(VarArray.tabulate<Nat8>(w.size, func i = bytes[i]));
  };

  func grow(w : Writer, needed : Nat) {
    let old = w.bytes;
    var capacity = 2 * old.size() + 64;
    if (capacity < w.size + needed) capacity := w.size + needed;
    let bytes = VarArray.repeat<Nat8>(0, capacity);
    var i = 0;
    while (i < w.size) {
      bytes[i] := old[i];
      i += 1;
    };
    w.bytes := bytes;
  };
};
