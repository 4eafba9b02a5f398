// Bundles an example's page into its dist/, the folder that the gateway serves at "/".
import { cp, mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** page: URL of the folder with index.html, style.css and src/main.js. */
export async function buildPage(page) {
  const here = fileURLToPath(page);
  const out = here + "dist/";
  await rm(out, { recursive: true, force: true });
  await mkdir(out);
  await cp(here + "index.html", out + "index.html");
  await build({
    entryPoints: [{ in: here + "src/main.js", out: "main" }, { in: here + "style.css", out: "style" }],
    outdir: out,
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
}
