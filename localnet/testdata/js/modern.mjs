// What a dapp does with today's agents, against the network at LOCALNET_URL:
// with @dfinity/agent 3 or, if LOCALNET_LIBRARY says so, with @icp-sdk/core.
// The libraries are taken as they are from the folder LOCALNET_NODE_ROOT.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { absentCanister, check, spyingFetch, tamperingFetch, testerIdl, withClock } from './shared.mjs';

const require = createRequire(process.env.LOCALNET_NODE_ROOT + '/');
const isCore = process.env.LOCALNET_LIBRARY === '@icp-sdk/core';
const library = isCore
  ? {
    agent: require('@icp-sdk/core/agent'),
    candid: require('@icp-sdk/core/candid'),
    principal: require('@icp-sdk/core/principal'),
    secp256k1: require('@icp-sdk/core/identity/secp256k1'),
    identity: require('@icp-sdk/core/identity'),
    endpoints: ['v2 status', 'v4 call', 'v3 query', 'v3 read_state'],
  }
  : {
    agent: require('@dfinity/agent'),
    candid: require('@dfinity/candid'),
    principal: require('@dfinity/principal'),
    secp256k1: require('@dfinity/identity-secp256k1'),
    endpoints: ['v2 status', 'v3 call', 'v2 query', 'v2 read_state'],
  };
const {
  Actor, CanisterStatus, Cbor, Certificate, HttpAgent, RejectError, SubnetStatus, StatePaths,
  lookupResultToBuffer, polling,
} = library.agent;
const { IDL } = library.candid;
const { Principal } = library.principal;
const { Secp256k1KeyIdentity } = library.secp256k1;

const { LOCALNET_URL: host, LOCALNET_CANISTER, LOCALNET_SECRET, LOCALNET_ROOT_KEY, LOCALNET_WASM } = process.env;
const canisterId = Principal.fromText(LOCALNET_CANISTER);
const rootKey = Uint8Array.from(Buffer.from(LOCALNET_ROOT_KEY, 'hex'));
const wasm = readFileSync(LOCALNET_WASM);
const utf8 = (text) => new TextEncoder().encode(text);

const controller = Secp256k1KeyIdentity.fromSecretKey(Uint8Array.from(Buffer.from(LOCALNET_SECRET, 'hex')));
const stranger = Secp256k1KeyIdentity.generate();
const agentOf = (identity, options = {}) => HttpAgent.create({ host, identity, rootKey, retryTimes: 0, ...options });
const actorOf = (agent, id = canisterId) => Actor.createActor(testerIdl, { agent, canisterId: id });

const agent = await agentOf(stranger);
const actor = actorOf(agent);
const anonymous = await agentOf(undefined);

/// Asserts that a call is rejected with these codes.
const rejects = (promise, { certified, code, error, text }) => assert.rejects(promise, (e) => {
  assert.ok(e instanceof RejectError, e);
  assert.equal(e.isCertified, certified, e);
  assert.equal(e.code.rejectCode, code, e);
  assert.equal(e.code.rejectErrorCode, error, e);
  if (text) assert.match(e.code.rejectMessage, text);
  return true;
});

await check('status and root key', async () => {
  const fetching = await HttpAgent.create({ host, shouldFetchRootKey: true });
  assert.deepEqual(Buffer.from(fetching.rootKey), Buffer.from(rootKey));
  const bare = HttpAgent.createSync({ host });
  await bare.fetchRootKey();
  assert.deepEqual(Buffer.from(bare.rootKey), Buffer.from(rootKey));
  assert.equal((await bare.status()).replica_health_status, 'healthy');
});

await check('a certificate under another root key is refused', async () => {
  const mainnet = HttpAgent.createSync({ host, retryTimes: 0 }); // believes in the Internet Computer's key
  await assert.rejects(actorOf(mainnet).inc(), /[Ss]ignature verification failed|Certificate verification/);
});

