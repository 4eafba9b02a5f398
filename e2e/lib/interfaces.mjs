// Candid interfaces of the canisters under test, by hand: nothing generated, nothing shared with the code under test.
import { Actor, HttpAgent } from "@dfinity/agent";
import { IDL } from "@dfinity/candid";

const Result = IDL.Variant({ Ok: IDL.Null, Err: IDL.Text });
const ClientKey = IDL.Record({ client_principal: IDL.Principal, client_nonce: IDL.Nat64 });
const OpenArgs = IDL.Record({ client_nonce: IDL.Nat64, gateway_principal: IDL.Principal });
const MessageArgs = IDL.Record({
  msg: IDL.Record({
    client_key: ClientKey,
    sequence_num: IDL.Nat64,
    timestamp: IDL.Nat64,
    is_service_message: IDL.Bool,
    content: IDL.Vec(IDL.Nat8),
  }),
});

/** Argument types of the protocol's methods, for clients that write their frames by hand. */
export const wire = { OpenArgs, MessageArgs };

/** The two methods that the stock client looks at, with T as the application's message type. */
export const webSocketInterface = (T) => () => IDL.Service({
  ws_open: IDL.Func([OpenArgs], [Result], []),
  ws_message: IDL.Func([MessageArgs, IDL.Opt(T)], [Result], []),
});

const Entry = IDL.Record({ id: IDL.Nat, author: IDL.Text, text: IDL.Text, time: IDL.Int });

export const guestbookInterface = () => IDL.Service({
  post: IDL.Func([IDL.Record({ author: IDL.Text, text: IDL.Text })], [], []),
  since: IDL.Func([IDL.Nat], [IDL.Vec(Entry)], ["query"]),
});

/** What a client of the guestbook sends (author, text) and gets (an entry), in one type. */
export const GuestbookMessage = IDL.Record({
  author: IDL.Text,
  text: IDL.Text,
  id: IDL.Opt(IDL.Nat),
  time: IDL.Opt(IDL.Int),
});

const Line = IDL.Record({ id: IDL.Nat, name: IDL.Text, text: IDL.Text, time: IDL.Int });
const Person = IDL.Record({ room: IDL.Text, name: IDL.Text });
const Welcome = IDL.Record({ room: IDL.Text, name: IDL.Text, present: IDL.Vec(IDL.Text), lines: IDL.Vec(Line) });

export const chatInterface = () => IDL.Service({
  join: IDL.Func([IDL.Principal, Person], [Welcome], []),
  say: IDL.Func([IDL.Principal, IDL.Text], [], []),
  leave: IDL.Func([IDL.Principal], [], []),
  opened: IDL.Func([IDL.Principal, IDL.Nat64], [], []),
  closed: IDL.Func([IDL.Principal, IDL.Nat64], [], []),
});

/** What clients of the chat send and get. Shout is a tag that nobody takes. */
export const ChatMessage = IDL.Variant({
  Join: Person,
  Say: IDL.Text,
  Leave: IDL.Null,
  Shout: IDL.Text,
  Joined: Welcome,
  Left: IDL.Null,
  Refused: IDL.Text,
  Came: Person,
  Went: Person,
  Said: IDL.Record({ room: IDL.Text, line: Line }),
});

/** An item of the ticker's feed. */
export const Price = IDL.Record({ id: IDL.Nat, time: IDL.Int, cents: IDL.Nat });

export const tickerInterface = () => IDL.Service({
  since: IDL.Func([IDL.Nat], [IDL.Record({ items: IDL.Vec(Price), next: IDL.Nat })], ["query"]),
});

export const targetInterface = () => IDL.Service({
  put: IDL.Func([IDL.Text], [], []),
  say: IDL.Func([IDL.Text], [], []),
  putBy: IDL.Func([], [IDL.Vec(IDL.Principal)], ["query"]),
});

const Place = { connection: IDL.Nat64, number: IDL.Nat };
const Note = IDL.Record({ ...Place, padding: IDL.Vec(IDL.Nat8) });

/** What clients of the diary send: notes of any size, to be answered or not. Noted is the answer. */
export const DiaryMessage = IDL.Variant({ Note, Tell: Note, Noted: IDL.Record(Place) });

/** What is written down; and by the echo, from when on. */
export const diaryInterface = () => IDL.Service({
  writeDown: IDL.Func([], [], []),
  entriesFrom: IDL.Func([IDL.Nat], [IDL.Vec(IDL.Record({ ...Place, what: IDL.Text, client: IDL.Opt(IDL.Principal) }))], ["query"]),
});

const FeedState = IDL.Record({
  target: IDL.Principal,
  method: IDL.Text,
  cursor: IDL.Nat,
  items: IDL.Nat64,
  last_error: IDL.Opt(IDL.Text),
});
const Rejection = IDL.Record({ id: IDL.Nat64, target: IDL.Principal, method: IDL.Text, text: IDL.Text });

export const relayInterface = () => IDL.Service({
  clients: IDL.Func([], [IDL.Vec(ClientKey)], ["query"]),
  relay_status: IDL.Func([], [IDL.Record({
    clients: IDL.Nat64,
    feeds: IDL.Vec(FeedState),
    rejections: IDL.Vec(Rejection),
  })], ["query"]),
});

/** An actor on the embedded network of this relay; answers are verified with the root key that /info names. */
export function actor(relay, name, idl, identity) {
  const agent = HttpAgent.createSync({ host: relay.info.network.url, rootKey: relay.rootKey, identity });
  return Actor.createActor(idl, { agent, canisterId: relay.canister(name) });
}
