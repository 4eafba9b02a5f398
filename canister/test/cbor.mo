import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Bytes "../src/Bytes";
import Cbor "../src/Cbor";
import Check "Check";

// what serde_cbor makes of the CDK's type
Check.blob(
  "message",
  Bytes.toBlob(Cbor.message({
    client_key = { client_principal = Principal.fromBlob("\04"); client_nonce = 500 };
    sequence_num = 1;
    timestamp = 1_700_000_000_000_000_000;
    is_service_message = true;
    content = "DIDL\00\00";
  })),
  "\d9\d9\f7\a5\6aclient_key\a2\70client_principal\41\04\6cclient_nonce\19\01\f4\6csequence_num\01\69timestamp\1b\17\97\9c\fe\36\2a\00\00\72is_service_message\f5\67content\46DIDL\00\00",
);

// what the stock client's decoder makes of it
let random = Check.Random(3);
for (number in [0, 1, 23, 24, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, 18_446_744_073_709_551_615].values()) {
  for (size in [0, 1, 23, 24, 255, 256, 1_000].values()) {
    let content = random.blob(size);
    let key = { client_principal = Check.principal(size); client_nonce = Nat64.fromNat(number) };
    let w = Cbor.message({
      client_key = key;
      sequence_num = Nat64.fromNat(number);
      timestamp = Nat64.fromNat(number);
      is_service_message = size % 2 == 0;
      content;
    });
    Check.examine("message", [Check.hex(Bytes.toBlob(w)), Check.hex(Principal.toBlob(key.client_principal)), Nat64.toText(Nat64.fromNat(number)), debug_show (size % 2 == 0), Check.hex(content)]);
    // the writer's bytes are hashed as they are
    Check.blob("writer", Blob.fromArray(Array.tabulate<Nat8>(w.size, func i = w.bytes[i])), Bytes.toBlob(w));
  };
};
