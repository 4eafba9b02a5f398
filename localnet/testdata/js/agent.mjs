// What a dapp does with @dfinity/agent 2, against the network at LOCALNET_URL.
// The libraries are taken as they are from the folder LOCALNET_NODE_ROOT.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { absentCanister, check, spyingFetch, tamperingFetch, testerIdl, withClock } from './shared.mjs';

const require = createRequire(process.env.LOCALNET_NODE_ROOT + '/');
const {
  Actor, Cbor, CanisterStatus, Certificate, HttpAgent,
  getManagementCanister, lookupResultToBuffer, polling,
} = require('@dfinity/agent');
const { IDL } = require('@dfinity/candid');
const { Principal } = require('@dfinity/principal');
const { Secp256k1KeyIdentity } = require('@dfinity/identity-secp256k1');

const { LOCALNET_URL: host, LOCALNET_CANISTER, LOCALNET_SECRET, LOCALNET_WASM } = process.env;
const canisterId = Principal.fromText(LOCALNET_CANISTER);
const wasm = readFileSync(LOCALNET_WASM);

const controller = Secp256k1KeyIdentity.fromSecretKey(Buffer.from(LOCALNET_SECRET, 'hex'));
const stranger = Secp256k1KeyIdentity.generate();
const agentOf = (identity, options = {}) =>
  HttpAgent.create({ host, identity, shouldFetchRootKey: true, retryTimes: 0, ...options });
const actorOf = (agent, id = canisterId) => Actor.createActor(testerIdl, { agent, canisterId: id });

const agent = await agentOf(stranger);
const actor = actorOf(agent);
const anonymous = await agentOf(undefined);

await check('status and root key', async () => {
  const status = await agent.status();
  assert.equal(status.replica_health_status, 'healthy');
  assert.equal(Buffer.from(agent.rootKey).toString('hex'), process.env.LOCALNET_ROOT_KEY);
});

await check('update and verified query, over the endpoints of this version', async () => {
  const { fetch, used } = spyingFetch();
  const spied = actorOf(await agentOf(stranger, { fetch }));
  assert.equal(await spied.get(), 0n);
  assert.equal(await spied.inc(), 1n);
  assert.equal(await spied.get(), 1n);
  assert.equal(await actorOf(anonymous).get(), 1n);
  assert.deepEqual([...used.keys()].sort(), ['v2 query', 'v2 read_state', 'v2 status', 'v3 call']);
});

await check('a query response that was tampered with is refused', async () => {
  const tampering = await agentOf(stranger, { fetch: tamperingFetch });
  await assert.rejects(actorOf(tampering).get(), /Invalid signature from replica/);
});

await check('the caller', async () => {
  assert.equal((await actor.whoAmI()).toText(), stranger.getPrincipal().toText());
  assert.equal((await actorOf(anonymous).whoAmI()).toText(), '2vxsx-fae');
});

await check('a trap is rejected and leaves no trace', async () => {
  const before = await actor.get();
  await assert.rejects(actor.incAndTrap(), (e) => {
    assert.equal(e.type, 'update', e);
    assert.equal(e.reject_code, 5);
    assert.equal(e.error_code, 'IC0503');
    assert.match(e.reject_message, /on purpose/);
    return true;
  });
  assert.equal(await actor.get(), before);
});

await check('an explicit reject', () => assert.rejects(actor.refuse(), (e) => {
  assert.equal(e.type, 'update', e);
  assert.equal(e.reject_code, 4);
  assert.equal(e.error_code, 'IC0406');
  assert.match(e.reject_message, /I would rather not/);
  return true;
}));

await check('rejected queries, with verified signatures', async () => {
  await assert.rejects(actor.trapQuery(), (e) => {
    assert.equal(e.type, 'query', e);
    assert.equal(e.result.reject_code, 5);
    assert.equal(e.result.error_code, 'IC0503');
    assert.match(e.result.reject_message, /on purpose/);
    return true;
  });
  await assert.rejects(actor.refuseQuery(), (e) => {
    assert.equal(e.type, 'query', e);
    assert.equal(e.result.reject_code, 4);
    return true;
  });
});

await check('methods that there are not', async () => {
  await assert.rejects(actor.missing(), (e) => {
    assert.equal(e.type, 'update', e);
    assert.equal(e.reject_code, 5);
    assert.equal(e.error_code, 'IC0503'); // the canister's inspect_message traps on a name it does not know
    return true;
  });
  await assert.rejects(actor.missingQuery(), (e) => {
    assert.equal(e.type, 'query', e);
    assert.equal(e.result.error_code, 'IC0536');
    return true;
  });
});

await check('canister that there is not', async () => {
  const nobody = actorOf(agent, Principal.fromHex(absentCanister));
  await assert.rejects(nobody.inc(), (e) => {
    assert.equal(e.type, 'update', e);
    assert.equal(e.reject_code, 3);
    assert.equal(e.error_code, 'IC0301');
    return true;
  });
  await assert.rejects(nobody.get(), (e) => {
    assert.equal(e.type, 'query', e);
    assert.equal(e.result.reject_code, 3);
    return true;
  });
});

await check('inspect_message', async () => {
  await assert.rejects(actorOf(anonymous).certify(new Uint8Array(4)), (e) => {
    assert.equal(e.type, 'update', e);
    assert.equal(e.error_code, 'IC0503'); // Motoko traps instead of not accepting
    assert.match(e.reject_message, /refused/);
    return true;
  });
});

