import Blob "mo:core/Blob";
import CertifiedData "mo:core/CertifiedData";
import Error "mo:core/Error";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";

/// A canister that does one of everything that the network's HTTP interface shows.
persistent actor Tester {
  var count : Nat = 0;

  public func inc() : async Nat {
    count += 1;
    count;
  };

  public query func get() : async Nat { count };

  public shared ({ caller }) func whoAmI() : async Principal { caller };

  public query func echo(content : Blob) : async Blob { content };

  public func echoUpdate(content : Blob) : async Blob { content };

  /// Counts up and then traps: the count must not stay.
  public func incAndTrap() : async () {
    count += 1;
    Runtime.trap("on purpose");
  };

  public query func trapQuery() : async () { Runtime.trap("on purpose") };

  public func refuse() : async () { throw Error.reject("I would rather not") };

  public query func refuseQuery() : async () { throw Error.reject("I would rather not") };

  /// Never answers by itself: waits for ever in small steps.
  var stop = false;
  public func waitForStop() : async () {
    while (not stop) { await async {} };
  };
  public func stopWaiting() : async () { stop := true };

  public func certify(data : Blob) : async () { CertifiedData.set(data) };

  public query func certificate() : async ?Blob { CertifiedData.getCertificate() };

  system func inspect({ caller : Principal; msg : { #certificate : () -> (); #certify : () -> Blob; #echo : () -> Blob; #echoUpdate : () -> Blob; #get : () -> (); #inc : () -> (); #incAndTrap : () -> (); #refuse : () -> (); #refuseQuery : () -> (); #stopWaiting : () -> (); #trapQuery : () -> (); #waitForStop : () -> (); #whoAmI : () -> () } }) : Bool {
    switch (msg) {
      // The only method that strangers may not even try.
      case (#certify _) { not Principal.isAnonymous(caller) };
      case _ { true };
    };
  };
};
