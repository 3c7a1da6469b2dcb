/** Prints what the built page weighs, plain and gzipped; the first load is what index.html names. Fails over the aim. */
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const AIM = 120_000; // bytes of gzipped script before the first screen
const dist = new URL("../../src/intramural/web/dist/", import.meta.url);
const index = readFileSync(new URL("index.html", dist), "utf8");
let first = 0;
for (const name of readdirSync(dist, { recursive: true, encoding: "utf8" }).sort()) {
  if (!/\.(js|css|html)$/.test(name)) continue;
  const bytes = readFileSync(new URL(name, dist));
  const small = gzipSync(bytes, { level: 9 }).length;
  const atOnce = name === "index.html" || index.includes(name);
  if (atOnce && name.endsWith(".js")) first += small;
  console.log(
    `${String(bytes.length).padStart(8)} ${String(small).padStart(8)}  ${atOnce ? "first" : "later"}  ${name}`,
  );
}
console.log(`first load, script, gzipped: ${first} bytes (aim: under ${AIM})`);
if (first > AIM) process.exitCode = 1;
