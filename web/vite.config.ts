import { readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

// The policy the broadcast node serves the page with; `vite preview` uses the same one.
const contentSecurityPolicy = readFileSync(new URL('./csp.txt', import.meta.url), 'utf8').trim();

// A local cluster with a self-made certificate, so the proxy does not check it. Development only.
const node = { target: process.env.SEALCAST_NODE ?? 'https://127.0.0.1:8443', secure: false };
const proxy = { '/api': node, '/live': node };

export default defineConfig({
  build: {
    target: 'es2022',
    // Every asset is a file of its own with a hash in its name: cacheable for ever, and no data:
    // URLs, which the content security policy does not allow.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800,
  },
  server: { proxy },
  preview: { proxy, headers: { 'Content-Security-Policy': contentSecurityPolicy } },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
} as Parameters<typeof defineConfig>[0]);
