// An upgrade that does not fit persistent-a.mo: a variable has another type.
persistent actor {
  var count = "none";
  public query func state() : async Text { count };
};
