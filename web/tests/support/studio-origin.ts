/**
 * The built studio, with an API whose rows a test chooses: states that a real cluster is in only by chance, such as a control that is away,
 * or somebody else's change at the same moment. What the real control answers, `sealcast/tests/studio.rs` holds the page against.
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));
const POLICY = readFileSync(new URL('../../csp-studio.txt', import.meta.url), 'utf8').trim();
const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

const PICTURE =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 90"><rect width="160" height="90" fill="#345"/><circle cx="80" cy="45" r="30" fill="#9bc"/></svg>';

type Row = Record<string, unknown> & { id: string; version: number };

const SCOPES =
  'tenant members api-keys streams tokens issuers webhooks audit chat usage recordings telemetry rules'
    .split(' ')
    .flatMap((name) => [`${name}:read`, `${name}:write`])
    .concat('streams:keys');

export const SECRET = 'scp_thisisthekeythatisshownonce7k2q';
const PASSWORD = 'a long enough password';

const now = (): number => Date.now();

export const liveInput = (warnings: unknown[] = []): object => ({
  stream: 'choir.concert',
  ingest: 'ingest1',
  at: now(),
  connected_at: now() - 3_600_000,
  reconnects: 1,
  encoder: 'obs-output module (libobs version 32.0.2)',
  bit_rate: 6_020_000,
  pace_permille: 1_000,
  video: {
    codec: 'avc1.640028',
    width: 1920,
    height: 1080,
    frame_rate_millihertz: 60_000,
    announced_frame_rate_millihertz: 60_000,
    keyframe_interval_ms: 8_300,
    bit_rate: 5_860_000,
    passed_through: false,
  },
  audio: { codec: 'mp4a.40.2', sample_rate_hz: 48_000, channels: 2, bit_rate: 158_000 },
  video_ahead_of_audio_ms: 21,
  drops: { early: 0, refused: 0, concealed: 2, skipped: 0 },
  clock_jumps: 0,
  warnings,
});

export const KEYFRAMES = {
  kind: 'keyframe_interval',
  severity: 'warning',
  text: 'keyframe interval is 8.3 s; set 2 s in OBS for low latency (Settings > Output > Keyframe Interval)',
  since: now() - 60_000,
};

export function stream(name: string, more: object = {}): Row {
  return {
    id: `str_${name}`,
    name,
    title: '',
    description: '',
    category: '',
    key: { hint: '…7k2q' },
    version: 1,
    created_at: now() - 86_400_000,
    visibility: 'public',
    origins: ['https://parish.example'],
    publish_urls: ['rtmp://live.example:1935/live'],
    embed: 'listed',
    chat: { on: false, slow_s: 0, writers: 'everybody' },
    live: { state: 'idle' },
    input: null,
    ...more,
  } as Row;
}

function eventsOf(messages: ReadonlyArray<readonly [author: string, role: string, text: string]>): string {
  const rows = messages.map(([author, role, text], n) => ({
    id: `msg_${n}`,
    author,
    role,
    tag: `ab1${n}`,
    text,
    at: now(),
  }));
  const state = { paused: false, slow_s: 10, writers: 'everybody' };
  const chat = { reset: true, messages: rows };
  return `event: state\ndata: ${JSON.stringify(state)}\n\nid: 3\nevent: chat\ndata: ${JSON.stringify(chat)}\n\n`;
}

export class StudioOrigin {
  readonly #server: Server;
  streams: Row[] = [];
  keys: Row[] = [];
  audit: Row[] = [];
  members: Row[] = [];
  webhooks: Row[] = [];
  isAway = false;
  isSignedIn = true;
  /** Codes of set-up links that were used. */
  readonly usedCodes = new Set<unknown>();
  /** What the chat of every stream has. */
  readonly chatEvents = eventsOf([
    ['Ann', 'viewer', 'Good evening from the north aisle!'],
    ['Host', 'moderator', 'We begin in five minutes.'],
    ['<b>Bob</b> شبكة', 'guest', '<img src=x onerror=alert(1)> مرحبا '.repeat(6)],
  ]);
  /** Requests that changed something, oldest first. */
  readonly changes: Array<{
    method: string;
    path: string;
    headers: IncomingMessage['headers'];
    body: unknown;
  }> = [];

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<StudioOrigin> {
    const origin = new StudioOrigin();
    origin.#server.listen(0, '127.0.0.1');
    await once(origin.#server, 'listening');
    return origin;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://origin');
    if (url.pathname.startsWith('/api/v1/')) {
      await this.#api(request, response, url);
      return;
    }
    if (/^\/live\/[^/]+\/(?:embed|poster\.jpg)$/.test(url.pathname)) {
      const isPage = url.pathname.endsWith('embed');
      response.writeHead(200, { 'content-type': isPage ? 'text/html' : 'image/svg+xml' });
      response.end(isPage ? '<!doctype html><html lang="en"><title>Player</title></html>' : PICTURE);
      return;
    }
    if (url.pathname.endsWith('/events')) {
      // One that stays open, as a node's does.
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(this.chatEvents);
      return;
    }
    const page = /^\/studio(\/|$)/.test(url.pathname)
      ? '/studio.html'
      : /^\/(sign-in|setup)$/.test(url.pathname)
        ? '/sign-in.html'
        : url.pathname;
    const file = await readFile(DIST + page).catch(() => null);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      'content-type': TYPES[extname(page)] ?? 'application/octet-stream',
      'content-security-policy': POLICY,
    });
    response.end(file);
  }

  async #api(request: IncomingMessage, response: ServerResponse, url: URL): Promise<unknown> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const body: unknown = text === '' ? null : JSON.parse(text);
    const method = request.method ?? 'GET';
    const say = (status: number, answer: unknown, headers: Record<string, string> = {}): unknown => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      return response.end(answer === null ? '' : JSON.stringify(answer));
    };
    const refuse = (status: number, type: string, detail: string, more: object = {}): unknown =>
      say(status, { type: `/api/v1/problems/${type}`, status, detail, request_id: 'req_made', ...more });
    if (this.isAway) return refuse(503, 'control-away', 'no control node can answer this now');
    const path = decodeURIComponent(url.pathname.slice('/api/v1/'.length));
    const isEntrance = method === 'POST' && ['session', 'setup'].includes(path);
    if (!this.isSignedIn && !isEntrance)
      return refuse(401, 'unauthenticated', 'the request needs a valid credential');
    if (method !== 'GET') {
      this.changes.push({ method, path, headers: request.headers, body });
      if (!isEntrance && request.headers['x-sealcast-csrf'] !== 'made-csrf')
        return refuse(403, 'csrf', 'a change by cookie needs x-sealcast-csrf');
    }
    return this.#route(
      method,
      path,
      body as Record<string, unknown>,
      request.headers['if-match'],
      url,
      say,
      refuse,
    );
  }

  #route(
    method: string,
    path: string,
    body: Record<string, unknown>,
    ifMatch: string | undefined,
    url: URL,
    say: (status: number, answer: unknown, headers?: Record<string, string>) => unknown,
    refuse: (status: number, type: string, detail: string, more?: object) => unknown,
  ): unknown {
    const [noun = '', id, verb] = path.split('/');
    if (noun === 'session' || noun === 'setup') return this.#session(method, body, say, refuse);
    if (noun === 'usage')
      return say(200, {
        quota: { streams: 10, publishers: 2, input_bps: 20_000_000, egress_bps: null, storage_bytes: null },
        used: {
          streams: this.streams.length,
          api_keys: this.keys.length,
          publishers: 1,
          input_bps: 6_020_000,
          egress_bps: 1_200_000_000,
          storage_bytes: 48_000_000_000,
        },
      });
    const lists: Record<string, Row[]> = {
      streams: this.streams,
      'api-keys': this.keys,
      audit: this.audit,
      members: this.members,
      webhooks: this.webhooks,
    };
    const rows = lists[noun];
    if (!rows) return refuse(404, 'not-found', 'there is nothing of this name or identity here');
    if (id === undefined && method === 'GET') return say(200, this.#page(rows, url));
    if (id === undefined) {
      if (rows.some((row) => noun === 'streams' && row.name === body.name))
        return refuse(409, 'name-taken', 'a stream with this name exists already');
      const made = this.#made(noun, body);
      rows.push(made.row);
      return say(201, made.answer);
    }
    const row = rows.find((one) => one.id === id || one.name === id);
    if (!row) return refuse(404, 'not-found', 'there is nothing of this name or identity here');
    if (verb !== undefined) return say(200, this.#made(noun, row).answer);
    if (method === 'GET') {
      const { live, input, ...plain } = row;
      const isWhole = url.searchParams.has('include');
      return say(200, isWhole ? row : plain, isWhole ? {} : { etag: `"${row.version}"` });
    }
    if (ifMatch !== undefined && ifMatch !== `"${row.version}"`)
      return refuse(412, 'version-mismatch', 'it has changed since you read it');
    if (method === 'DELETE') {
      rows.splice(rows.indexOf(row), 1);
      return say(204, null);
    }
    Object.assign(row, body, { version: row.version + 1 });
    const { live, input, ...plain } = row;
    return say(200, plain, { etag: `"${row.version}"` });
  }

  #session(
    method: string,
    body: Record<string, unknown>,
    say: (status: number, answer: unknown) => unknown,
    refuse: (status: number, type: string, detail: string) => unknown,
  ): unknown {
    if (method === 'DELETE') {
      this.isSignedIn = false;
      return say(204, null);
    }
    if (method === 'POST' && body.password !== PASSWORD)
      return refuse(401, 'unauthenticated', 'the name or the password is wrong');
    if (method === 'POST' && body.code !== undefined) {
      if (this.usedCodes.has(body.code))
        return refuse(410, 'gone', 'this link was used, or its time is over');
      this.usedCodes.add(body.code);
    }
    this.isSignedIn = true;
    const tenant = { id: 'ten_choir', slug: 'choir', name: 'Choir of St Mary' };
    return say(method === 'POST' ? 201 : 200, {
      kind: 'person',
      credential: 'mem_made',
      name: 'Ada',
      role: 'owner',
      tenant,
      tenants: [{ ...tenant, role: 'owner' }],
      scopes: SCOPES,
      csrf: 'made-csrf',
      expires_at: now() + 3_600_000,
    });
  }

  #page(rows: Row[], url: URL): object {
    const limit = Number(url.searchParams.get('limit') ?? 50);
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const more = from + limit < rows.length;
    return { items: rows.slice(from, from + limit), next_cursor: more ? String(from + limit) : null };
  }

  #made(noun: string, body: Record<string, unknown>): { row: Row; answer: object } {
    const base = { version: 1, created_at: now() };
    if (noun === 'streams') {
      const row = { ...stream(String(body.name)), title: String(body.title ?? ''), ...base } as Row;
      const { live, input, ...plain } = row;
      return { row, answer: { ...plain, key: { hint: '…7k2q', secret: SECRET } } };
    }
    const row = {
      id: `${noun}_${this.changes.length}`,
      hint: 'sc_…made',
      scopes: ['streams:read'],
      expires_at: null,
      last_used_at: null,
      overlap_until_at: null,
      state: 'active',
      ...body,
      ...base,
    } as Row;
    return { row, answer: { ...row, secret: 'sc_key_made_secret' } };
  }
}