await check('certified data', async () => {
  const data = new Uint8Array(32).map((_, i) => i);
  await actor.certify(data);
  const [certificate] = await actor.certificate();
  const verified = await Certificate.create({ certificate: certificate.buffer, rootKey: agent.rootKey, canisterId });
  const found = lookupResultToBuffer(verified.lookup(['canister', canisterId.toUint8Array(), 'certified_data']));
  assert.deepEqual(new Uint8Array(found), data);
});

await check('canister status', async () => {
  const paths = ['time', 'controllers', 'module_hash', 'candid', 'subnet',
    { kind: 'metadata', key: 'args', path: 'candid:args', decodeStrategy: 'utf-8' }];
  const status = await CanisterStatus.request({ agent, canisterId, paths });
  assert.ok(Math.abs(status.get('time').getTime() - Date.now()) < 5000);
  assert.deepEqual(status.get('controllers').map(String), [controller.getPrincipal().toText()]);
  assert.equal(status.get('module_hash'), createHash('sha256').update(wasm).digest('hex'));
  assert.match(status.get('candid'), /incAndTrap/);
  assert.equal(status.get('args'), '()');
  const subnet = status.get('subnet');
  assert.equal(subnet.subnetId, Principal.selfAuthenticating(new Uint8Array(agent.rootKey)).toText());
  assert.equal(subnet.nodeKeys.size, 1);
});

await check('private metadata', async () => {
  const paths = [{ kind: 'metadata', key: 'types', path: 'motoko:stable-types', decodeStrategy: 'utf-8' }];
  const mine = await CanisterStatus.request({ agent: await agentOf(controller), canisterId, paths });
  assert.match(mine.get('types'), /Version/);
  const warnings = [];
  const { warn, group } = console;
  console.warn = (w) => warnings.push(String(w));
  console.group = () => {};
  const theirs = await CanisterStatus.request({ agent, canisterId, paths });
  Object.assign(console, { warn, group });
  assert.equal(theirs.get('types'), null);
  assert.match(warnings.join(), /403/);
});

await check('asynchronous call and polling', async () => {
  const { requestId, response } = await agent.call(canisterId, {
    methodName: 'inc', arg: IDL.encode([], []), effectiveCanisterId: canisterId, callSync: false,
  });
  assert.equal(response.status, 202);
  const { reply } = await polling.pollForResponse(agent, canisterId, requestId, polling.defaultStrategy());
  assert.equal(IDL.decode([IDL.Nat], reply)[0], await actor.get());
  // Somebody else may not read it.
  await assert.rejects(anonymous.readState(canisterId, {
    paths: [[new TextEncoder().encode('request_status'), requestId]],
  }), /403/);
});

await check('the same call on v3 and v4 is executed once', async () => {
  const before = await actor.get();
  const bodies = [];
  const spying = await agentOf(stranger, { fetch: (url, init) => {
    bodies.push([String(url), init?.body]);
    return fetch(url, init);
  } });
  await actorOf(spying).inc();
  const [url, body] = bodies.find(([url]) => url.endsWith('/call'));
  assert.match(url, /\/api\/v3\//);
  for (const version of ['v3', 'v4']) {
    const again = await fetch(url.replace('/v3/', `/${version}/`), {
      method: 'POST', headers: { 'Content-Type': 'application/cbor' }, body,
    });
    assert.equal(again.status, 200);
    const { status, certificate } = Cbor.decode(await again.arrayBuffer());
    assert.equal(status, 'replied');
    await Certificate.create({ certificate: certificate.buffer, rootKey: agent.rootKey, canisterId });
  }
  assert.equal(await actor.get(), before + 1n);
});

await check('payloads up to 2 MiB', async () => {
  const big = new Uint8Array(1.9 * 1024 * 1024).fill(7);
  assert.equal((await actor.echoUpdate(big)).length, big.length);
  assert.equal((await actor.echo(big)).length, big.length);
  await assert.rejects(actor.echoUpdate(new Uint8Array(2 * 1024 * 1024)), /413|too large/);
});

await check('clock of the client', async () => {
  await withClock(20, () => assert.rejects(actor.inc(), /Invalid request expiry/));
  // This version's syncTime believes in mainnet's root key only, and swallows the error that it gets anywhere else.
  await agent.syncTime(canisterId);
  assert.equal(typeof await actor.inc(), 'bigint');
});

await check('many at once', async () => {
  const before = await actor.get();
  const results = await Promise.all(Array.from({ length: 50 }, () => actor.inc()));
  assert.equal(new Set(results.map(String)).size, 50);
  assert.equal(await actor.get(), before + 50n);
});

await check('management canister', async () => {
  const mine = await agentOf(controller);
  const id = await Actor.createCanister({ agent: mine });
  await Actor.install({ module: wasm }, { agent: mine, canisterId: id });
  const fresh = actorOf(mine, id);
  assert.equal(await fresh.inc(), 1n);
  const ic = getManagementCanister({ agent: mine });
  const status = await ic.canister_status({ canister_id: id });
  assert.deepEqual(status.settings.controllers.map(String), [controller.getPrincipal().toText()]);
  await assert.rejects(getManagementCanister({ agent }).canister_status({ canister_id: id }), (e) => {
    assert.equal(e.type, 'update', e);
    return true;
  });
});

console.log('done');
