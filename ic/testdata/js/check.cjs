// Asks @dfinity/agent about certificates and trees made here; see ../README.md.
"use strict";
const { Certificate, Cbor, reconstruct, fromHex, toHex } = require("@dfinity/agent");
const { Principal } = require("@dfinity/principal");

async function main(file) {
  const ours = JSON.parse(require("fs").readFileSync(file));
  Date.now = () => ours.Now;
  let bad = 0;
  for (const c of ours.Certificates) {
    const answer = await Certificate.create({
      certificate: fromHex(c.Certificate), rootKey: fromHex(ours.RootKey), canisterId: Principal.fromText(c.Canister),
    }).then(() => "", (e) => String(e));
    if ((answer === "") !== c.Accept) { console.error(c.Name, answer || "accepted"); bad++; }
    else console.log(c.Name, answer && "refused: " + answer);
  }
  for (const t of ours.Trees) {
    if (toHex(await reconstruct(Cbor.decode(fromHex(t.Tree)))) !== t.Digest) { console.error("digest differs", t); bad++; }
  }
  if (bad) process.exit(1);
}

main(process.argv[2]);
