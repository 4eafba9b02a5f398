/// Wire types of the relay canister. Field and tag names are wire names and must not change;
/// fields added later are optional.

module {
  /// One connection: a client principal may hold several, told apart by the nonce.
  public type ClientKey = { client_principal : Principal; client_nonce : Nat64 };

  /// What travels in both directions; towards clients it is encoded as CBOR, from clients it is Candid.
  /// `timestamp` is in nanoseconds since 1970.
  public type WebsocketMessage = {
    client_key : ClientKey;
    sequence_num : Nat64;
    timestamp : Nat64;
    is_service_message : Bool;
    content : Blob;
  };

  public type CanisterWsOpenArguments = { client_nonce : Nat64; gateway_principal : Principal };
  public type CanisterWsCloseArguments = { client_key : ClientKey };
  public type CanisterWsMessageArguments = { msg : WebsocketMessage };
  public type CanisterWsGetMessagesArguments = { nonce : Nat64 };

  /// `key` is `<gateway principal>_<nonce in 20 digits>`; `content` is the CBOR of a `WebsocketMessage`.
  public type CanisterOutputMessage = { client_key : ClientKey; key : Text; content : Blob };

  public type CanisterOutputCertifiedMessages = {
    messages : [CanisterOutputMessage];
    cert : Blob;
    tree : Blob;
    is_end_of_queue : Bool;
  };

  public type CanisterWsResult = { #Ok; #Err : Text };
  public type CanisterWsGetMessagesResult = { #Ok : CanisterOutputCertifiedMessages; #Err : Text };

  /// Who gets a method's reply as a message.
  public type Reply = { #Nobody; #Sender; #Everybody };

  /// A method that takes what clients send. Without `tag` the content of a message is the method's argument; with it,
  /// messages that are this tag of a variant go there, and the tag's payload is the argument. `pass_client` puts the
  /// client's principal in front of the argument. A reply goes out bare or wrapped in the tag `reply_tag`; the text of
  /// a failed call goes to the sender in the tag `error_tag`, if there is one.
  public type Call = {
    target : Principal;
    method : Text;
    tag : ?Text;
    pass_client : ?Bool;
    reply : ?Reply;
    reply_tag : ?Text;
    error_tag : ?Text;
  };

  /// A query `(cursor : nat) -> (vec T)`, or `-> (record { items : vec T; next : nat })`, whose items become messages:
  /// to every client, or to the one that the principal field `recipient` of T names; bare, or wrapped in the tag `tag`.
  /// A client that joins first gets the `last` items. With `interval_ms` the relay canister asks by itself.
  public type Feed = {
    target : Principal;
    method : Text;
    tag : ?Text;
    recipient : ?Text;
    last : ?Nat64;
    interval_ms : ?Nat64;
  };

  /// Methods that are told when a connection opens or closes: `(client : principal, nonce : nat64)`.
  public type Hook = { target : Principal; open : ?Text; close : ?Text };

  /// What a relay canister does; given at installation, at an upgrade, and to `relay_configure`. `pushers` may push
  /// though nothing else names them. With `gateways`, clients can come through these only. With `resume_ms`, a client
  /// that comes back so soon after its connection was lost gets what it has missed; with `resume_tag` too, each client is
  /// told at its beginning, and before messages of a lost connection, whether it goes on with one: `variant { <tag> : bool }`.
  /// `interface` is the version of this type and of the relay's methods that the writer of the configuration knows.
  public type Config = {
    calls : [Call];
    feeds : [Feed];
    admins : [Principal];
    hooks : ?[Hook];
    pushers : ?[Principal];
    gateways : ?[Principal];
    ack_interval_ms : ?Nat64;
    keep_alive_timeout_ms : ?Nat64;
    max_messages : ?Nat64;
    max_calls_in_flight : ?Nat64;
    resume_ms : ?Nat64;
    resume_tag : ?Text;
    interface : ?Nat32;
  };

  /// `cursor` is the index of the first item not yet relayed; `items` counts the items relayed so far. While
  /// `is_seeking`, the cursor moves to the feed's end without sending.
  public type FeedState = {
    target : Principal;
    method : Text;
    cursor : Nat;
    items : Nat64;
    is_seeking : Bool;
    last_error : ?Text;
  };

  /// A call of a target that failed; `at` is in nanoseconds since 1970.
  public type Rejection = {
    id : Nat64;
    at : Nat64;
    target : Principal;
    method : Text;
    code : Text;
    text : Text;
  };

  /// One gateway's queue: the nonces `first` up to but not including `next` can be polled.
  public type GatewayState = {
    gateway : Principal;
    clients : Nat64;
    first : Nat64;
    next : Nat64;
    bytes : Nat64;
  };

  /// What is kept for clients that may come back: `waiting` lost connections, and `messages` of these and of open ones that
  /// have not been acknowledged. Since the installation, so many lost connections were gone on with, have waited in vain,
  /// and were given up because more was to be kept than may be.
  public type ResumeState = {
    waiting : Nat64;
    messages : Nat64;
    bytes : Nat64;
    resumed : Nat64;
    expired : Nat64;
    overflowed : Nat64;
  };

  public type Status = {
    version : Text;
    clients : Nat64;
    feeds : [FeedState];
    rejections : [Rejection];
    gateways : [GatewayState];
    calls_in_flight : Nat64;
    calls_waiting : Nat64;
    resume : ?ResumeState;
  };

  /// `delivered`: every message of the asking gateway with a nonce below it has been polled and may be dropped.
  public type PullArguments = { target : Principal; method : Text; delivered : ?Nat64; interface : ?Nat32 };
  public type PullResult = { #Ok : Nat; #Err : Text };

  /// `Ok` is the number of connections that a message was queued for, or that were closed.
  public type PushResult = { #Ok : Nat64; #Err : Text };

  public type Version = { version : Text; interface : Nat32 };
};
