// The application's message type, T in ws_message(..., opt T), in both directions: one variant. config.toml says what
// becomes of the tags.
import { IDL } from "@dfinity/candid";

const Line = IDL.Record({ id: IDL.Nat, name: IDL.Text, text: IDL.Text, time: IDL.Int });
const Person = IDL.Record({ room: IDL.Text, name: IDL.Text });

export const Message = IDL.Variant({
  // sent
  Join: Person,
  Say: IDL.Text,
  Leave: IDL.Null,
  // received: answers
  Joined: IDL.Record({ room: IDL.Text, name: IDL.Text, present: IDL.Vec(IDL.Text), lines: IDL.Vec(Line) }),
  Left: IDL.Null,
  Refused: IDL.Text,
  // received: what happens in the room
  Came: Person,
  Went: Person,
  Said: IDL.Record({ room: IDL.Text, line: Line }),
});
