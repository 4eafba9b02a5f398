/// A canister to fail with: methods that refuse, trap, or return something of the wrong type.

import Error "mo:core/Error";
import Runtime "mo:core/Runtime";

persistent actor Faulty {
  var received = 0;

  public func accept(_ : Text) : async () { received += 1 };

  public query func count() : async Nat { received };

  public func refuse(_ : Text) : async () { throw Error.reject("refused on purpose") };

  public func trap(_ : Text) : async () { Runtime.trap("trapped on purpose") };

  /// A feed of the wrong type.
  public query func textSince(_ : Nat) : async Text { "not a vec" };

  /// A feed that always fails.
  public query func trapSince(_ : Nat) : async [Text] { Runtime.trap("trapped on purpose") };

  /// A feed that never ends.
  public query func endlessSince(from : Nat) : async [Nat] { [from, from + 1, from + 2] };

  // The CDK's interface, always refusing.

  type Result = { #Ok; #Err : Text };

  public func ws_open(_ : { client_nonce : Nat64; gateway_principal : Principal }) : async Result {
    #Err("This canister accepts no connections");
  };

  public func ws_close(_ : { client_key : { client_principal : Principal; client_nonce : Nat64 } }) : async Result {
    #Err("This canister accepts no connections");
  };

  public func ws_message(_ : { msg : { client_key : { client_principal : Principal; client_nonce : Nat64 }; sequence_num : Nat64; timestamp : Nat64; is_service_message : Bool; content : Blob } }, _ : ?{ text : Text }) : async Result {
    #Err("This canister accepts no connections");
  };

  public query func ws_get_messages(_ : { nonce : Nat64 }) : async {
    #Ok : { messages : [{ client_key : { client_principal : Principal; client_nonce : Nat64 }; key : Text; content : Blob }]; cert : Blob; tree : Blob; is_end_of_queue : Bool };
    #Err : Text;
  } {
    #Ok({ messages = []; cert = ""; tree = ""; is_end_of_queue = true });
  };
};
