/// The CBOR that clients and gateways read: messages and hash trees (RFC 8949, definite lengths).

import Blob "mo:core/Blob";
import Nat "mo:core/Nat";
import Nat8 "mo:core/Nat8";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Bytes "Bytes";
import Types "Types";

module {
  /// The encoding of a message towards a client: a self-described map with the fields in the order of the type.
  /// The writer's `bytes[0 .. size)` are the encoding, so that it can be hashed without a copy. O(size).
  public func message(m : Types.WebsocketMessage) : Bytes.Writer {
    let w = Bytes.writer(m.content.size() + 192);
    selfDescribe(w);
    head(w, map, 5);
    text(w, "client_key");
    head(w, map, 2);
    text(w, "client_principal");
    bytes(w, Principal.toBlob(m.client_key.client_principal));
    text(w, "client_nonce");
    uint(w, m.client_key.client_nonce);
    text(w, "sequence_num");
    uint(w, m.sequence_num);
    text(w, "timestamp");
    uint(w, m.timestamp);
    text(w, "is_service_message");
    Bytes.byte(w, if (m.is_service_message) 0xf5 else 0xf4);
    text(w, "content");
    bytes(w, m.content);
    w;
  };

  /// Tag 55799.
  public func selfDescribe(w : Bytes.Writer) = Bytes.blob(w, "\d9\d9\f7");

  /// `[1, left, right]`: the two subtrees must be written next.
  public func fork(w : Bytes.Writer) = Bytes.blob(w, "\83\01");

  /// `[2, label, subtree]`: the subtree must be written next.
  public func labeled(w : Bytes.Writer, label_ : Blob) {
    Bytes.blob(w, "\83\02");
    bytes(w, label_);
  };

  /// `[3, value]`.
  public func leaf(w : Bytes.Writer, value : Blob) {
    Bytes.blob(w, "\82\03");
    bytes(w, value);
  };

  /// `[4, hash]`.
  public func pruned(w : Bytes.Writer, hash : Blob) {
    Bytes.blob(w, "\82\04");
    bytes(w, hash);
  };

  let map : Nat8 = 0xa0;

  func text(w : Bytes.Writer, value : Text) {
    let utf8 = Text.encodeUtf8(value);
    head(w, 0x60, Nat64.fromNat(utf8.size()));
    Bytes.blob(w, utf8);
  };

  func bytes(w : Bytes.Writer, value : Blob) {
    head(w, 0x40, Nat64.fromNat(value.size()));
    Bytes.blob(w, value);
  };

  func uint(w : Bytes.Writer, value : Nat64) = head(w, 0x00, value);

  /// A major type with its argument, in the shortest form.
  func head(w : Bytes.Writer, major : Nat8, argument : Nat64) {
    let (size, form) : (Nat, Nat8) = if (argument < 24) {
      (0, Nat8.fromNat(Nat64.toNat(argument)));
    } else if (argument < 0x100) { (1, 24) } else if (argument < 0x1_0000) {
      (2, 25);
    } else if (argument < 0x1_0000_0000) { (4, 26) } else { (8, 27) };
    Bytes.byte(w, major + form);
    var i = size;
    while (i > 0) {
      i -= 1;
      Bytes.byte(w, Nat8.fromIntWrap(Nat64.toNat(argument >> (8 * Nat64.fromNat(i)))));
    };
  };
};
