// The Candid interfaces of the two canisters, and how to reach them.
import { Actor, HttpAgent } from "@dfinity/agent";
import { IDL } from "@dfinity/candid";

const Entry = IDL.Record({ id: IDL.Nat, author: IDL.Text, text: IDL.Text, time: IDL.Int });

const guestbookInterface = () => IDL.Service({
  since: IDL.Func([IDL.Nat], [IDL.Vec(Entry)], ["query"]),
});

// The application's message type, T in ws_message(..., opt T), in both directions. A visitor's message is the argument of
// `post`, which takes { author; text } and ignores the rest; what arrives is an Entry. With the rest optional, T is both.
const Message = IDL.Record({ author: IDL.Text, text: IDL.Text, id: IDL.Opt(IDL.Nat), time: IDL.Opt(IDL.Int) });

const Result = IDL.Variant({ Ok: IDL.Null, Err: IDL.Text });
const ClientKey = IDL.Record({ client_principal: IDL.Principal, client_nonce: IDL.Nat64 });
const WebsocketMessage = IDL.Record({
  client_key: ClientKey,
  sequence_num: IDL.Nat64,
  timestamp: IDL.Nat64,
  is_service_message: IDL.Bool,
  content: IDL.Vec(IDL.Nat8),
});

const relayInterface = () => IDL.Service({
  ws_open: IDL.Func([IDL.Record({ client_nonce: IDL.Nat64, gateway_principal: IDL.Principal })], [Result], []),
  ws_message: IDL.Func([IDL.Record({ msg: WebsocketMessage }), IDL.Opt(Message)], [Result], []),
});

/** The agent checks every answer against the network's root key, which /info names. */
export function actors(info) {
  const agent = HttpAgent.createSync({ host: info.networkUrl, rootKey: info.rootKey });
  return {
    guestbook: Actor.createActor(guestbookInterface, { agent, canisterId: info.guestbook }),
    relay: Actor.createActor(relayInterface, { agent, canisterId: info.relay }),
  };
}

/** What the page shows of an entry, from a query's Entry or from a live Message. */
export function entryOf({ id, author, text, time }) {
  const value = (field) => (Array.isArray(field) ? field[0] : field);
  return { id: value(id), author, text, time: new Date(Number((value(time) ?? 0n) / 1_000_000n)) };
}
