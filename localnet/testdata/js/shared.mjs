// What the scripts for the JavaScript agents have in common.
//
// Every check prints a line; the first failure ends the script with status 1.

/// The interface of testdata/tester, and two methods that it does not have.
export const testerIdl = ({ IDL }) => IDL.Service({
  inc: IDL.Func([], [IDL.Nat], []),
  get: IDL.Func([], [IDL.Nat], ['query']),
  whoAmI: IDL.Func([], [IDL.Principal], []),
  echo: IDL.Func([IDL.Vec(IDL.Nat8)], [IDL.Vec(IDL.Nat8)], ['query']),
  echoUpdate: IDL.Func([IDL.Vec(IDL.Nat8)], [IDL.Vec(IDL.Nat8)], []),
  incAndTrap: IDL.Func([], [], []),
  trapQuery: IDL.Func([], [], ['query']),
  refuse: IDL.Func([], [], []),
  refuseQuery: IDL.Func([], [], ['query']),
  certify: IDL.Func([IDL.Vec(IDL.Nat8)], [], []),
  certificate: IDL.Func([], [IDL.Opt(IDL.Vec(IDL.Nat8))], ['query']),
  missing: IDL.Func([], [], []),
  missingQuery: IDL.Func([], [], ['query']),
});

/// A canister id of the network's form that nobody has.
export const absentCanister = '00000000000003e70101';

export const check = async (name, f) => {
  try {
    await f();
    console.log(`ok ${name}`);
  } catch (e) {
    console.log(`not ok ${name}`);
    console.error(e);
    process.exit(1);
  }
};

/// A fetch that remembers the endpoints it was used for, like "v3 call", and the last body sent to each.
export const spyingFetch = () => {
  const used = new Map();
  const spy = (url, init) => {
    const found = String(url).match(/\/api\/(v\d)\/(?:(subnet)\/|canister\/)?.*?(status|call|query|read_state)$/);
    if (found) used.set([found[1], found[2], found[3]].filter(Boolean).join(' '), { url: String(url), body: init?.body });
    return fetch(url, init);
  };
  return { fetch: spy, used };
};

/// A fetch that counts up the number in the reply to a query of type () -> (nat).
export const tamperingFetch = async (url, init) => {
  const response = await fetch(url, init);
  if (!String(url).endsWith('/query')) return response;
  const body = Buffer.from(await response.arrayBuffer());
  const reply = Buffer.from('DIDL\x00\x01\x7d', 'latin1');
  const at = body.indexOf(reply);
  if (at < 0) throw new Error('the response has no such reply');
  body[at + reply.length]++;
  return new Response(body, { status: 200, headers: response.headers });
};

/// Runs f while the clock of this process is wrong by so many minutes.
export const withClock = async (minutes, f) => {
  const Right = Date;
  globalThis.Date = class extends Right {
    constructor(...args) {
      super(...(args.length > 0 ? args : [Date.now()]));
    }
    static now() {
      return Right.now() + minutes * 60_000;
    }
  };
  try {
    return await f();
  } finally {
    globalThis.Date = Right;
  }
};