await check('update and verified query, over the endpoints of this version', async () => {
  const { fetch, used } = spyingFetch();
  const spying = await agentOf(stranger, { fetch, rootKey: undefined, shouldFetchRootKey: true });
  const spied = actorOf(spying);
  const before = await spied.get();
  assert.equal(await spied.inc(), before + 1n);
  assert.equal(await spied.get(), before + 1n);
  assert.equal(await actorOf(anonymous).get(), before + 1n);
  assert.deepEqual([...used.keys()].sort(), library.endpoints.toSorted());
});

await check('a query response that was tampered with is refused', async () => {
  const tampering = await agentOf(stranger, { fetch: tamperingFetch });
  await assert.rejects(actorOf(tampering).get(), /verification/);
});

await check('the caller', async () => {
  assert.equal((await actor.whoAmI()).toText(), stranger.getPrincipal().toText());
  assert.equal((await actorOf(anonymous).whoAmI()).toText(), '2vxsx-fae');
});

await check('a trap is rejected and leaves no trace', async () => {
  const before = await actor.get();
  await rejects(actor.incAndTrap(), { certified: true, code: 5, error: 'IC0503', text: /on purpose/ });
  assert.equal(await actor.get(), before);
});

await check('an explicit reject', () =>
  rejects(actor.refuse(), { certified: true, code: 4, error: 'IC0406', text: /I would rather not/ }));

await check('rejected queries, with verified signatures', async () => {
  await rejects(actor.trapQuery(), { certified: false, code: 5, error: 'IC0503', text: /on purpose/ });
  await rejects(actor.refuseQuery(), { certified: false, code: 4, error: 'IC0406', text: /I would rather not/ });
  await rejects(actor.missingQuery(), { certified: false, code: 5, error: 'IC0536', text: /missingQuery/ });
});

await check('calls that are not accepted', async () => {
  const nobody = actorOf(agent, Principal.fromHex(absentCanister));
  await rejects(nobody.inc(), { certified: false, code: 3, error: 'IC0301', text: /not found/ });
  await rejects(nobody.get(), { certified: false, code: 3, error: 'IC0301' });
  // Motoko's inspect_message traps on a name that it does not know, and instead of not accepting.
  await rejects(actor.missing(), { certified: false, code: 5, error: 'IC0503' });
  await rejects(actorOf(anonymous).certify(new Uint8Array(4)), { certified: false, code: 5, error: 'IC0503', text: /refused/ });
});

await check('certified data', async () => {
  const data = new Uint8Array(32).map((_, i) => i);
  await actor.certify(data);
  const [certificate] = await actor.certificate();
  const verified = await Certificate.create({
    certificate: Uint8Array.from(certificate), rootKey, ...(isCore ? { principal: { canisterId } } : { canisterId }),
  });
  const found = lookupResultToBuffer(verified.lookup_path(['canister', canisterId.toUint8Array(), 'certified_data']));
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
  assert.equal(subnet.subnetId, Principal.selfAuthenticating(rootKey).toText());
  assert.equal(subnet.nodeKeys.size, 1);
  if (!isCore) assert.match(await library.agent.fetchCandid(canisterId.toText(), agent), /incAndTrap/);
});

await check('private metadata is for controllers', async () => {
  const path = { kind: 'metadata', key: 'types', path: 'motoko:stable-types', decodeStrategy: 'utf-8' };
  const { warn, group } = console;
  Object.assign(console, { warn: () => {}, group: () => {} }); // the agents report what they could not read
  try {
    const mine = await CanisterStatus.request({ agent: await agentOf(controller), canisterId, paths: [path] });
    assert.match(mine.get('types'), /Version/);
    const theirs = await CanisterStatus.request({ agent, canisterId, paths: [path] });
    assert.equal(theirs.get('types'), null);
  } finally {
    Object.assign(console, { warn, group });
  }
});

