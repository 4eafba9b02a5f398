// Rebuilds the canisters in this folder: node build.cjs
// It needs the npm package "motoko" where Node finds it.
const fs = require('fs');
const path = require('path');
const motoko = require('motoko').default ?? require('motoko');
motoko.loadPackage(require('motoko/packages/latest/core.json'));
motoko.compiler.gcFlags('classicOP'); // a 32-bit memory
for (const file of fs.readdirSync(__dirname).filter((f) => f.endsWith('.mo'))) {
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
