// The Candid interface of the guestbook, and the type of the messages.
import { Actor } from "@dfinity/agent";
import { IDL } from "@dfinity/candid";

const Entry = IDL.Record({ id: IDL.Nat, author: IDL.Text, text: IDL.Text, time: IDL.Int });

const guestbookInterface = () => IDL.Service({
  since: IDL.Func([IDL.Nat], [IDL.Vec(Entry)], ["query"]),
});

// The application's message type, T in ws_message(..., opt T), in both directions. A visitor's message is the argument of
// `post`, which takes { author; text } and ignores the rest; what arrives is an Entry. With the rest optional, T is both.
export const Message = IDL.Record({ author: IDL.Text, text: IDL.Text, id: IDL.Opt(IDL.Nat), time: IDL.Opt(IDL.Int) });

export function guestbookActor({ agent, info }) {
  return Actor.createActor(guestbookInterface, { agent, canisterId: info.canisters.guestbook });
}

/** What the page shows of an entry, from a query's Entry or from a live Message. */
export function entryOf({ id, author, text, time }) {
  const value = (field) => (Array.isArray(field) ? field[0] : field);
  return { id: value(id), author, text, time: new Date(Number((value(time) ?? 0n) / 1_000_000n)) };
}
