/// A canister with the CDK's interface of its own: it sends every application message back to its sender.

import CertifiedData "mo:core/CertifiedData";
import Iter "mo:core/Iter";
import Nat64 "mo:core/Nat64";
import Runtime "mo:core/Runtime";
import Time "mo:core/Time";
import Timer "mo:core/Timer";
import Clients "../../../canister/src/Clients";
import Hub "../../../canister/src/Hub";
import Settings "../../../canister/src/Settings";
import Types "../../../canister/src/Types";

persistent actor Echo {
  public type AppMessage = { text : Text };

  let hub = Hub.empty();
  transient let settings = switch (Settings.check({ calls = []; feeds = []; admins = []; ack_interval_ms = null; keep_alive_timeout_ms = null; max_messages = null; max_calls_in_flight = null })) {
    case (#ok(settings)) settings;
    case (#err(problems)) Runtime.trap(problems);
  };

  public shared ({ caller }) func ws_open(args : Types.CanisterWsOpenArguments) : async Types.CanisterWsResult {
    let before = Iter.toArray(Clients.ofPrincipal(hub.clients, caller));
    let result = Hub.open(hub, settings, caller, args, now());
    // as in the CDK, a principal's new connection replaces its old one
    if (result == #ok) for (old in before.values()) Hub.remove(hub, settings, old, null, now());
    certify();
    switch result { case (#ok) #Ok; case (#err(text)) #Err(text) };
  };

  public shared ({ caller }) func ws_close(args : Types.CanisterWsCloseArguments) : async Types.CanisterWsResult {
    let result = Hub.close(hub, settings, caller, args.client_key, now());
    certify();
    switch result { case (#ok) #Ok; case (#err(text)) #Err(text) };
  };

  public shared ({ caller }) func ws_message(args : Types.CanisterWsMessageArguments, _ : ?AppMessage) : async Types.CanisterWsResult {
    let client = switch (Hub.sender(hub, caller, args.msg.client_key)) {
      case (#ok(client)) client;
      case (#err(text)) return #Err(text);
    };
    // the CDK takes nothing out of turn
    let result = if (args.msg.sequence_num > client.order.expected) {
      let text = "Expected incoming sequence number " # Nat64.toText(client.order.expected) # " but got " # Nat64.toText(args.msg.sequence_num);
      Hub.remove(hub, settings, client, ?#WrongSequenceNumber, now());
      #err(text);
    } else Hub.accept(hub, settings, client, args.msg, now());
    switch result {
      case (#err(text)) {
        certify();
        #Err(text);
      };
      case (#ok(contents)) {
        for (content in contents.values()) Hub.send(hub, settings, client, content, false, now());
        certify();
        #Ok;
      };
    };
  };

  public shared query ({ caller }) func ws_get_messages(args : Types.CanisterWsGetMessagesArguments) : async Types.CanisterWsGetMessagesResult {
    switch (Hub.poll(hub, settings, caller, args.nonce, CertifiedData.getCertificate())) {
      case (#ok(messages)) #Ok(messages);
      case (#err(text)) #Err(text);
    };
  };

  func certify() = CertifiedData.set(Hub.commit(hub));

  func now() : Nat64 = Nat64.fromIntWrap(Time.now());

  func acknowledge() : async () {
    Hub.acknowledge(hub, settings, now());
    certify();
    ignore Timer.setTimer<system>(#nanoseconds(Nat64.toNat(settings.keepAliveTimeout)), expire);
  };

  func expire() : async () {
    Hub.expire(hub, settings, now());
    certify();
  };

  certify();
  ignore Timer.recurringTimer<system>(#nanoseconds(Nat64.toNat(settings.ackInterval)), acknowledge);
};
