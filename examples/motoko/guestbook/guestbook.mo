/// A guestbook: anybody may write, anybody may read.

import Error "mo:core/Error";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Text "mo:core/Text";
import Time "mo:core/Time";

persistent actor Guestbook {
  public type Entry = { id : Nat; author : Text; text : Text; time : Int };

  transient let maxAuthor = 40;
  transient let maxText = 2_000;
  transient let maxEntriesAtATime = 500;

  let entries = List.empty<Entry>();

  /// Writes an entry. Author and text must not be empty, nor longer than 40 and 2000 characters.
  public func post({ author; text } : { author : Text; text : Text }) : async () {
    await* check("author", author, maxAuthor);
    await* check("text", text, maxText);
    List.add(entries, { id = List.size(entries); author; text; time = Time.now() });
  };

  /// The entries from number `from` on, oldest first, at most 500 at a time.
  public query func since(from : Nat) : async [Entry] {
    let end = Nat.min(List.size(entries), from + maxEntriesAtATime);
    List.sliceToArray(entries, from, end);
  };

  func check(what : Text, value : Text, limit : Nat) : async* () {
    if (Text.trim(value, #predicate(func c = c == ' ' or c == '\n' or c == '\t')) == "") {
      throw Error.reject("The " # what # " is empty");
    };
    if (value.size() > limit) {
      throw Error.reject("The " # what # " is longer than " # Nat.toText(limit) # " characters");
    };
  };
};
