/// Hashes of hash tree nodes: IC interface specification, "Certificate".

import VarArray "mo:core/VarArray";
import Bytes "Bytes";
import Sha256 "Sha256";

module {
  public func empty() : Blob = digest("\11ic-hashtree-empty", "", "");

  /// Two compressions.
  public func fork(left : Blob, right : Blob) : Blob = digest("\10ic-hashtree-fork", left, right);

  /// Two compressions, more for a label over 40 bytes.
  public func labeled(label_ : Blob, sub : Blob) : Blob = digest("\13ic-hashtree-labeled", label_, sub);

  /// One compression for a value of 32 bytes.
  public func leaf(value : Blob) : Blob = digest("\10ic-hashtree-leaf", value, "");

  func digest(domain : Blob, a : Blob, b : Blob) : Blob {
    let w : Bytes.Writer = {
      var bytes = VarArray.repeat<Nat8>(0, domain.size() + a.size() + b.size());
      var size = 0;
    };
    Bytes.blob(w, domain);
    Bytes.blob(w, a);
    Bytes.blob(w, b);
    Sha256.ofBytes(w.bytes, w.size);
  };
};
