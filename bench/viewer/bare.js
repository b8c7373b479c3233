/** A player as its documentation starts it, and nothing around it. `loadedAtMs` is when it is given the URL. */

const query = new URLSearchParams(location.search);
const url = query.get('url');
const config = JSON.parse(query.get('config') ?? '{}');
const video = document.querySelector('video');
const { bench } = globalThis;

function script(src) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement('script'), { src, onload: resolve, onerror: reject });
    document.head.append(element);
  });
}

const players = {
  async 'hls.js'() {
    await script('/hls.js');
    const { Hls } = globalThis;
    const hls = new Hls(config);
    globalThis.player = hls;
    hls.on(Hls.Events.ERROR, (_, { fatal, details, response }) =>
      bench.error(fatal, `${details}${response?.code ? ` ${response.code}` : ''}`),
    );
    await new Promise((resolve) => {
      hls.on(Hls.Events.MEDIA_ATTACHED, resolve);
      hls.attachMedia(video);
    });
    bench.loadedAtMs = performance.now();
    hls.loadSource(url);
    bench.latency = () => hls.latency;
  },
  async shaka() {
    await script('/shaka.js');
    const { shaka } = globalThis;
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    globalThis.player = player;
    player.addEventListener('error', ({ detail }) => bench.error(detail.severity === 2, `shaka ${detail.code}`));
    await player.attach(video);
    player.configure(config);
    bench.loadedAtMs = performance.now();
    await player.load(url).catch((error) => bench.error(true, `shaka ${error.code}`));
    bench.latency = () => player.getStats().liveLatency;
  },
};

await players[query.get('player')]();
video.play().catch(() => undefined);
