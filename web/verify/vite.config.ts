import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** Builds the package `@sealcast/verify`: one script, its worker and the WebAssembly, each with a relative address. */
export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  publicDir: false,
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: fileURLToPath(new URL('src/index.ts', import.meta.url)),
      preserveEntrySignatures: 'strict',
      output: { entryFileNames: '[name].js' },
    },
  },
  worker: { format: 'es' },
});
