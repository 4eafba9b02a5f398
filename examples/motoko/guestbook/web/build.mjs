// Bundles the page into dist/, the folder that the gateway serves at "/".
import { cp, mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = here + "dist/";

await rm(out, { recursive: true, force: true });
await mkdir(out);
await cp(here + "index.html", out + "index.html");
await cp(here + "style.css", out + "style.css");
await build({
  entryPoints: [here + "src/main.js"],
  outfile: out + "main.js",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: true,
  logLevel: "warning",
  legalComments: "linked",
  define: {
    // What the libraries expect of Node, said once here.
    global: "globalThis",
    "process.env.LOG_LEVEL": '"warn"',
  },
});
