// A canister that calls others.
import Blob "mo:core/Blob";
import CertifiedData "mo:core/CertifiedData";
import Cycles "mo:core/Cycles";
import Error "mo:core/Error";
import InternetComputer "mo:core/InternetComputer";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";

persistent actor Caller {
  type Counter = actor { inc : () -> async Nat; get : query () -> async Nat; trapAfterWrite : () -> async (); rejects : () -> async (); add : Nat -> async Nat };
  var log = List.empty<Text>();
  var done = 0;

  func at(p : Principal) : Counter { actor (Principal.toText(p)) };

  public func callInc(p : Principal) : async Nat { await at(p).inc() };
  public func callGet(p : Principal) : async Nat { await at(p).get() };
  public func raw(p : Principal, method : Text, arg : Blob) : async Blob { await InternetComputer.call(p, method, arg) };
  public func rawText(p : Principal, method : Text, arg : Blob) : async Text {
    try { ignore await InternetComputer.call(p, method, arg); "replied" } catch (e) {
      debug_show (Error.code(e)) # ": " # Error.message(e);
    };
  };
  // Without the library in between, which would turn every error into a reject.
  public func code(p : Principal, method : Text) : async Text {
    try {
      switch method {
        case "inc" { ignore await at(p).inc() };
        case "trap" { await at(p).trapAfterWrite() };
        case "reject" { await at(p).rejects() };
        case _ { ignore await at(p).add(1) };
      };
      "replied";
    } catch (e) { debug_show (Error.code(e)) # ": " # Error.message(e) };
  };
  // A best-effort call of a canister that answers only when it is told to.
  public func bounded(p : Principal) : async Text {
    let o : actor { never : () -> async () } = actor (Principal.toText(p));
    try { await (with timeout = 1) o.never(); "replied" } catch (e) { debug_show (Error.code(e)) # ": " # Error.message(e) };
  };
  public func never() : async () { while (done < 1_000_000) { await nothing() } };
  func nothing() : async () {};
  public func release() : async () { done += 1_000_000 };
  public func pass(p : Principal, limit : Nat, cycles : Nat) : async (Nat, Nat) {
    let o : actor { accept : Nat -> async Nat } = actor (Principal.toText(p));
    let accepted = await (with cycles) o.accept(limit);
    (accepted, Cycles.refunded());
  };
  public func acceptThenTrap(p : Principal, cycles : Nat) : async Nat {
    let o : actor { takeAndTrap : () -> async () } = actor (Principal.toText(p));
    try { await (with cycles) o.takeAndTrap() } catch _ {};
    Cycles.refunded();
  };
  public func takeAndTrap() : async () { ignore Cycles.accept<system>(5); Runtime.trap("with cycles") };
  public query func balance() : async Nat { Cycles.balance() };
  public func accept(limit : Nat) : async Nat { Cycles.accept<system>(limit) };

  // Calls to one canister arrive in the order made.
  public func inOrder(p : Principal, n : Nat) : async [Nat] {
    let futures = List.empty<async Nat>();
    var i = 0;
    while (i < n) { List.add(futures, at(p).inc()); i += 1 };
    let out = List.empty<Nat>();
    for (f in List.values(futures)) { List.add(out, await f) };
    List.toArray(out);
  };
  // How many calls fit into the queue to one canister.
  public func flood(p : Principal, n : Nat) : async Text {
    try {
      let futures = List.empty<async Nat>();
      var i = 0;
      while (i < n) { List.add(futures, at(p).inc()); i += 1 };
      for (f in List.values(futures)) { ignore await f };
      "all";
    } catch (e) { debug_show (Error.code(e)) # ": " # Error.message(e) };
  };
  public func oneway(p : Principal) : async () {
    let o : actor { ping : () -> () } = actor (Principal.toText(p));
    o.ping();
  };
  public func ping() : () { done += 1 };
  public query func pings() : async Nat { done };

  public func writeAwaitTrap(p : Principal) : async () {
    List.add(log, "before");
    ignore await at(p).inc();
    List.add(log, "after");
    Runtime.trap("in the callback");
  };
  public func writeAwaitFinally(p : Principal) : async () {
    try {
      ignore await at(p).inc();
      Runtime.trap("in the callback");
    } finally { List.add(log, "cleanup") };
  };
  public query func getLog() : async [Text] { List.toArray(log) };

  public composite query func compositeGet(p : Principal) : async Nat { (await at(p).get()) + 1 };
  public composite query func compositeTwo(p : Principal, q : Principal) : async Nat {
    let a = await at(p).get();
    let b = await at(q).get();
    a * 1000 + b;
  };
  public composite query func compositeDeep(p : Principal, depth : Nat) : async Nat {
    if (depth == 0) { await at(p).get() } else { (await compositeDeep(p, depth - 1)) + 1 };
  };
  // Asks for the certificate, then queries itself.
  public composite query func certifiedDeep(p : Principal) : async (?Blob, Nat) {
    let c = CertifiedData.getCertificate();
    (c, await compositeDeep(p, 1));
  };
  public func certify(b : Blob) : async () { CertifiedData.set(b) };
  public query func randomless() : async Nat { 42 };
  public func random() : async Blob { await (actor "aaaaa-aa" : actor { raw_rand : () -> async Blob }).raw_rand() };

  system func inspect({ caller : Principal; arg : Blob }) : Bool { Principal.isAnonymous(caller) or arg.size() < 1_000 };
};
