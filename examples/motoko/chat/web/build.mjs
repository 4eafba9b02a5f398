import { buildPage } from "../../shared/build.mjs";

await buildPage(new URL(".", import.meta.url));
