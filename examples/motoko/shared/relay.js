// What the stock client wants to know of the relay canister: the two methods that it signs calls of.
import { Actor } from "@dfinity/agent";
import { IDL } from "@dfinity/candid";

const Result = IDL.Variant({ Ok: IDL.Null, Err: IDL.Text });
const ClientKey = IDL.Record({ client_principal: IDL.Principal, client_nonce: IDL.Nat64 });
const WebsocketMessage = IDL.Record({
  client_key: ClientKey,
  sequence_num: IDL.Nat64,
  timestamp: IDL.Nat64,
  is_service_message: IDL.Bool,
  content: IDL.Vec(IDL.Nat8),
});

/** T is the application's message type, in both directions: the client takes it from the second argument of ws_message. */
export function relayActor(T, agent, canisterId) {
  const service = () => IDL.Service({
    ws_open: IDL.Func([IDL.Record({ client_nonce: IDL.Nat64, gateway_principal: IDL.Principal })], [Result], []),
    ws_message: IDL.Func([IDL.Record({ msg: WebsocketMessage }), IDL.Opt(T)], [Result], []),
  });
  return Actor.createActor(service, { agent, canisterId });
}
