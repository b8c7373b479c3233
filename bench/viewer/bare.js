/** hls.js alone, started as in its documentation. `loadedAtMs` is the time at which it gets the URL. */

const url = new URLSearchParams(location.search).get('url');
const video = document.querySelector('video');
const { bench, Hls } = globalThis;

const hls = new Hls();
hls.on(Hls.Events.ERROR, (_, { fatal, details, response }) =>
  bench.error(fatal, `${details}${response?.code ? ` ${response.code}` : ''}`),
);
hls.on(Hls.Events.MEDIA_ATTACHED, () => {
  bench.loadedAtMs = performance.now();
  hls.loadSource(url);
});
hls.attachMedia(video);
bench.latency = () => hls.latency;
video.play().catch(() => undefined);
