/// Service messages: what the canister and a client tell each other beside the application's messages, in Candid.

import Nat32 "mo:core/Nat32";
import Candid "Candid";
import Errors "Errors";
import Types "Types";

module {
  public type CloseReason = {
    #WrongSequenceNumber;
    #InvalidServiceMessage;
    #KeepAliveTimeout;
    #ClosedByApplication;
  };

  public type Content = {
    #OpenMessage : { client_key : Types.ClientKey };
    #AckMessage : { last_incoming_sequence_num : Nat64 };
    #KeepAliveMessage : { last_incoming_sequence_num : Nat64 };
    #CloseMessage : { reason : CloseReason };
  };

  /// O(1).
  public func encode(content : Content) : Blob = to_candid (content);

  /// What a client sent: a keep-alive message is all that is allowed. The text of `#err` is the CDK's. O(size).
  public func decodeKeepAlive(content : Blob) : { #ok : { lastIncoming : Nat64 }; #err : Text } {
    if (content.size() > maxSize) return #err(Errors.decodeServiceMessage("longer than any service message"));
    switch (Candid.variantOfNat64s(content)) {
      case (#err(reason)) #err(Errors.decodeServiceMessage(reason));
      case (#ok({ tag; fields })) {
        if (tag == openTag or tag == ackTag or tag == closeTag) return #err(Errors.invalidServiceMessage());
        if (tag != keepAliveTag) return #err(Errors.decodeServiceMessage("unknown tag " # Nat32.toText(tag)));
        for ((field, value) in fields.values()) {
          if (field == lastIncomingField) return #ok({ lastIncoming = value });
        };
        #err(Errors.decodeServiceMessage("a KeepAliveMessage without last_incoming_sequence_num : nat64"));
      };
    };
  };

  /// A keep-alive message has about 60 bytes.
  let maxSize = 4_096;

  // Candid.hash of the names
  let openTag : Nat32 = 428_171_005; // OpenMessage
  let ackTag : Nat32 = 3_049_003_934; // AckMessage
  let closeTag : Nat32 = 2_918_480_143; // CloseMessage
  let keepAliveTag : Nat32 = 2_525_358_527; // KeepAliveMessage
  let lastIncomingField : Nat32 = 2_804_597_848; // last_incoming_sequence_num
};
