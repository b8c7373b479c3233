/**
 * A live stream for the page. A test can change its playlists, for which a real cluster would have to be overloaded by chance. It also
 * serves the built page, and answers as a broadcast node does: blocking reloads, delta updates, parts of the newest segments.
 */

import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeMedia, PART_SECONDS, type Rendition, RUNGS } from './media';

const STREAM = 'made';
const PARTS_PER_SEGMENT = 8;
/** Number of segments with parts, and of segments in a delta update. */
const SEGMENTS_WITH_PARTS = 3;
const SEGMENTS_IN_DELTA = 6;
/** Parts that exist when the stream is first requested. */
const PARTS_BEFORE = 28;

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.m3u8': 'application/vnd.apple.mpegurl',
};
const DIST = fileURLToPath(new URL('../../dist', import.meta.url));

const DETAIL = {
  name: STREAM,
  live: true,
  state: 'live',
  startedAt: null,
  epoch: 0,
  ingest: 'made',
  renditions: [],
  poster: null,
  dvr: null,
  thumbnails: null,
  verified: null,
};

export class Origin {
  readonly #media: ReadonlyMap<string, Rendition>;
  readonly #server: Server;
  readonly #bornMs = Date.now() - 1_000 * PARTS_BEFORE * PART_SECONDS;
  /** The first part that is a gap, for each shed rung. */
  readonly #shed = new Map<string, number>();

