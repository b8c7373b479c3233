import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

const DIST = fileURLToPath(new URL('./dist/', import.meta.url));
const policy = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8').trim();

/** Paths, the page that answers them, and its content security policy, as in broadcast/src/viewers. */
const PAGES = [
  { path: /^\/studio(?:\/|$)/, page: '/studio.html', policy: policy('./csp-studio.txt') },
  { path: /^\/(?:sign-in|setup)$/, page: '/sign-in.html', policy: policy('./csp-studio.txt') },
  { path: /^\/(?:watch\/[^/]+)?$/, page: '/index.html', policy: policy('./csp.txt') },
];

interface Servers {
  middlewares: {
    use(
      answer: (
        request: { url?: string | undefined },
        response: { setHeader(name: string, value: string): void },
        next: () => void,
      ) => void,
    ): void;
  };
}

/** The development servers answer deep links as a node does; what is built has the node's policies, too. */
function pages(): Plugin {
  const route = (isBuilt: boolean) => (server: Servers) => {
    // Nothing is returned, because that would be called once more.
    server.middlewares.use((request, response, next) => {
      const [path = '', query] = (request.url ?? '').split('?');
      const found = PAGES.find((one) => one.path.test(path));
      if (found) {
        request.url = found.page + (query === undefined ? '' : `?${query}`);
        if (isBuilt) response.setHeader('content-security-policy', found.policy);
      }
      next();
    });
  };
  return { name: 'pages', configureServer: route(false), configurePreviewServer: route(true) };
}

/** Texts that gain by it get a file beside them that is compressed as much as can be, once: nodes serve it to whoever takes Brotli. */
const brotli: Plugin = {
  name: 'brotli',
  apply: 'build',
  closeBundle() {
    const all = readdirSync(DIST, { recursive: true, encoding: 'utf8' });
    // The second build finds what the first has done: what is in `assets` has a hash of its contents in its name.
    const isDone = (name: string): boolean => name.startsWith('assets/') && all.includes(`${name}.br`);
    for (const name of all) {
      if (!/\.(?:html|js|css|svg|wasm|json|txt)$/.test(name) || isDone(name)) continue;
      const bytes = readFileSync(DIST + name);
      const params = {
        [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      };
      const packed = brotliCompressSync(bytes, { params });
      if (packed.length < bytes.length) writeFileSync(`${DIST}${name}.br`, packed);
    }
  },
};

/** The page is empty until its script has run, so nothing is painted before: neither a flash of another theme nor a shift of what is shown. */
const blockingEntry: Plugin = {
  name: 'blocking-entry',
  transformIndexHtml: {
    order: 'post',
    handler: (html, { path }) =>
      path === '/index.html'
        ? html
        : html.replace(/<script type="module"/g, '<script type="module" blocking="render"'),
  },
};

// A local cluster with a self-made certificate, so the proxy does not check it. Development only.
const key = process.env.SEALCAST_API_KEY;
const node = {
  target: process.env.SEALCAST_NODE ?? 'https://127.0.0.1:8443',
  secure: false,
  // With a key the studio works without signing in.
  ...(key ? { headers: { 'x-api-key': key } } : {}),
};
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

const page = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

export default defineConfig(({ mode }) => ({
  plugins: [pages(), blockingEntry, brotli],
  define: hlsFeatures,
  resolve: { alias: [{ find: /^hls\.js$/, replacement: hlsSources }] },
  build: {
    target: 'es2022',
    // Every asset is a file of its own with a hash in its name: it is cacheable for ever, and there are
    // no data: URLs, which the content security policy does not allow.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800,
    // Two builds, so that what viewers load has no part that it shares with the studio, and is as few files as before.
    emptyOutDir: mode !== 'studio',
    rolldownOptions: {
      // Every page of a build needs both: one file in place of two.
      output: { codeSplitting: { groups: [{ name: 'dom', test: /src\/(?:dom|text\/en)\.ts$/ }] } },
      input: mode === 'studio' ? [page('./studio.html'), page('./sign-in.html')] : page('./index.html'),
    },
  },
  worker: { format: 'es' },
  server: { proxy },
  preview: { proxy },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
}));
