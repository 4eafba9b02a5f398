/// What the unit tests say to the runner, test.mjs: one line for each check, and values for it to examine further.

import Debug "mo:core/Debug";
import Nat "mo:core/Nat";
import Nat8 "mo:core/Nat8";
import Principal "mo:core/Principal";
import Blob "mo:core/Blob";
import Nat64 "mo:core/Nat64";
import Text "mo:core/Text";
import VarArray "mo:core/VarArray";
import Sha256 "../src/Sha256";

module {
  public func isTrue(name : Text, condition : Bool) {
    Debug.print((if (condition) "ok " else "FAIL ") # name);
  };

  public func text(name : Text, got : Text, want : Text) {
    if (got == want) Debug.print("ok " # name) else Debug.print("FAIL " # name # ": got \"" # got # "\", want \"" # want # "\"");
  };

  public func nat(name : Text, got : Nat, want : Nat) = text(name, Nat.toText(got), Nat.toText(want));

  public func blob(name : Text, got : Blob, want : Blob) = text(name, hex(got), hex(want));

  /// A refusal whose text contains `part`.
  public func refused<T>(name : Text, result : { #ok : T; #err : Text }, part : Text) {
    switch result {
      case (#ok(_)) Debug.print("FAIL " # name # ": accepted");
      case (#err(e)) if (Text.contains(e, #text part)) Debug.print("ok " # name) else Debug.print("FAIL " # name # ": refused with \"" # e # "\", want \"" # part # "\"");
    };
  };

  /// Passes values on to the check of this name in test.mjs.
  public func examine(what : Text, values : [Text]) {
    var line = "examine " # what;
    for (value in values.values()) line #= " " # value;
    Debug.print(line);
  };

  public func hex(blob : Blob) : Text {
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"];
    var t = "";
    for (b in blob.vals()) t #= digits[Nat8.toNat(b) / 16] # digits[Nat8.toNat(b) % 16];
    if (t == "") "-" else t;
  };

  public func sha256Hex(blob : Blob) : Text = hex(Sha256.ofBlob(blob));

  public func anonymous() : Principal = Principal.fromBlob("\04");

  /// A principal of its own for each number, of the self-authenticating form.
  public func principal(n : Nat) : Principal {
    let bytes = VarArray.repeat<Nat8>(7, 29);
    bytes[0] := Nat8.fromNat(n % 256);
    bytes[1] := Nat8.fromNat(n / 256 % 256);
    bytes[28] := 2;
    Principal.fromBlob(Blob.fromVarArray(bytes));
  };

  /// The same numbers in every run (a linear congruential generator).
  public class Random(seed : Nat64) {
    var state = seed;

    public func below(n : Nat) : Nat {
      state := state *% 6364136223846793005 +% 1442695040888963407;
      Nat64.toNat(state >> 33) % n;
    };

    public func blob(size : Nat) : Blob = Blob.fromVarArray(VarArray.tabulate<Nat8>(size, func _ = Nat8.fromNat(below(256))));
  };
};
