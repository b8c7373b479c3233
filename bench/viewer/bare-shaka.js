/** Shaka alone, started as in its documentation. `loadedAtMs` is the time at which it gets the URL. */

const url = new URLSearchParams(location.search).get('url');
const video = document.querySelector('video');
const { bench, shaka } = globalThis;

shaka.polyfill.installAll();
const player = new shaka.Player();
const failed = ({ severity, code }) => bench.error(severity === 2, `Shaka ${code}`);
player.addEventListener('error', ({ detail }) => failed(detail));
await player.attach(video);
player.configure({ streaming: { lowLatencyMode: true } });
bench.latency = () => player.getStats().liveLatency ?? null;
bench.loadedAtMs = performance.now();
await player.load(url).catch(failed);
video.play().catch(() => undefined);