  private constructor(media: Rendition[]) {
    this.#media = new Map(media.map((rendition) => [rendition.name, rendition]));
    this.#server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://origin');
      void this.#answer(url, response).catch(() => response.destroy());
    });
  }

  /** Makes media that plays for this many seconds; several streams may share it. */
  static media(seconds: number): Promise<Rendition[]> {
    return makeMedia(PARTS_BEFORE * PART_SECONDS + seconds);
  }

  static async start(media: Rendition[]): Promise<Origin> {
    const origin = new Origin(media);
    origin.#server.listen(0, '127.0.0.1');
    await once(origin.#server, 'listening');
    return origin;
  }

  get page(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/watch/${STREAM}`;
  }

  /** Sheds a rung: its parts are gaps from the next one on, and the multivariant playlist does not list it. */
  shed(name: string): void {
    this.#shed.set(name, this.#partsThere());
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #partsThere(): number {
    return Math.floor((Date.now() - this.#bornMs) / 1_000 / PART_SECONDS);
  }

  async #untilThere(parts: number): Promise<void> {
    await sleep(Math.max(0, this.#bornMs + 1_000 * parts * PART_SECONDS + 5 - Date.now()));
  }

  async #answer(url: URL, response: ServerResponse): Promise<void> {
    const send = (body: Buffer | string, type: string): void => {
      response.writeHead(200, { 'content-type': TYPES[type] ?? 'application/octet-stream' }).end(body);
    };
    const live = /^\/live\/\w+\/(?:(\w+)\/)?(.*)$/.exec(url.pathname);
    const file = url.pathname.startsWith('/watch') ? '/index.html' : url.pathname;
    if (url.pathname.startsWith('/api/')) send(JSON.stringify(DETAIL), '.json');
    else if (live) await this.#live(live[1] ?? null, live[2] ?? '', url.searchParams, send, response);
    else if (existsSync(DIST + file)) send(await readFile(DIST + file), extname(file));
    else response.writeHead(404).end();
  }

  async #live(
    name: string | null,
    file: string,
    query: URLSearchParams,
    send: (body: Buffer | string, type: string) => void,
    response: ServerResponse,
  ): Promise<void> {
    if (name === null && file === 'index.m3u8') return send(this.#multivariant(), '.m3u8');
    const rendition = this.#media.get(name ?? '');
    const media = /^(?:0\/)?(init|\d+)(?:\.(\d+))?\.(?:mp4|m4s)$/.exec(file);
    if (rendition && file === 'index.m3u8') {
      const segment = query.get('_HLS_msn');
      const part = Number(query.get('_HLS_part') ?? PARTS_PER_SEGMENT - 1);
      if (segment !== null) await this.#untilThere(Number(segment) * PARTS_PER_SEGMENT + part + 1);
      return send(this.#playlist(rendition, query.has('_HLS_skip')), '.m3u8');
    }
    if (!rendition || !media) {
      response.writeHead(404).end();
      return;
    }
    if (media[1] === 'init') return send(rendition.init, '.mp4');
    const first = Number(media[1]) * PARTS_PER_SEGMENT + Number(media[2] ?? 0);
    const end = first + (media[2] === undefined ? PARTS_PER_SEGMENT : 1);
    await this.#untilThere(end);
    send(Buffer.concat(rendition.parts.slice(first, end)), '.m4s');
  }

  #multivariant(): string {
    const sound =
      'TYPE=AUDIO,GROUP-ID="audio",NAME="audio",DEFAULT=YES,AUTOSELECT=YES,URI="audio/index.m3u8"';
    const lines = ['#EXTM3U', '#EXT-X-VERSION:6', '#EXT-X-INDEPENDENT-SEGMENTS', `#EXT-X-MEDIA:${sound}`];
    for (const { name, width, height, bandwidth } of RUNGS) {
      if (this.#shed.has(name)) continue;
      const codecs = 'CODECS="avc1.64001f,mp4a.40.2",FRAME-RATE=30.000,AUDIO="audio"';
      lines.push(`#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},RESOLUTION=${width}x${height},${codecs}`);
      lines.push(`${name}/index.m3u8`);
    }
    return `${lines.join('\n')}\n`;
  }

  #playlist({ name, durations }: Rendition, isDelta: boolean): string {
    const there = Math.min(this.#partsThere(), durations.length);
    const segments = Math.ceil(there / PARTS_PER_SEGMENT);
    const skipped = isDelta ? Math.max(0, segments - SEGMENTS_IN_DELTA) : 0;
    const lines = [
      '#EXTM3U',
      `#EXT-X-VERSION:${isDelta ? 9 : 6}`,
      '#EXT-X-TARGETDURATION:4',
      '#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=24.000,HOLD-BACK=12.000,PART-HOLD-BACK=1.605',
      '#EXT-X-MEDIA-SEQUENCE:0',
      '#EXT-X-PART-INF:PART-TARGET=0.535',
      ...(skipped > 0 ? [`#EXT-X-SKIP:SKIPPED-SEGMENTS=${skipped}`] : []),
      '#EXT-X-MAP:URI="0/init.mp4"',
    ];
    for (let segment = skipped; segment < segments; segment += 1) {
      const first = segment * PARTS_PER_SEGMENT;
      const parts = durations.slice(first, Math.min(first + PARTS_PER_SEGMENT, there));
      const startMs = 1_000 * durations.slice(0, first).reduce((sum, duration) => sum + duration, 0);
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(this.#bornMs + startMs).toISOString()}`);
      if (segment >= segments - SEGMENTS_WITH_PARTS) {
        lines.push(...parts.map((duration, index) => this.#part(name, segment, index, duration)));
      }
      if (parts.length < PARTS_PER_SEGMENT) break;
      if (this.#isGap(name, first)) lines.push('#EXT-X-GAP');
      const duration = parts.reduce((sum, part) => sum + part, 0);
      lines.push(`#EXTINF:${duration.toFixed(6)},`, `0/${segment}.m4s`);
    }
    const hint = `0/${Math.floor(there / PARTS_PER_SEGMENT)}.${there % PARTS_PER_SEGMENT}.m4s`;
    lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${hint}"`);
    return `${lines.join('\n')}\n`;
  }

  #part(name: string, segment: number, index: number, duration: number): string {
    const uri = `DURATION=${duration.toFixed(6)},URI="0/${segment}.${index}.m4s"`;
    if (this.#isGap(name, segment * PARTS_PER_SEGMENT + index)) return `#EXT-X-PART:${uri},GAP=YES`;
    const isIndependent = name === 'audio' || index % 4 === 0;
    return `#EXT-X-PART:${uri}${isIndependent ? ',INDEPENDENT=YES' : ''}`;
  }

  #isGap(name: string, part: number): boolean {
    return part >= (this.#shed.get(name) ?? Number.POSITIVE_INFINITY);
  }
}
