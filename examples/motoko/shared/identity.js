// A visitor's key: made at the first visit, kept as long as this tab. It signs what the visitor writes.
import { Secp256k1KeyIdentity } from "@dfinity/identity-secp256k1";

/** key: under which name this page keeps it. */
export function visitorIdentity(key) {
  try {
    const kept = sessionStorage.getItem(key);
    if (kept) {
      return Secp256k1KeyIdentity.fromSecretKey(Uint8Array.from(JSON.parse(kept)).buffer);
    }
  } catch (error) {
    console.warn("the kept identity cannot be read, making a new one:", error);
  }
  const identity = Secp256k1KeyIdentity.generate();
  try {
    sessionStorage.setItem(key, JSON.stringify([...new Uint8Array(identity.getKeyPair().secretKey)]));
  } catch {
    // Storage may be switched off: then the identity lasts as long as the page.
  }
  return identity;
}
