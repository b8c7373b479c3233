import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

// The broadcast node serves the page with this policy; `vite preview` uses it, too.
const contentSecurityPolicy = readFileSync(new URL('./csp.txt', import.meta.url), 'utf8').trim();

// A local cluster with a self-made certificate, so the proxy does not check it. Development only.
const node = { target: process.env.SEALCAST_NODE ?? 'https://127.0.0.1:8443', secure: false };
const proxy = { '/api': node, '/live': node };

/**
 * hls.js is built from its sources, without the features that this page does not use: the player's script is a third smaller to load and
 * compile. The names are those of hls.js's own build; features with `true` are kept.
 */
const hlsFeatures = {
  __VERSION__: JSON.stringify(
    JSON.parse(readFileSync(new URL('./node_modules/hls.js/package.json', import.meta.url), 'utf8')).version,
  ),
  __HLS_WORKER_BUNDLE__: 'undefined',
  __IN_WORKER__: 'false',
  __USE_ALT_AUDIO__: 'true',
  __USE_CONTENT_STEERING__: 'true',
  __USE_MEDIA_CAPABILITIES__: 'true',
  __USE_CMCD__: 'false',
  __USE_EME_DRM__: 'false',
  __USE_IFRAMES__: 'false',
  __USE_INTERSTITIALS__: 'false',
  __USE_M2TS_ADVANCED_CODECS__: 'false',
  __USE_SUBTITLES__: 'false',
  __USE_VARIABLE_SUBSTITUTION__: 'false',
};
const hlsSources = fileURLToPath(new URL('./node_modules/hls.js/src/exports-named.ts', import.meta.url));

export default defineConfig({
  define: hlsFeatures,
  resolve: { alias: [{ find: /^hls\.js$/, replacement: hlsSources }] },
  build: {
    target: 'es2022',
    // Every asset is a file of its own with a hash in its name: it is cacheable for ever, and there are
    // no data: URLs, which the content security policy does not allow.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800,
  },
  worker: { format: 'es' },
  server: { proxy },
  preview: { proxy, headers: { 'Content-Security-Policy': contentSecurityPolicy } },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
} as Parameters<typeof defineConfig>[0]);
