/// A canister for the soak: it writes down everything that the relay canister tells it, in order, so that a test can
/// compare that with what clients have sent and received.
///
/// A note names the connection that it comes from, by its nonce, and counts the notes of that connection. Whatever the
/// diary sends of its own accord carries the note that caused it.

import Array "mo:core/Array";
import Error "mo:core/Error";
import List "mo:core/List";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";
import Text "mo:core/Text";

persistent actor Diary {
  public type Note = { connection : Nat64; number : Nat };
  /// `number` is 0 for `opened` and `closed`; `client` is missing where the relay canister does not tell it.
  public type Entry = { what : Text; client : ?Principal; connection : Nat64; number : Nat };

  public type Post = { index : Nat; cause : Note };
  public type Letter = { to : Principal; index : Nat; cause : Note };
  /// `stream` is what the pushes with one count have in common: a connection, a client, or everybody. `reached` is how many
  /// connections the relay canister has queued it for; null while nobody knows.
  public type Push = { stream : Text; index : Nat; cause : Note; var reached : ?Nat64 };

  type PushResult = { #Ok : Nat64; #Err : Text };
  type Relay = actor {
    send : shared (Principal, Blob, ?Nat64) -> async PushResult;
    broadcast : shared Blob -> async PushResult;
  };

  transient let pageSize = 200;
  transient let recordPageSize = 5_000;

  let entries = List.empty<Entry>();
  let posts = List.empty<Post>();
  let ticks = List.empty<Post>();
  let letters = List.empty<Letter>();
  let pushes = List.empty<Push>();
  let streams = Map.empty<Text, Nat>(); // with the number of their pushes

  // -- calls ------------------------------------------------------------------------------------------------------

  /// Writes the note down and returns it.
  public func note(client : Principal, note : Note) : async Note {
    write("note", client, note);
    note;
  };

  /// The same for everybody to hear.
  public func shout(client : Principal, note : Note) : async Note {
    write("shout", client, note);
    note;
  };

  /// Writes the note down.
  public func tell(client : Principal, note : Note) : async () = async write("tell", client, note);

  /// The same for messages that are passed on whole.
  public func plain({ connection; number } : Note) : async () {
    List.add(entries, { what = "plain"; client = null; connection; number });
  };

  /// Writes the note down and returns it some rounds later.
  public func slow(client : Principal, note : Note) : async Note {
    write("slow", client, note);
    for (_ in Nat.range(0, 3)) await pause();
    note;
  };

  /// Traps without a trace.
  public func trap(_ : Principal, note : Note) : async () {
    List.add(entries, { note with what = "trap"; client = null });
    Runtime.trap(name(note));
  };

  /// Refuses.
  public func refuse(_ : Principal, note : Note) : async () { throw Error.reject(name(note)) };

  /// Traps when the note is in the diary already.
  public func late(client : Principal, note : Note) : async () {
    write("late", client, note);
    await pause();
    Runtime.trap(name(note));
  };

  func pause() : async () {};

  func write(what : Text, client : Principal, { connection; number } : Note) = List.add(entries, { what; client = ?client; connection; number });

  /// How a note is named in the text of a failure.
  func name({ connection; number } : Note) : Text = "<" # Nat64.toText(connection) # " " # Nat.toText(number) # ">";

  // -- hooks ------------------------------------------------------------------------------------------------------

  public func opened(client : Principal, nonce : Nat64) : async () = async write("opened", client, { connection = nonce; number = 0 });

  public func closed(client : Principal, nonce : Nat64) : async () = async write("closed", client, { connection = nonce; number = 0 });

  // -- feeds ------------------------------------------------------------------------------------------------------

  /// Adds an item to the feed `postsSince`.
  public func post(client : Principal, note : Note) : async () {
    write("post", client, note);
    List.add(posts, { index = List.size(posts); cause = note });
  };

  /// Adds an item to the feed `ticksAt`.
  public func tick(client : Principal, note : Note) : async () {
    write("tick", client, note);
    List.add(ticks, { index = List.size(ticks); cause = note });
  };

  /// Adds an item for one client to the feed `lettersSince`.
  public func send(client : Principal, { to; note } : { to : Principal; note : Note }) : async () {
    write("send", client, note);
    List.add(letters, { to; index = List.size(letters); cause = note });
  };

  public query func postsSince(from : Nat) : async [Post] = async page(posts, from, pageSize);

  public query func lettersSince(from : Nat) : async [Letter] = async page(letters, from, pageSize);

  /// A feed with cursors that only this canister understands.
  public query func ticksAt(cursor : Nat) : async { items : [Post]; next : Nat } {
    let items = page(ticks, cursor / 7, pageSize);
    { items; next = 7 * (Nat.min(cursor / 7, List.size(ticks)) + items.size()) };
  };

  func page<T>(list : List.List<T>, from : Nat, count : Nat) : [T] {
    let size = List.size(list);
    List.sliceToArray(list, Nat.min(from, size), Nat.min(from + count, size));
  };

  // -- pushes -----------------------------------------------------------------------------------------------------

  /// Has a message pushed to the note's own connection.
  public shared ({ caller }) func push(client : Principal, note : Note) : async () {
    write("push", client, note);
    let (push, content) = begin("connection " # Nat64.toText(note.connection), note);
    push.reached := try reached(await relay(caller).send(client, content, ?note.connection)) catch _ ?0;
  };

  /// Has a message pushed to all connections of the client.
  public shared ({ caller }) func pushAll(client : Principal, note : Note) : async () {
    write("pushAll", client, note);
    let (push, content) = begin("client " # Principal.toText(client), note);
    push.reached := try reached(await relay(caller).send(client, content, null)) catch _ ?0;
  };

  /// Has a message pushed to everybody.
  public shared ({ caller }) func broadcast(client : Principal, note : Note) : async () {
    write("broadcast", client, note);
    let (push, content) = begin("everybody", note);
    push.reached := try reached(await relay(caller).broadcast(content)) catch _ ?0;
  };

  func relay(caller : Principal) : Relay = actor (Principal.toText(caller));

  func reached(result : PushResult) : ?Nat64 = switch result { case (#Ok(connections)) ?connections; case (#Err(_)) ?0 };

  func begin(stream : Text, cause : Note) : (Push, Blob) {
    let index = switch (Map.get(streams, Text.compare, stream)) { case (?next) next; case null 0 };
    Map.add(streams, Text.compare, stream, index + 1);
    let push : Push = { stream; index; cause; var reached = null };
    List.add(pushes, push);
    (push, to_candid (#Pushed { stream; index; cause } : { #Pushed : { stream : Text; index : Nat; cause : Note } }));
  };

  // -- for the test -------------------------------------------------------------------------------------------------

  public query func entriesFrom(from : Nat) : async [Entry] = async page(entries, from, recordPageSize);

  public query func pushesFrom(from : Nat) : async [{ stream : Text; index : Nat; cause : Note; reached : ?Nat64 }] {
    let found = page(pushes, from, recordPageSize);
    Array.map(found, func p = { p with reached = p.reached });
  };
};
