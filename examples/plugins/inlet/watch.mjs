// A stock client that shows the alerts: node examples/plugins/inlet/watch.mjs
import "../../../e2e/lib/globals.mjs"; // what a browser has and Node lacks
import { Actor, HttpAgent } from "@dfinity/agent";
import { IcWebSocket, createWsConfig, generateRandomIdentity } from "ic-websocket-js";

const page = "http://127.0.0.1:8080";

const { network, canisters } = await (await fetch(`${page}/info`)).json();
const identity = generateRandomIdentity();
const agent = HttpAgent.createSync({ host: network.url, rootKey: Uint8Array.from(Buffer.from(network.root_key_hex, "hex")).buffer, identity });
const protocol = ({ IDL }) => {
  const Alert = IDL.Record({ title: IDL.Text, text: IDL.Text, link: IDL.Opt(IDL.Text), time: IDL.Nat64 });
  const Result = IDL.Variant({ Ok: IDL.Null, Err: IDL.Text });
  const ClientKey = IDL.Record({ client_principal: IDL.Principal, client_nonce: IDL.Nat64 });
  const Message = IDL.Record({
    client_key: ClientKey, sequence_num: IDL.Nat64, timestamp: IDL.Nat64, is_service_message: IDL.Bool, content: IDL.Vec(IDL.Nat8),
  });
  return IDL.Service({
    ws_open: IDL.Func([IDL.Record({ client_nonce: IDL.Nat64, gateway_principal: IDL.Principal })], [Result], []),
    ws_message: IDL.Func([IDL.Record({ msg: Message }), IDL.Opt(Alert)], [Result], []),
  });
};
const socket = new IcWebSocket(page.replace("http", "ws"), undefined, createWsConfig({
  canisterId: canisters.relay,
  canisterActor: Actor.createActor(protocol, { agent, canisterId: canisters.relay }),
  identity,
  networkUrl: network.url,
}));
socket.onopen = () => console.log(`${identity.getPrincipal()} is connected`);
socket.onmessage = ({ data: { title, text, link: [link = ""] } }) => console.log(`${title}: ${text} ${link}`);
socket.onerror = ({ error }) => console.error(error.message);
socket.onclose = ({ code, reason }) => console.log(`closed: ${code} ${reason}`);
