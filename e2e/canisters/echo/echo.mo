/// A canister with the CDK's interface of its own: it sends every application message back to its sender. As with the
/// CDK, an upgrade forgets clients, queues and numbers.

import CertifiedData "mo:core/CertifiedData";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";
import Time "mo:core/Time";
import Timer "mo:core/Timer";
import Clients "../../../canister/src/Clients";
import Errors "../../../canister/src/Errors";
import Hub "../../../canister/src/Hub";
import Settings "../../../canister/src/Settings";
import Types "../../../canister/src/Types";

persistent actor Echo {
  public type AppMessage = { text : Text };

  transient let hub = Hub.empty();
  transient let settings = switch (
    Settings.check({
      calls = [];
      feeds = [];
      admins = [];
      hooks = null;
      pushers = null;
      gateways = null;
      ack_interval_ms = null;
      keep_alive_timeout_ms = null;
      max_messages = null;
      max_calls_in_flight = null;
      resume_ms = null;
      resume_tag = null;
      interface = null;
    })
  ) {
    case (#ok(settings)) settings;
    case (#err(problems)) Runtime.trap(problems);
  };

  /// A method of the CDK's.
  public type Method = { #open; #message; #poll };

  transient var broken : ?Method = null;

  /// Makes a method trap from now on, or none.
  public func setBroken(method : ?Method) : async () { broken := method };

  public type Note = { connection : Nat64; number : Nat };
  public type Entry = { what : Text; client : ?Principal; connection : Nat64; number : Nat };

  transient var isWriting = false;
  transient let entries = List.empty<Entry>();

  /// From now on notes are written down, as by the diary, and those that only tell are not sent back.
  public func writeDown() : async () { isWriting := true };

  /// What is written down.
  public query func entriesFrom(from : Nat) : async [Entry] {
    let size = List.size(entries);
    List.sliceToArray(entries, Nat.min(from, size), Nat.min(from + 5_000, size));
  };

  /// Writes a note down; whether that is all.
  func isTold(client : Principal, message : Blob) : Bool {
    if (not isWriting) return false;
    switch (from_candid (message) : ?{ #Note : Note; #Tell : Note; #Noted : Note }) {
      case (?#Tell(note)) { List.add(entries, { note with what = "tell"; client = ?client }); true };
      case (?#Note(note)) { List.add(entries, { note with what = "note"; client = ?client }); false };
      case (_) false;
    };
  };

  func check(method : Method) = if (broken == ?method) Runtime.trap("broken on purpose");

  public shared ({ caller }) func ws_open(args : Types.CanisterWsOpenArguments) : async Types.CanisterWsResult {
    check(#open);
    let before = Iter.toArray(Clients.ofPrincipal(hub.clients, caller));
    let result = Hub.open(hub, settings, caller, args, [], now());
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
    check(#message);
    let client = switch (Hub.sender(hub, caller, args.msg.client_key)) {
      case (#ok(client)) client;
      case (#err(text)) return #Err(text);
    };
    let { sequence_num; is_service_message; content } = args.msg;
    // the CDK takes nothing out of turn
    let result = if (sequence_num > client.order.expected) {
      Hub.remove(hub, settings, client, ?#WrongSequenceNumber, now());
      #err(Errors.wrongSequenceNumber(client.order.expected, sequence_num));
    } else Hub.accept(hub, settings, client, sequence_num, if is_service_message #service content else #call { call = back; argument = content }, now());
    let answer = switch result {
      case (#err(text)) #Err(text);
      case (#ok({ refusal = ?text })) #Err(text);
      case (#ok({ routes })) {
        for ({ argument } in routes.values()) {
          if (not isTold(caller, argument)) Hub.send(hub, settings, client, argument, false, now());
        };
        #Ok;
      };
    };
    certify();
    answer;
  };

  // where messages go does not matter here
  transient let back : Types.Call = {
    target = Principal.fromActor(Echo);
    method = "";
    tag = null;
    pass_client = null;
    reply = null;
    reply_tag = null;
    error_tag = null;
  };

  public shared query ({ caller }) func ws_get_messages(args : Types.CanisterWsGetMessagesArguments) : async Types.CanisterWsGetMessagesResult {
    check(#poll);
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
    ignore Hub.expire(hub, settings, now());
    certify();
  };

  certify();
  ignore Timer.recurringTimer<system>(#nanoseconds(Nat64.toNat(settings.ackInterval)), acknowledge);
};
