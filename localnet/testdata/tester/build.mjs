// Builds tester.wasm with the npm package "motoko", from a folder that has it
// installed: node localnet/testdata/tester/build.mjs
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const here = import.meta.dirname;
const require = createRequire(join(process.env.NODE_MODULES_OF ?? process.cwd(), 'package.json'));
const { default: mo } = require('motoko');
mo.loadPackage(require('motoko/packages/latest/core.json'));
mo.write('Tester.mo', readFileSync(join(here, 'Tester.mo'), 'utf8'));
mo.setPublicMetadata(['candid:service', 'candid:args']);
mo.compiler.gcFlags('classicOP'); // wasm32
writeFileSync(join(here, 'tester.wasm'), mo.wasm('Tester.mo').wasm);