if (isCore) {
  await check('subnet status', async () => {
    const subnetId = Principal.selfAuthenticating(rootKey);
    const status = await SubnetStatus.request({ agent, subnetId, paths: ['time', 'publicKey', 'canisterRanges', 'nodeKeys',
      { key: 'metrics', path: 'metrics', decodeStrategy: 'hex' }] });
    assert.ok(Math.abs(status.get('time').getTime() - Date.now()) < 5000);
    assert.deepEqual(Buffer.from(status.get('publicKey')), Buffer.from(rootKey));
    assert.equal(status.get('nodeKeys').size, 1);
    const [[first, last]] = status.get('canisterRanges');
    assert.ok(first.compareTo(canisterId) !== 'gt' && last.compareTo(canisterId) !== 'lt');
    assert.match(status.get('metrics'), /^d9d9f7a4/); // a map of four, whose keys are numbers as replicas write them
    assert.equal((await agent.getSubnetIdFromCanister(canisterId)).toText(), subnetId.toText());
    const { values } = await agent.readState({ canisterId }, { paths: [StatePaths.time, StatePaths.canisterCandid(canisterId)] });
    assert.match(values.get(StatePaths.time).toISOString(), /^20/);
  });

  await check('delegations', async () => {
    const { DelegationChain, DelegationIdentity, ECDSAKeyIdentity, Ed25519KeyIdentity } = library.identity;
    for (const session of [await ECDSAKeyIdentity.generate(), Ed25519KeyIdentity.generate()]) {
      const chain = await DelegationChain.create(stranger, session.getPublicKey(), new Date(Date.now() + 60_000), { targets: [canisterId] });
      const delegated = actorOf(await agentOf(DelegationIdentity.fromDelegation(session, chain)));
      assert.equal((await delegated.whoAmI()).toText(), stranger.getPrincipal().toText());
    }
    const session = Ed25519KeyIdentity.generate();
    const late = await DelegationChain.create(stranger, session.getPublicKey(), new Date(Date.now() - 1000));
    await assert.rejects(actorOf(await agentOf(DelegationIdentity.fromDelegation(session, late))).inc(), /Invalid delegation expiry/);
  });
}

await check('asynchronous call and polling', async () => {
  const { requestId, response } = await agent.call(canisterId, {
    methodName: 'inc', arg: IDL.encode([], []), effectiveCanisterId: canisterId, callSync: false,
  });
  assert.equal(response.status, 202);
  const { reply } = await polling.pollForResponse(agent, canisterId, requestId);
  assert.equal(IDL.decode([IDL.Nat], reply)[0], await actor.get());
  // Somebody else may not read it.
  await assert.rejects(anonymous.readState(canisterId, { paths: [[utf8('request_status'), requestId]] }), /403/);
});

await check('the same call on v3 and v4 is executed once', async () => {
  const before = await actor.get();
  const { fetch: spy, used } = spyingFetch();
  await actorOf(await agentOf(stranger, { fetch: spy })).inc();
  const { url, body } = [...used].find(([name]) => name.endsWith('call'))[1];
  for (const version of ['v3', 'v4']) {
    const again = await fetch(url.replace(/\/v[34]\//, `/${version}/`), {
      method: 'POST', headers: { 'Content-Type': 'application/cbor' }, body,
    });
    assert.equal(again.status, 200);
    assert.equal(Cbor.decode(new Uint8Array(await again.arrayBuffer())).status, 'replied');
  }
  assert.equal(await actor.get(), before + 1n);
});

await check('payloads up to 2 MiB', async () => {
  const big = new Uint8Array(1.9 * 1024 * 1024).fill(7);
  assert.equal((await actor.echoUpdate(big)).length, big.length);
  assert.equal((await actor.echo(big)).length, big.length);
  await assert.rejects(actor.echoUpdate(new Uint8Array(2 * 1024 * 1024)), /413|too large/);
});

