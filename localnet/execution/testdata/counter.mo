// A canister with everything that one message can do.
import Array "mo:core/Array";
import Blob "mo:core/Blob";
import CertifiedData "mo:core/CertifiedData";
import Debug "mo:core/Debug";
import Error "mo:core/Error";
import Nat "mo:core/Nat";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";
import Time "mo:core/Time";
import Timer "mo:core/Timer";

persistent actor class Counter(start : Nat) = self {
  var n = start;
  var upgrades = 0;
  transient var ticks = 0;
  transient var last = "";

  public func inc() : async Nat { n += 1; n };
  public func add(x : Nat) : async Nat { n += x; n };
  public query func get() : async Nat { n };
  public query func sneaky() : async Nat { n += 1; n };
  public query ({ caller }) func whoami() : async Principal { caller };
  public shared ({ caller }) func whoamiUpdate() : async Principal { caller };
  public query func echo(b : Blob) : async Blob { b };
  public query func me() : async Principal { Principal.fromActor(self) };
  public query func now() : async Int { Time.now() };

  public func trapAfterWrite() : async () { n += 1000; Runtime.trap("on purpose") };
  public func rejects() : async () { n += 7; throw Error.reject("no thanks") };
  public func outOfBounds() : async () { n += 1000; let a = [1]; ignore a[n] };
  public query func trapQuery() : async () { Runtime.trap("query trap") };
  public func forever() : async () { n += 1000; var i = 0; loop { i += 1 } };
  public query func foreverQuery() : async () { var i = 0; loop { i += 1 } };

  public func certify(b : Blob) : async () { CertifiedData.set(b) };
  public query func certificate() : async ?Blob { CertifiedData.getCertificate() };
  public func certificateInUpdate() : async ?Blob { CertifiedData.getCertificate() };

  public func startTimer(ms : Nat) : async () {
    ignore Timer.setTimer<system>(#nanoseconds(ms * 1_000_000), func() : async () { ticks += 1 });
  };
  public func startRecurring(ms : Nat) : async () {
    ignore Timer.recurringTimer<system>(#nanoseconds(ms * 1_000_000), func() : async () { ticks += 1 });
  };
  public query func getTicks() : async Nat { ticks };

  // Before the await everything is committed, whatever comes behind it.
  public func selfCallThenTrap() : async () {
    n += 1;
    await nothing();
    n += 100;
    Runtime.trap("after await");
  };
  func nothing() : async () {};
  public func caught() : async Text {
    try { await trapAfterWrite(); "no error" } catch (e) { last := Error.message(e); Error.message(e) };
  };
  public func caughtCode() : async Text {
    try { await rejects(); "no error" } catch (e) { debug_show (Error.code(e)) # " " # Error.message(e) };
  };
  public query func lastError() : async Text { last };

  public func grow(kib : Nat) : async Nat {
    let a = Array.tabulate<Nat8>(kib * 1024, func _ = 1);
    Blob.size(Blob.fromArray(a));
  };
  public func print(t : Text) : async () { Debug.print(t) };

  system func postupgrade() { upgrades += 1 };
  public query func getUpgrades() : async Nat { upgrades };
};
