/**
 * A page of another origin than the stream's server: nothing that the server sends runs here. The address names the stream and the
 * fingerprint of its cluster's root key, `?url=https://HOST/live/STREAM/index.m3u8#root=HEX`; a page of one's own has both in its code.
 */

import Hls from 'hls.js';
import { type Checks, rootOfFragment, StreamVerifier } from '../src';

const video = document.querySelector('video');
const status = document.querySelector('[role=status]');
const url = new URLSearchParams(location.search).get('url');

function words({ phase, detail, seals, objects, loaded }: Checks): string {
  if (phase === 'checked') return `Checked: ${seals} seals, ${objects} of ${loaded} objects.`;
  return detail ?? 'Nothing is checked yet.';
}

if (video && status && url) {
  const verifier = new StreamVerifier({
    url,
    root: rootOfFragment(location.hash),
    onChange: (checks) => {
      status.textContent = words(checks);
      status.setAttribute('data-phase', checks.phase);
      if (checks.phase !== 'wrong') return;
      hls.destroy();
      video.removeAttribute('src');
      video.load();
    },
  });
  const hls = new Hls({ loader: verifier.loader(Hls.DefaultConfig.loader) });
  hls.attachMedia(video);
  hls.loadSource(url);
  video.addEventListener('playing', () => verifier.start(), { once: true });
}
