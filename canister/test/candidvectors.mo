// Vectors of @dfinity/candid go through the Candid module and back to the library.

import Array "mo:core/Array";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Candid "../src/Candid";
import Check "Check";
import Vectors "CandidVectors";

func failed(name : Text, i : Nat, e : Text) = Check.text(name # " " # Nat.toText(i), e, "");

for (i in Vectors.pages.keys()) {
  let (bytes, tag, recipient) = Vectors.pages[i];
  switch (Candid.page(bytes, 1_000, tag, recipient)) {
    case (#ok({ items; next })) {
      let values = List.fromArray<Text>([Nat.toText(i), switch next { case (?n) Nat.toText(n); case null "-" }]);
      for ({ content; recipient } in items.values()) {
        List.add(values, switch recipient { case (#everybody) "*"; case (#client(client)) Principal.toText(client) });
        List.add(values, Check.hex(content));
      };
      Check.examine("page", List.toArray(values));
    };
    case (#err(e)) failed("page", i, e);
  };
};

for (i in Vectors.tuples.keys()) {
  let (bytes, tag) = Vectors.tuples[i];
  let client = Check.principal(i);
  switch (Candid.check(bytes), Candid.prepend(client, bytes), Candid.wrap(tag, bytes)) {
    case (#ok(count), #ok(prepended), #ok(wrapped)) {
      let payload = switch (Candid.payload(bytes)) {
        case (#ok(?{ tag; argument })) [Nat32.toText(tag), Check.hex(argument)];
        case (#ok(null)) ["none"];
        case (#err(_)) ["refused"];
      };
      Check.examine("tuple", Array.concat([Nat.toText(i), Nat.toText(count), Principal.toText(client), Check.hex(prepended), Check.hex(wrapped)], payload));
    };
    case (a, b, c) failed("tuple", i, debug_show (a, b, c));
  };
};

let random = Check.Random(3);

for (i in Nat.range(0, 50)) {
  let client = Principal.fromBlob(random.blob(random.below(30)));
  let nonce = Nat64.fromNat(random.below(0x1_0000_0000) * random.below(0x1_0000_0000));
  Check.examine("client", [Check.hex(Candid.client(client, nonce)), Principal.toText(client), Nat64.toText(nonce)]);
  let number = random.below(0x1_0000_0000) ** random.below(5);
  Check.examine("nat", [Check.hex(Candid.nat(number)), Nat.toText(number)]);
};
for (tag in ["error", "", "漢字 🙂", "0", "00", "12345", "4294967295", "4294967296", "0x12", "1_0", "+1"].values()) {
  for (text in ["", "no such canister", "\u{0}\"\\ä漢🙂\u{10ffff}"].values()) {
    Check.examine("variantText", [Check.hex(Candid.variantText(tag, text)), Check.hex(Text.encodeUtf8(tag)), Check.hex(Text.encodeUtf8(text))]);
  };
};