await check('a client whose clock is wrong syncs its time', async () => {
  for (const minutes of [-20, 20]) {
    await withClock(minutes, async () => {
      const lost = await agentOf(stranger);
      // The first call is refused with the text that the agent looks for; it asks for the time and repeats the call.
      assert.equal(typeof await actorOf(lost).inc(), 'bigint');
      assert.ok(lost.hasSyncedTime());
      assert.ok(Math.abs(lost.getTimeDiffMsecs() + minutes * 60_000) < 10_000, String(lost.getTimeDiffMsecs()));
      assert.equal(typeof await actorOf(lost).get(), 'bigint');
    });
  }
  const prepared = await agentOf(stranger, { shouldSyncTime: true }); // asks a canister id of mainnet for the time
  assert.ok(prepared.hasSyncedTime());
  await prepared.syncTime(canisterId);
  assert.ok(Math.abs(prepared.getTimeDiffMsecs()) < 5000);
});

await check('many at once', async () => {
  const before = await actor.get();
  const results = await Promise.all(Array.from({ length: 20 }, () => actor.inc()));
  assert.equal(new Set(results.map(String)).size, 20);
  assert.equal(await actor.get(), before + 20n);
});

const managementIdl = ({ IDL }) => {
  const id = IDL.Record({ canister_id: IDL.Principal });
  return IDL.Service({
    provisional_create_canister_with_cycles: IDL.Func([IDL.Record({ amount: IDL.Opt(IDL.Nat) })], [id], []),
    install_code: IDL.Func([IDL.Record({
      mode: IDL.Variant({ install: IDL.Null, reinstall: IDL.Null }), canister_id: IDL.Principal,
      wasm_module: IDL.Vec(IDL.Nat8), arg: IDL.Vec(IDL.Nat8),
    })], [], []),
    canister_status: IDL.Func([id], [IDL.Record({
      status: IDL.Variant({ running: IDL.Null, stopping: IDL.Null, stopped: IDL.Null }), cycles: IDL.Nat, module_hash: IDL.Opt(IDL.Vec(IDL.Nat8)),
    })], []),
    stop_canister: IDL.Func([id], [], []),
    delete_canister: IDL.Func([id], [], []),
  });
};

await check('management canister', async () => {
  const mine = await agentOf(controller);
  const of = (agent, effective) => Actor.createActor(managementIdl, { agent, canisterId: Principal.managementCanister(), ...effective });
  const created = of(mine, isCore ? { effectiveTarget: { subnetId: Principal.selfAuthenticating(rootKey) } } : { effectiveCanisterId: canisterId });
  const { canister_id } = await created.provisional_create_canister_with_cycles({ amount: [3_000_000_000_000n] });
  const management = of(mine, { effectiveCanisterId: canister_id });
  await management.install_code({ mode: { install: null }, canister_id, wasm_module: wasm, arg: new Uint8Array(IDL.encode([], [])) });
  assert.equal(await actorOf(mine, canister_id).inc(), 1n);
  const status = await management.canister_status({ canister_id });
  assert.ok('running' in status.status && status.cycles > 2_000_000_000_000n && status.cycles < 3_000_000_000_000n);
  assert.equal(Buffer.from(status.module_hash[0]).toString('hex'), createHash('sha256').update(wasm).digest('hex'));
  await rejects(of(agent, { effectiveCanisterId: canister_id }).stop_canister({ canister_id }), { certified: false, code: 5, error: 'IC0512' });
  await rejects(management.delete_canister({ canister_id }), { certified: true, code: 5, error: 'IC0510' });
  await management.stop_canister({ canister_id });
  await rejects(actorOf(mine, canister_id).inc(), { certified: false, code: 5, error: 'IC0508' });
  await management.delete_canister({ canister_id });
  await rejects(actorOf(mine, canister_id).inc(), { certified: false, code: 3, error: 'IC0301' });
});

console.log('done');
