/// A token to try the gate with: the part of ICRC-1 that moves and counts, and a faucet instead of an owner.

import Blob "mo:core/Blob";
import Map "mo:core/Map";
import Order "mo:core/Order";
import Principal "mo:core/Principal";

persistent actor Token {
  public type Account = { owner : Principal; subaccount : ?Blob };
  public type TransferArg = {
    from_subaccount : ?Blob;
    to : Account;
    amount : Nat;
    fee : ?Nat;
    memo : ?Blob;
    created_at_time : ?Nat64;
  };
  public type TransferError = {
    #BadFee : { expected_fee : Nat };
    #BadBurn : { min_burn_amount : Nat };
    #InsufficientFunds : { balance : Nat };
    #TooOld;
    #CreatedInFuture : { ledger_time : Nat64 };
    #Duplicate : { duplicate_of : Nat };
    #TemporarilyUnavailable;
    #GenericError : { error_code : Nat; message : Text };
  };

  transient let noSubaccount = Blob.fromArray([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

  let balances = Map.empty<Account, Nat>();
  var transfers = 0;

  func compare(a : Account, b : Account) : Order.Order {
    switch (Principal.compare(a.owner, b.owner)) {
      case (#equal) Blob.compare(subaccount(a), subaccount(b));
      case (order) order;
    };
  };

  /// No subaccount is the one of 32 zeros.
  func subaccount(account : Account) : Blob {
    switch (account.subaccount) {
      case (?bytes) bytes;
      case null noSubaccount;
    };
  };

  func balance(account : Account) : Nat {
    switch (Map.get(balances, compare, account)) {
      case (?amount) amount;
      case null 0;
    };
  };

  func set(account : Account, amount : Nat) {
    if (amount == 0) Map.remove(balances, compare, account) else Map.add(balances, compare, account, amount);
  };

  /// What an account holds; O(log n) of the accounts.
  public query func icrc1_balance_of(account : Account) : async Nat { balance(account) };

  /// Moves tokens of the caller, without a fee; O(log n) of the accounts.
  public shared ({ caller }) func icrc1_transfer(arg : TransferArg) : async { #Ok : Nat; #Err : TransferError } {
    switch (arg.fee) {
      case (?fee) if (fee != 0) return #Err(#BadFee { expected_fee = 0 });
      case null {};
    };
    let from = { owner = caller; subaccount = arg.from_subaccount };
    let available = balance(from);
    if (available < arg.amount) return #Err(#InsufficientFunds { balance = available });
    set(from, available - arg.amount);
    set(arg.to, balance(arg.to) + arg.amount);
    transfers += 1;
    #Ok(transfers - 1);
  };

  /// New tokens for anybody who asks: nothing that a real token would have. Returns what the account holds now.
  public func faucet(to : Principal, amount : Nat) : async Nat {
    let account = { owner = to; subaccount = null };
    set(account, balance(account) + amount);
    balance(account);
  };
};
