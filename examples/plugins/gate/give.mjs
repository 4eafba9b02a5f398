// Tokens from the faucet: node examples/plugins/gate/give.mjs <principal> [amount]
import { Actor, HttpAgent } from "@dfinity/agent";
import { Principal } from "@dfinity/principal";

const [to, amount = "100"] = process.argv.slice(2);
const { network, canisters } = await (await fetch("http://127.0.0.1:8080/info")).json();
const agent = HttpAgent.createSync({ host: network.url, rootKey: Uint8Array.from(Buffer.from(network.root_key_hex, "hex")).buffer });
const token = Actor.createActor(
  ({ IDL }) => IDL.Service({ faucet: IDL.Func([IDL.Principal, IDL.Nat], [IDL.Nat], []) }),
  { agent, canisterId: canisters.token },
);
console.log(`${to} holds ${await token.faucet(Principal.fromText(to), BigInt(amount))} now`);
