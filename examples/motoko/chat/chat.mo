/// A chat with rooms, live through the relay canister.
///
/// The relay canister calls `join`, `say` and `leave` with what clients send and the client's principal in front, and
/// `opened` and `closed` as connections come and go. What happens in a room is pushed to its members with `sendMany`.

import Error "mo:core/Error";
import Iter "mo:core/Iter";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Order "mo:core/Order";
import Principal "mo:core/Principal";
import Queue "mo:core/Queue";
import Runtime "mo:core/Runtime";
import Set "mo:core/Set";
import Text "mo:core/Text";
import Time "mo:core/Time";
import Timer "mo:core/Timer";

persistent actor Chat {
  public type Line = { id : Nat; name : Text; text : Text; time : Int };
  public type Welcome = { room : Text; name : Text; present : [Text]; lines : [Line] };

  // What the members of a room are told: tags of the clients' message type.
  type Event = {
    #Came : { room : Text; name : Text };
    #Went : { room : Text; name : Text };
    #Said : { room : Text; line : Line };
  };

  type Room = { members : Map.Map<Principal, Text>; lines : Queue.Queue<Line> };

  type Connection = { client_principal : Principal; client_nonce : Nat64 };

  transient let maxRooms = 100;
  transient let maxMembers = 100; // of a room
  transient let maxLines = 50; // of a room, the last ones
  transient let maxName = 40; // characters
  transient let maxText = 500;

  // The ids of a project's canisters are in environment variables: icp-cli sets them, and so does the embedded network.
  transient let relay : actor {
    clients : shared query () -> async [Connection];
    sendMany : ([Principal], Blob) -> async { #Ok : Nat64; #Err : Text };
  } = switch (Runtime.envVar<system>("PUBLIC_CANISTER_ID:relay")) {
    case (?id) actor (id);
    case null Runtime.trap("The environment variable PUBLIC_CANISTER_ID:relay has to name the relay canister");
  };

  let rooms = Map.empty<Text, Room>(); // those with members
  let places = Map.empty<Principal, Text>(); // who is in which room
  let connections = Set.empty<Connection>(); // a client may have several
  var nextLine = 0;

  // -- calls: what clients send -----------------------------------------------------------------------------------

  /// Enters a room, and leaves the one before. Nobody else may have the name there.
  public shared ({ caller }) func join(client : Principal, { room; name } : { room : Text; name : Text }) : async Welcome {
    checkCaller(caller);
    await* checkText("The room's name", room, maxName);
    await* checkText("Your name", name, maxName);
    switch (rooms.get(room)) {
      case null if (rooms.size() >= maxRooms) throw Error.reject("There are " # Nat.toText(maxRooms) # " rooms already");
      case (?there) {
        let own = there.members.get(client);
        if (own == ?name) return welcome(room, name, there); // another window, or back after a pause
        if (own == null and there.members.size() >= maxMembers) throw Error.reject("This room is full");
        for (taken in there.members.values()) if (taken == name) throw Error.reject("Somebody in this room is called " # name);
      };
    };
    await* depart(client);
    let there = switch (rooms.get(room)) {
      case (?there) there;
      case null ({ members = Map.empty(); lines = Queue.empty() } : Room);
    };
    await* tell(there, #Came { room; name });
    rooms.add(room, there);
    there.members.add(client, name);
    places.add(client, room);
    welcome(room, name, there);
  };

  /// Says something to everybody in the client's room.
  public shared ({ caller }) func say(client : Principal, text : Text) : async () {
    checkCaller(caller);
    await* checkText("The message", text, maxText);
    let ?room = places.get(client) else throw Error.reject("You are in no room");
    let ?{ members; lines } = rooms.get(room) else Runtime.unreachable();
    let ?name = members.get(client) else Runtime.unreachable();
    let line = { id = nextLine; name; text; time = Time.now() };
    nextLine += 1;
    lines.pushBack(line);
    if (lines.size() > maxLines) ignore lines.popFront();
    let event : Event = #Said { room; line };
    switch (await relay.sendMany(members.keys().toArray(), to_candid (event))) {
      case (#Ok _) {};
      case (#Err(text)) throw Error.reject(text);
    };
  };

  /// Leaves the room.
  public shared ({ caller }) func leave(client : Principal) : async () {
    checkCaller(caller);
    await* depart(client);
  };

  // -- hooks: who is there ----------------------------------------------------------------------------------------

  /// A connection of a client is open.
  public shared ({ caller }) func opened(client : Principal, nonce : Nat64) : async () {
    checkCaller(caller);
    connections.add({ client_principal = client; client_nonce = nonce });
  };

  /// A connection is closed. With its last one a client leaves its room.
  public shared ({ caller }) func closed(client : Principal, nonce : Nat64) : async () {
    checkCaller(caller);
    await* forget({ client_principal = client; client_nonce = nonce });
  };

  // -- inside -----------------------------------------------------------------------------------------------------

  // Clients are who the relay canister says they are: nobody else may say it.
  func checkCaller(caller : Principal) {
    if (caller != Principal.fromActor(relay)) Runtime.trap("Only the relay canister may call this");
  };

  func checkText(what : Text, value : Text, limit : Nat) : async* () {
    if (value.trim(#predicate(func c = c == ' ' or c == '\n' or c == '\t')) == "") throw Error.reject(what # " is empty");
    if (value.size() > limit) throw Error.reject(what # " is longer than " # Nat.toText(limit) # " characters");
  };

  func welcome(room : Text, name : Text, { members; lines } : Room) : Welcome = {
    room;
    name;
    present = members.values().toArray();
    lines = lines.toArray();
  };

  func depart(client : Principal) : async* () {
    let ?room = places.take(client) else return;
    let ?there = rooms.get(room) else Runtime.unreachable();
    let ?name = there.members.get(client) else Runtime.unreachable();
    await* tell(there, #Went { room; name }); // also to other windows of the client
    there.members.remove(client);
    if (there.members.isEmpty()) rooms.remove(room);
  };

  // Nobody waits for the delivery of what is only good to know.
  func tell({ members } : Room, event : Event) : async* () {
    if (members.isEmpty()) return;
    try ignore relay.sendMany(members.keys().toArray(), to_candid (event)) catch _ {};
  };

  func forget(connection : Connection) : async* () {
    connections.remove(connection);
    let client = connection.client_principal;
    switch (connections.valuesFrom({ client_principal = client; client_nonce = 0 : Nat64 }).next()) {
      case (?other) if (other.client_principal == client) return;
      case null {};
    };
    await* depart(client);
  };

  func compare(a : Connection, b : Connection) : Order.Order = switch (Principal.compare(a.client_principal, b.client_principal)) {
    case (#equal) Nat64.compare(a.client_nonce, b.client_nonce);
    case order order;
  };

  // While this canister is stopped for an upgrade it is not told who closes.
  func sweep() : async () {
    let before = connections.clone();
    let now = try { await relay.clients() } catch _ return;
    for (gone in before.difference(Set.fromArray<Connection>(now)).values()) await* forget(gone);
  };
  ignore Timer.setTimer<system>(#seconds 0, sweep);
};
