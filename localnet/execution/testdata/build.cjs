// Rebuilds the canisters in this folder: node build.cjs [file.wasm ...]
// It needs the npm package "motoko" where Node finds it. NAME.wasm is NAME.mo
// with a 32-bit memory, NAME64.wasm is the same as the compiler emits it by
// default. Each is compiled in a process of its own: what the compiler emits
// depends on what it has compiled before.
const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const outputs = [
  'counter.wasm', 'counter64.wasm', 'caller.wasm', 'caller64.wasm',
  'persistent-a64.wasm', 'persistent-b64.wasm', 'persistent-c64.wasm',
];

const files = process.argv.slice(2);
if (files.length !== 1) {
  for (const file of files.length > 0 ? files : outputs) {
    execFileSync(process.execPath, [__filename, file], { stdio: 'inherit' });
  }
} else {
  const motoko = require('motoko').default ?? require('motoko');
  motoko.loadPackage(require('motoko/packages/latest/core.json'));
  const [, name, wide] = /^(.*?)(64)?\.wasm$/.exec(files[0]);
  if (!wide) motoko.compiler.gcFlags('classicOP'); // a 32-bit memory
  const source = `${name}.mo`;
  motoko.write(source, fs.readFileSync(path.join(__dirname, source), 'utf8'));
  try {
    const { wasm } = motoko.wasm(source, 'ic');
    fs.writeFileSync(path.join(__dirname, files[0]), wasm);
    console.log(files[0], wasm.length);
  } catch (e) {
    console.error(source, e.message);
    process.exitCode = 1;
  }
}
