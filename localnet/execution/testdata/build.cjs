// Rebuilds the canisters in this folder: node build.cjs [file.mo ...]
// It needs the npm package "motoko" where Node finds it. Each file is compiled
// in a process of its own: what the compiler emits depends on what it has
// compiled before.
const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const files = process.argv.slice(2);
if (files.length === 0) {
  for (const file of fs.readdirSync(__dirname).filter((f) => f.endsWith('.mo'))) {
    execFileSync(process.execPath, [__filename, file], { stdio: 'inherit' });
  }
} else {
  const motoko = require('motoko').default ?? require('motoko');
  motoko.loadPackage(require('motoko/packages/latest/core.json'));
  motoko.compiler.gcFlags('classicOP'); // a 32-bit memory
  for (const file of files) {
    motoko.write(file, fs.readFileSync(path.join(__dirname, file), 'utf8'));
    try {
      const { wasm } = motoko.wasm(file, 'ic');
      fs.writeFileSync(path.join(__dirname, file.replace(/\.mo$/, '.wasm')), wasm);
      console.log(file, wasm.length);
    } catch (e) {
      console.error(file, e.message);
      process.exitCode = 1;
    }
  }
}
