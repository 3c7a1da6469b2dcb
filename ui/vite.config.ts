import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const OUT = "../src/intramural/web/dist";

/** Writes a `.gz` beside every text file, so that the server never compresses while it answers. */
function squeezed(): Plugin {
  return {
    name: "squeezed",
    apply: "build",
    writeBundle(options) {
      const folder = options.dir ?? OUT;
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        const file = join(folder, name);
        if (!statSync(file).isFile() || !/\.(html|js|css|svg|json)$/.test(name)) continue;
        const bytes = readFileSync(file);
        const small = gzipSync(bytes, { level: 9 });
        if (small.length < bytes.length) writeFileSync(`${file}.gz`, small);
        else rmSync(`${file}.gz`, { force: true });
      }
    },
  };
}

export default defineConfig({
  // Relative, so that the page also works behind a proxy that serves it under a path.
  base: "./",
  plugins: [svelte(), squeezed()],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2022",
    // An asset turned into a data: URL would need a wider content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    port: 5173,
    proxy: {
      "/intramural": process.env.BASE_URL ?? "http://127.0.0.1:8080",
      "/v1": process.env.BASE_URL ?? "http://127.0.0.1:8080",
    },
  },
});
