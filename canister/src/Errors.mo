/// The texts of refusals. Where the CDK refuses the same thing, the text is the CDK's
/// (omnia-network/ic-websocket-cdk-rs, src/ic-websocket-cdk/src/errors.rs), because gateways and clients know it.

import Nat "mo:core/Nat";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Types "Types";

module {
  public func clientKeyText(key : Types.ClientKey) : Text = Principal.toText(key.client_principal) # "_" # Nat64.toText(key.client_nonce);

  public func anonymous() : Text = "Anonymous principal is not allowed";

  public func alreadyConnected(key : Types.ClientKey) : Text = "Client with key " # clientKeyText(key) # " already has an open connection";

  public func keyMismatch(key : Types.ClientKey) : Text = "Client with principal " # Principal.toText(key.client_principal) # " has a different key than the one used in the message";

  public func keyNotConnected(key : Types.ClientKey) : Text = "Client with key " # clientKeyText(key) # " doesn't have an open connection";

  public func notRegisteredToGateway(key : Types.ClientKey, gateway : Principal) : Text = "Client with key " # clientKeyText(key) # " was not registered to gateway " # Principal.toText(gateway);

  public func principalNotConnected(client : Principal) : Text = "Client with principal " # Principal.toText(client) # " doesn't have an open connection";

  public func decodeServiceMessage(reason : Text) : Text = "Error decoding service message content: " # reason;

  public func gatewayNotRegistered(gateway : Principal) : Text = "Gateway with principal " # Principal.toText(gateway) # " is not registered";

  public func invalidServiceMessage() : Text = "Invalid service message";

  public func wrongSequenceNumber(expected : Nat64, actual : Nat64) : Text = "Expected incoming sequence number " # Nat64.toText(expected) # " but got " # Nat64.toText(actual);

  // Refusals that the CDK does not have.

  public func noCalls() : Text = "This route takes no messages: the relay canister has no call configured";

  public func tooManyClients() : Text = "The relay canister has no room for another connection, try again later";

  public func tooManyGateways() : Text = "The relay canister has no room for another gateway, try again later";

  public func gatewayQueueFull(gateway : Principal) : Text = "The queue of gateway " # Principal.toText(gateway) # " is full, try again later";

  public func heldTooMuch() : Text = "Too much is waiting for an earlier message of this client";

  public func targetBusy(target : Principal) : Text = "Too many calls are waiting for " # Principal.toText(target) # ", try again later";

  public func unreadableMessage(reason : Text) : Text = "The message cannot be passed on: " # reason;

  public func noCallForMessage() : Text = "No call is configured for this message: it is no variant, or a tag that no call takes";

  public func gatewayNotAllowed(gateway : Principal) : Text = "Clients cannot come through gateway " # Principal.toText(gateway) # ": the relay canister's configuration does not list it";

  public func unknownInterface(theirs : Nat32, own : Nat32, version : Text) : Text = "The gateway speaks version " # Nat32.toText(theirs) # " of the relay canister's interface; this relay canister, " # version # ", knows version " # Nat32.toText(own) # ": use a gateway and a relay canister of the same release";

  // Refusals of what targets push.

  public func unreadablePush(reason : Text) : Text = "The message is not a Candid value: " # reason;

  public func emptyPush() : Text = "The message holds no value";

  public func tooManyRecipients(count : Nat, limit : Nat) : Text = Nat.toText(count) # " recipients are too many, at most " # Nat.toText(limit) # " are allowed";

  public func tooLargeForAll(size : Nat, clients : Nat) : Text = Nat.toText(size) # " bytes are too many for " # Nat.toText(clients) # " connections at once";

  public func queueFull() : Text = "The queue of a gateway is full, try again later";

  public func onlyTargets(what : Text) : Text = what # " is only for controllers and admins of the relay canister, and for canisters that its configuration names";

  public func noCertificate() : Text = "No certificate: ws_get_messages must be called as a query";

  public func notAllowed(what : Text) : Text = what # " is only for controllers and admins of the relay canister, and for gateways that have clients here";

  public func onlyAdmins(what : Text) : Text = what # " is only for controllers and admins of the relay canister";

  public func noSuchFeed(target : Principal, method : Text) : Text = "No feed " # Principal.toText(target) # "." # method # " is configured";
};
