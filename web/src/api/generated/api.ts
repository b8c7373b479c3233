// Made by tools/generate-api.mjs from control/openapi.json: `npm run generate`. Not to be edited.

import { anything, flag, integer, type Json, list, nothing, nullable, object, type Operation, type Read, text } from '../read';

/** A page of a list, and where the next one begins. */
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}
const readPage = <T>(read: Read<T>): Read<Page<T>> => object({ items: list(read), next_cursor: nullable(text()) }, {});

/** A key. */
export interface ApiKey {
  created_at: number;
  expires_at: number | null;
  /** The end of its secret. */
  hint: string;
  id: string;
  last_used_at: number | null;
  name: string;
  /** Until when the secret before is accepted, too. */
  overlap_until_at: number | null;
  scopes: Array<string>;
  /** In the answer that makes the key, and in no other. */
  secret?: string;
  version: number;
}
export const readApiKey: Read<ApiKey> = /* @__PURE__ */ object(
  {
    created_at: integer,
    expires_at: /* @__PURE__ */ nullable(integer),
    hint: /* @__PURE__ */ text(),
    id: /* @__PURE__ */ text(),
    last_used_at: /* @__PURE__ */ nullable(integer),
    name: /* @__PURE__ */ text(),
    overlap_until_at: /* @__PURE__ */ nullable(integer),
    scopes: /* @__PURE__ */ list(/* @__PURE__ */ text(), 64),
    version: integer,
  },
  {
    secret: /* @__PURE__ */ text(),
  },
);

/** A change, or a refusal. */
export interface AuditRecord {
  /** What was done, such as `streams.create`. */
  action: string;
  /** The kind of credential, or `anonymous`. */
  actor: string;
  /** What changed, without secrets. */
  changes: Json;
  created_at: number;
  /** Identity of the credential. */
  credential: string;
  id: string;
  /** What it was done to. */
  object: string;
  request_id: string;
  /** `done`, or the type of the problem. */
  result: string;
  /** For operators: the record's place in the chain of all tenants. */
  sequence?: number;
  /** For operators: whose record it is. */
  tenant?: string | null;
}
export const readAuditRecord: Read<AuditRecord> = /* @__PURE__ */ object(
  {
    action: /* @__PURE__ */ text(),
    actor: /* @__PURE__ */ text(),
    changes: anything,
    created_at: integer,
    credential: /* @__PURE__ */ text(),
    id: /* @__PURE__ */ text(),
    object: /* @__PURE__ */ text(),
    request_id: /* @__PURE__ */ text(),
    result: /* @__PURE__ */ text(),
  },
  {
    sequence: integer,
    tenant: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
  },
);

/** Where the chain of records does not hold. */
export interface AuditBreak {
  id: string;
  sequence: number;
  why: string;
}
export const readAuditBreak: Read<AuditBreak> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    sequence: integer,
    why: /* @__PURE__ */ text(),
  },
  {
  },
);

/** Whether the chain of records holds. */
export interface AuditCheck {
  /** None in a sound one. */
  breaks: Array<AuditBreak>;
  newest: number;
  records: number;
}
export const readAuditCheck: Read<AuditCheck> = /* @__PURE__ */ object(
  {
    breaks: /* @__PURE__ */ list(readAuditBreak),
    newest: integer,
    records: integer,
  },
  {
  },
);

/** An issuer at which people sign in. */
export interface SignInIssuer {
  name: string;
  url: string;
}
export const readSignInIssuer: Read<SignInIssuer> = /* @__PURE__ */ object(
  {
    name: /* @__PURE__ */ text(),
    url: /* @__PURE__ */ text(),
  },
  {
  },
);

/** How people may sign in. */
export interface SignIns {
  /** Whether there is an operator. */
  is_set_up: boolean;
  issuers: Array<SignInIssuer>;
  /** With a name and a password. */
  password: boolean;
}
export const readSignIns: Read<SignIns> = /* @__PURE__ */ object(
  {
    is_set_up: flag,
    issuers: /* @__PURE__ */ list(readSignInIssuer, 20),
    password: flag,
  },
  {
  },
);

/** Where a browser goes. */
export interface LoginUrl {
  url: string;
}
export const readLoginUrl: Read<LoginUrl> = /* @__PURE__ */ object(
  {
    url: /* @__PURE__ */ text(),
  },
  {
  },
);

/** A claim that gives a role. */
export interface RuleSettings {
  /** Name of the claim; dots lead into objects. */
  claim: string;
  /** The claim's text, one of its list, or one of the words of `scope`. */
  equals: string;
  /** `viewer`, `producer`, `owner` or `operator`. */
  role: string;
}
export const readRuleSettings: Read<RuleSettings> = /* @__PURE__ */ object(
  {
    claim: /* @__PURE__ */ text(),
    equals: /* @__PURE__ */ text(),
    role: /* @__PURE__ */ text(),
  },
  {
  },
);

/** An issuer as the API shows it. */
export interface Issuer {
  /** Asymmetric algorithms that it may sign with; `RS256`, `ES256` and `EdDSA` by default. */
  algorithms: Array<string>;
  /** A token has one of these in `aud`, or as `azp`. At least one. */
  audiences: Array<string>;
  created_at: number;
  /** Why not. */
  failure: string | null;
  /** When its keys were fetched. */
  fetched_at: number | null;
  id: string;
  /** Whether the configuration has it; only the file changes it then. */
  is_from_file: boolean;
  /** Where its public keys are (JWKS). */
  jwks_url: string;
  /** How many keys it has; null: control does not ask it. */
  keys: number | null;
  /** By how much clocks may differ, in seconds. */
  leeway_s: number;
  /** Which role a token gives. The first that matches counts; a token that none matches is refused. */
  rules: Array<RuleSettings>;
  /** Since when they could not be. */
  stale_since_at: number | null;
  /** The claim that names streams. */
  streams_claim: string;
  /** What its tokens have as `iss`, exactly. */
  url: string;
  /** What its tokens are good for: `api`, `publish`, `view`. */
  uses: Array<string>;
  version: number;
}
export const readIssuer: Read<Issuer> = /* @__PURE__ */ object(
  {
    algorithms: /* @__PURE__ */ list(/* @__PURE__ */ text()),
    audiences: /* @__PURE__ */ list(/* @__PURE__ */ text()),
    created_at: integer,
    failure: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    fetched_at: /* @__PURE__ */ nullable(integer),
    id: /* @__PURE__ */ text(),
    is_from_file: flag,
    jwks_url: /* @__PURE__ */ text(),
    keys: /* @__PURE__ */ nullable(integer),
    leeway_s: integer,
    rules: /* @__PURE__ */ list(readRuleSettings),
    stale_since_at: /* @__PURE__ */ nullable(integer),
    streams_claim: /* @__PURE__ */ text(),
    url: /* @__PURE__ */ text(),
    uses: /* @__PURE__ */ list(/* @__PURE__ */ text()),
    version: integer,
  },
  {
  },
);

/** What a token is good for in one use, or why it is refused. */
export interface TriedUse {
  /** Why it is refused, for programs, and in words. */
  code?: string;
  detail?: string;
  ends_at?: number;
  is_taken: boolean;
  role?: string;
  /** Those that it names; `*`: all. */
  streams?: Array<string>;
  sub?: string | null;
  use: string;
}
export const readTriedUse: Read<TriedUse> = /* @__PURE__ */ object(
  {
    is_taken: flag,
    use: /* @__PURE__ */ text(),
  },
  {
    code: /* @__PURE__ */ text(),
    detail: /* @__PURE__ */ text(),
    ends_at: integer,
    role: /* @__PURE__ */ text(),
    streams: /* @__PURE__ */ list(/* @__PURE__ */ text()),
    sub: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
  },
);

/** What a token is good for, by use. */
export interface Tried {
  uses: Array<TriedUse>;
}
export const readTried: Read<Tried> = /* @__PURE__ */ object(
  {
    uses: /* @__PURE__ */ list(readTriedUse),
  },
  {
  },
);

/** A member. */
export interface Member {
  created_at: number;
  id: string;
  invite_until_at: number | null;
  /** In the answer that makes the link, and in no other. */
  invite_url?: string;
  /** Where the person signs in; null: here, with a password. */
  issuer: string | null;
  name: string;
  role: ('viewer' | 'producer' | 'owner' | 'operator' | (string & {}));
  state: ('invited' | 'active' | 'suspended' | (string & {}));
  /** The name for signing in, or what the issuer calls the person. */
  subject: string | null;
  version: number;
}
export const readMember: Read<Member> = /* @__PURE__ */ object(
  {
    created_at: integer,
    id: /* @__PURE__ */ text(),
    invite_until_at: /* @__PURE__ */ nullable(integer),
    issuer: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    name: /* @__PURE__ */ text(),
    role: /* @__PURE__ */ text(),
    state: /* @__PURE__ */ text(),
    subject: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    version: integer,
  },
  {
    invite_url: /* @__PURE__ */ text(),
  },
);

/** What a type of refusals means. */
export interface ProblemType {
  /** The status of answers of this type. */
  status: number;
  /** What it means, and what a client can do. */
  title: string;
  /** Its URL. */
  type: string;
}
export const readProblemType: Read<ProblemType> = /* @__PURE__ */ object(
  {
    status: integer,
    title: /* @__PURE__ */ text(),
    type: /* @__PURE__ */ text(),
  },
  {
  },
);

/** A tenant that a session is about. */
export interface SessionTenant {
  id: string;
  name: string;
  slug: string;
}
export const readSessionTenant: Read<SessionTenant> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    slug: /* @__PURE__ */ text(),
  },
  {
  },
);

/** A tenant in which a person has a role. */
export interface SessionMembership {
  id: string;
  name: string;
  /** Null for a credential that is no person's. */
  role: string | null;
  slug: string;
}
export const readSessionMembership: Read<SessionMembership> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    role: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    slug: /* @__PURE__ */ text(),
  },
  {
  },
);

/** Who a caller is, and what it may do. */
export interface Session {
  /** Identity of the credential. */
  credential: string;
  /** What a change by cookie sends as x-sealcast-csrf; null for other credentials. */
  csrf: string | null;
  expires_at: number | null;
  kind: ('api_key' | 'cookie' | 'jwt' | 'certificate' | (string & {}));
  name: string;
  role: string | null;
  scopes: Array<string>;
  tenant: SessionTenant;
  tenants: Array<SessionMembership>;
}
export const readSession: Read<Session> = /* @__PURE__ */ object(
  {
    credential: /* @__PURE__ */ text(),
    csrf: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    expires_at: /* @__PURE__ */ nullable(integer),
    kind: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    role: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    scopes: /* @__PURE__ */ list(/* @__PURE__ */ text(), 64),
    tenant: readSessionTenant,
    tenants: /* @__PURE__ */ list(readSessionMembership, 200),
  },
  {
  },
);

/** A key, as the API shows it. */
export interface SigningKey {
  algorithm: string | null;
  created_at: number;
  expires_at: number;
  id: string;
  kid: string;
  name: string;
  /** `control`, which signs with it, or `registered`: the tenant does. */
  origin: ('control' | 'registered' | (string & {}));
  /** A JWK (RFC 7517). */
  public_key: Json;
  version: number;
}
export const readSigningKey: Read<SigningKey> = /* @__PURE__ */ object(
  {
    algorithm: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    created_at: integer,
    expires_at: integer,
    id: /* @__PURE__ */ text(),
    kid: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    origin: /* @__PURE__ */ text(),
    public_key: anything,
    version: integer,
  },
  {
  },
);

/** A chat beside the player. */
export interface ChatSettings {
  /** Whether there is one. */
  on: boolean;
  /** Seconds between two messages of one writer, at most 3600; 0: no more than the server's own limits. */
  slow_s: number;
  /** `everybody` who may watch, or who has a viewer `token` with `chat`. */
  writers: string;
}
export const readChatSettings: Read<ChatSettings> = /* @__PURE__ */ object(
  {
    on: flag,
    slow_s: integer,
    writers: /* @__PURE__ */ text(),
  },
  {
  },
);

/** The publisher's audio. */
export interface AudioInput {
  /** Bit rate over the last seconds. */
  bit_rate?: number;
  /** Channels; `None` when each frame states its own (MP3). */
  channels?: number;
  /** Codec as in the CODECS attribute (RFC 6381). */
  codec: string;
  /** Samples per second; `None` when each frame states its own (MP3). */
  sample_rate_hz?: number;
}
export const readAudioInput: Read<AudioInput> = /* @__PURE__ */ object(
  {
    codec: /* @__PURE__ */ text(),
  },
  {
    bit_rate: integer,
    channels: integer,
    sample_rate_hz: integer,
  },
);

/** Media that could not be used since the publisher connected. */
export interface Drops {
  /** Pictures in which a decoder had to hide damage. */
  concealed: number;
  /** Frames that arrived before their parameter sets, or alone at another time. */
  early: number;
  /** Frames that no decoder accepts, or that do not fit the timeline. */
  refused: number;
  /** Pictures not encoded, because this machine was too slow or their time did not rise. */
  skipped: number;
}
export const readDrops: Read<Drops> = /* @__PURE__ */ object(
  {
    concealed: integer,
    early: integer,
    refused: integer,
    skipped: integer,
  },
  {
  },
);

/** The publisher's video. */
export interface VideoInput {
  /** Frames per 1000 s as the encoder announced them. */
  announced_frame_rate_millihertz?: number;
  /** Bit rate over the last seconds. */
  bit_rate?: number;
  /** Codec as in the CODECS attribute (RFC 6381). */
  codec: string;
  /** Frames per 1000 s of media, over the last seconds. `None` before the first measurement. */
  frame_rate_millihertz?: number;
  /** Height in pixels. */
  height: number;
  /** The longest of the recent intervals between keyframes, in milliseconds; during the first interval, its length so far. */
  keyframe_interval_ms?: number;
  /** The source is passed through as a rendition, besides being decoded. */
  passed_through?: boolean;
  /** Largest presentation minus decode time of a picture, in milliseconds: the delay of B-frames. */
  reorder_ms?: number;
  /** Width in pixels. */
  width: number;
}
export const readVideoInput: Read<VideoInput> = /* @__PURE__ */ object(
  {
    codec: /* @__PURE__ */ text(),
    height: integer,
    width: integer,
  },
  {
    announced_frame_rate_millihertz: integer,
    bit_rate: integer,
    frame_rate_millihertz: integer,
    keyframe_interval_ms: integer,
    passed_through: flag,
    reorder_ms: integer,
  },
);

/** How much a warning matters. */
export type Severity = ('warning' | 'note' | (string & {}));
export const readSeverity: Read<Severity> = /* @__PURE__ */ text();

/** A problem, in plain words for the streamer, with its remedy. */
export interface Warning {
  /** Identifier for programs: `keyframe_interval`, `no_audio`, … */
  kind: string;
  severity: Severity;
  /** Since when the problem exists. */
  since: number;
  /** One or two sentences. */
  text: string;
  /** When the problem ended; `None` while it lasts. The ingest repeats the warning for a while afterwards, so that people see it and it does not flicker. */
  until?: number;
}
export const readWarning: Read<Warning> = /* @__PURE__ */ object(
  {
    kind: /* @__PURE__ */ text(),
    severity: readSeverity,
    since: integer,
    text: /* @__PURE__ */ text(),
  },
  {
    until: integer,
  },
);

/** Topic `streams/{stream}/input`, every 2 s while the ingest has the stream; not retained. For display, and for the quotas of tenants, which ingests count by it. It does not contain the publisher's address. */
export interface Input {
  /** Time of the report. */
  at: number;
  /** The audio, once its format is known. */
  audio?: AudioInput;
  /** Since when the publisher has been away; `None` while it is connected, and before the first publisher. */
  away_since?: number;
  /** Bit rate of video and audio together, over the last seconds. */
  bit_rate?: number;
  /** Jumps of the publisher's clock since it connected; each is a discontinuity. */
  clock_jumps?: number;
  /** Since when the publisher is connected; `None` while it is away. */
  connected_at?: number;
  /** Media that could not be used. */
  drops?: Drops;
  /** Name of the encoder from its metadata. */
  encoder?: string;
  /** Ingest node that sends the report. */
  ingest: string;
  /** Seconds of media received per 1000 s of real time: 1000 is real time. `None` before the first measurement. */
  pace_permille?: number;
  /** How often a publisher has reconnected since the stream went live. */
  reconnects?: number;
  /** Viewers see the slate instead of the publisher. */
  slate?: boolean;
  /** Another ingest has the stream; this one and its publisher stand by. */
  standby?: boolean;
  stream: string;
  /** The video, once its format is known. */
  video?: VideoInput;
  /** Time of the newest picture minus time of the newest audio, in milliseconds; `None` unless there are both. */
  video_ahead_of_audio_ms?: number;
  /** Warnings for the streamer, the most important first. */
  warnings: Array<Warning>;
}
export const readInput: Read<Input> = /* @__PURE__ */ object(
  {
    at: integer,
    ingest: /* @__PURE__ */ text(),
    stream: /* @__PURE__ */ text(),
    warnings: /* @__PURE__ */ list(readWarning),
  },
  {
    audio: readAudioInput,
    away_since: integer,
    bit_rate: integer,
    clock_jumps: integer,
    connected_at: integer,
    drops: readDrops,
    encoder: /* @__PURE__ */ text(),
    pace_permille: integer,
    reconnects: integer,
    slate: flag,
    standby: flag,
    video: readVideoInput,
    video_ahead_of_audio_ms: integer,
  },
);

/** A stream's key. */
export interface StreamKey {
  /** Its end. */
  hint: string;
  /** In the answer that makes the key, and in no other. */
  secret?: string;
}
export const readStreamKey: Read<StreamKey> = /* @__PURE__ */ object(
  {
    hint: /* @__PURE__ */ text(),
  },
  {
    secret: /* @__PURE__ */ text(),
  },
);

/** What goes on in a stream. */
export interface Live {
  epoch?: number;
  started_at?: number;
  state: ('idle' | 'live' | 'reconnecting' | 'ended' | (string & {}));
}
export const readLive: Read<Live> = /* @__PURE__ */ object(
  {
    state: /* @__PURE__ */ text(),
  },
  {
    epoch: integer,
    started_at: integer,
  },
);

/** A stream. */
export interface Stream {
  category: string;
  chat: ChatSettings;
  created_at: number;
  description: string;
  embed: ('listed' | 'anywhere' | 'nowhere' | (string & {}));
  id: string;
  input?: Input | null;
  key: StreamKey;
  /** With `include=live`. */
  live?: Live;
  name: string;
  origins: Array<string>;
  /** With `include=publish_urls`, and beside a new key: where encoders publish now, such as `rtmp://live.example.org:1935/live`. Empty while no ingest is there. */
  publish_urls?: Array<string>;
  title: string;
  version: number;
  /** Who may watch. */
  visibility: ('public' | 'unlisted' | 'members' | 'token' | (string & {}));
}
export const readStream: Read<Stream> = /* @__PURE__ */ object(
  {
    category: /* @__PURE__ */ text(),
    chat: readChatSettings,
    created_at: integer,
    description: /* @__PURE__ */ text(20000),
    embed: /* @__PURE__ */ text(),
    id: /* @__PURE__ */ text(),
    key: readStreamKey,
    name: /* @__PURE__ */ text(),
    origins: /* @__PURE__ */ list(/* @__PURE__ */ text(), 64),
    title: /* @__PURE__ */ text(),
    version: integer,
    visibility: /* @__PURE__ */ text(),
  },
  {
    input: /* @__PURE__ */ nullable(readInput),
    live: readLive,
    publish_urls: /* @__PURE__ */ list(/* @__PURE__ */ text()),
  },
);

/** A ban from a chat. */
export interface Ban {
  author: string;
  created_at: number;
  expires_at: number;
  id: string;
  tag: string;
}
export const readBan: Read<Ban> = /* @__PURE__ */ object(
  {
    author: /* @__PURE__ */ text(),
    created_at: integer,
    expires_at: integer,
    id: /* @__PURE__ */ text(),
    tag: /* @__PURE__ */ text(),
  },
  {
  },
);

/** The frame, and which sites may show it. */
export interface Frame {
  embed: ('listed' | 'anywhere' | 'nowhere' | (string & {}));
  /** An `iframe`. */
  html: string;
  /** A viewer token stands in place of TOKEN. */
  needs_token: boolean;
  origins: Array<string>;
  url: string;
}
export const readFrame: Read<Frame> = /* @__PURE__ */ object(
  {
    embed: /* @__PURE__ */ text(),
    html: /* @__PURE__ */ text(),
    needs_token: flag,
    origins: /* @__PURE__ */ list(/* @__PURE__ */ text()),
    url: /* @__PURE__ */ text(),
  },
  {
  },
);

/** A message of a chat. */
export interface Message {
  author: string;
  created_at: number;
  id: string;
  role: string;
  state: ('shown' | 'deleted' | (string & {}));
  /** Tells writers of one name apart. */
  tag: string;
  /** Null once it is deleted. */
  text: string | null;
}
export const readMessage: Read<Message> = /* @__PURE__ */ object(
  {
    author: /* @__PURE__ */ text(),
    created_at: integer,
    id: /* @__PURE__ */ text(),
    role: /* @__PURE__ */ text(),
    state: /* @__PURE__ */ text(),
    tag: /* @__PURE__ */ text(),
    text: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
  },
  {
  },
);

/** What a viewer opens with a token. */
export interface TokenUrls {
  /** What a hidden stream allows, the server says to whoever shows a token alone. */
  embed: string;
  hls: string;
  page: string;
}
export const readTokenUrls: Read<TokenUrls> = /* @__PURE__ */ object(
  {
    embed: /* @__PURE__ */ text(),
    hls: /* @__PURE__ */ text(),
    page: /* @__PURE__ */ text(),
  },
  {
  },
);

/** A viewer token. */
export interface ViewerToken {
  expires_at: number;
  jti: string;
  token: string;
  urls: TokenUrls | null;
}
export const readViewerToken: Read<ViewerToken> = /* @__PURE__ */ object(
  {
    expires_at: integer,
    jti: /* @__PURE__ */ text(),
    token: /* @__PURE__ */ text(),
    urls: /* @__PURE__ */ nullable(readTokenUrls),
  },
  {
  },
);

/** What a tenant may use; null: no limit of its own. */
export interface Quota {
  /** Bits per second to all viewers together. Above it, nobody else begins to watch. */
  egress_bps: number | null;
  /** Bits per second of all publishers together. */
  input_bps: number | null;
  /** Streams that are published at once. */
  publishers: number | null;
  /** Bytes of recordings on the disks of all nodes, copies included. Of more, the oldest go. */
  storage_bytes: number | null;
  /** Streams that exist. */
  streams: number | null;
}
export const readQuota: Read<Quota> = /* @__PURE__ */ object(
  {
    egress_bps: /* @__PURE__ */ nullable(integer),
    input_bps: /* @__PURE__ */ nullable(integer),
    publishers: /* @__PURE__ */ nullable(integer),
    storage_bytes: /* @__PURE__ */ nullable(integer),
    streams: /* @__PURE__ */ nullable(integer),
  },
  {
  },
);

/** Whether a tenant may change anything. */
export type TenantState = ('active' | 'suspended' | (string & {}));
export const readTenantState: Read<TenantState> = /* @__PURE__ */ text();

/** A tenant, as the API shows it. */
export interface Tenant {
  created_at: number;
  id: string;
  name: string;
  quota: Quota;
  slug: string;
  state: TenantState;
  version: number;
}
export const readTenant: Read<Tenant> = /* @__PURE__ */ object(
  {
    created_at: integer,
    id: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    quota: readQuota,
    slug: /* @__PURE__ */ text(),
    state: readTenantState,
    version: integer,
  },
  {
  },
);

/** What went with a tenant, or would go. */
export interface Goes {
  api_keys: number;
  streams: number;
}
export const readGoes: Read<Goes> = /* @__PURE__ */ object(
  {
    api_keys: integer,
    streams: integer,
  },
  {
  },
);

/** A tenant that is gone. */
export interface DeletedTenant {
  deleted: Goes;
  id: string;
  slug: string;
}
export const readDeletedTenant: Read<DeletedTenant> = /* @__PURE__ */ object(
  {
    deleted: readGoes,
    id: /* @__PURE__ */ text(),
    slug: /* @__PURE__ */ text(),
  },
  {
  },
);

/** What a tenant uses now. Rates are means over some ten seconds, and storage has all copies of recordings. */
export interface Used {
  api_keys: number;
  egress_bps: number;
  input_bps: number;
  publishers: number;
  storage_bytes: number;
  streams: number;
}
export const readUsed: Read<Used> = /* @__PURE__ */ object(
  {
    api_keys: integer,
    egress_bps: integer,
    input_bps: integer,
    publishers: integer,
    storage_bytes: integer,
    streams: integer,
  },
  {
  },
);

/** What a tenant may use, and what it uses. */
export interface Usage {
  quota: Quota;
  used: Used;
}
export const readUsage: Read<Usage> = /* @__PURE__ */ object(
  {
    quota: readQuota,
    used: readUsed,
  },
  {
  },
);

/** What was taken back. */
export interface RevokedTokens {
  /** For operators: nodes that are there and have it. */
  acknowledged?: Array<string>;
  /** Whether all nodes that are there have it. */
  is_everywhere: boolean;
  /** For operators: nodes that are there and have not said so in time. */
  missing?: Array<string>;
  /** With `sub`: up to which version. */
  up_to_ver: number | null;
}
export const readRevokedTokens: Read<RevokedTokens> = /* @__PURE__ */ object(
  {
    is_everywhere: flag,
    up_to_ver: /* @__PURE__ */ nullable(integer),
  },
  {
    acknowledged: /* @__PURE__ */ list(/* @__PURE__ */ text()),
    missing: /* @__PURE__ */ list(/* @__PURE__ */ text()),
  },
);

/** Whether an endpoint gets events. */
export type WebhookState = ('active' | 'disabled' | (string & {}));
export const readWebhookState: Read<WebhookState> = /* @__PURE__ */ text();

/** An endpoint. */
export interface Webhook {
  created_at: number;
  disabled_reason: string | null;
  failing_since_at: number | null;
  id: string;
  /** Until when the secret before signs, too. */
  overlap_until_at: number | null;
  /** In the answer that makes the secret, and in no other. */
  secret?: string;
  state: WebhookState;
  types: Array<string>;
  url: string;
  version: number;
}
export const readWebhook: Read<Webhook> = /* @__PURE__ */ object(
  {
    created_at: integer,
    disabled_reason: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    failing_since_at: /* @__PURE__ */ nullable(integer),
    id: /* @__PURE__ */ text(),
    overlap_until_at: /* @__PURE__ */ nullable(integer),
    state: readWebhookState,
    types: /* @__PURE__ */ list(/* @__PURE__ */ text(), 64),
    url: /* @__PURE__ */ text(),
    version: integer,
  },
  {
    secret: /* @__PURE__ */ text(),
  },
);

/** An event on its way to an endpoint. */
export interface Delivery {
  answered_at: number | null;
  attempts: number;
  created_at: number;
  /** When it is tried next. */
  due_at: number | null;
  error: string | null;
  event: string;
  id: string;
  sequence: number;
  state: ('pending' | 'delivered' | 'failed' | 'dropped' | (string & {}));
  /** What the receiver answered. */
  status: number | null;
  type: string;
}
export const readDelivery: Read<Delivery> = /* @__PURE__ */ object(
  {
    answered_at: /* @__PURE__ */ nullable(integer),
    attempts: integer,
    created_at: integer,
    due_at: /* @__PURE__ */ nullable(integer),
    error: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    event: /* @__PURE__ */ text(),
    id: /* @__PURE__ */ text(),
    sequence: integer,
    state: /* @__PURE__ */ text(),
    status: /* @__PURE__ */ nullable(integer),
    type: /* @__PURE__ */ text(),
  },
  {
  },
);

/** An event that is sent once more. */
export interface Queued {
  event: string;
  queued_count: number;
}
export const readQueued: Read<Queued> = /* @__PURE__ */ object(
  {
    event: /* @__PURE__ */ text(),
    queued_count: integer,
  },
  {
  },
);

/** How many events are sent once more. */
export interface Replayed {
  /** From when to go on, where there are more. */
  next_from_at: number | null;
  queued_count: number;
}
export const readReplayed: Read<Replayed> = /* @__PURE__ */ object(
  {
    next_from_at: /* @__PURE__ */ nullable(integer),
    queued_count: integer,
  },
  {
  },
);

/** What became of a test event. */
export interface WebhookTest {
  /** Whether the receiver took it. */
  delivered: boolean;
  /** Why it was not delivered. */
  error: string | null;
  /** Identity of the event. */
  event: string;
  /** What it answered. */
  status: number | null;
}
export const readWebhookTest: Read<WebhookTest> = /* @__PURE__ */ object(
  {
    delivered: flag,
    error: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    event: /* @__PURE__ */ text(),
    status: /* @__PURE__ */ nullable(integer),
  },
  {
  },
);

/** A new API key. */
export interface NewApiKey {
  /** When its time is over, in Unix milliseconds; null: never. */
  expires_at?: number | null;
  /** What people call it. */
  name: string;
  /** In place of scopes: `viewer`, `producer`, `owner` or `operator`. */
  role?: string | null;
  /** What it may do, such as `streams:read`. */
  scopes?: Array<string> | null;
}

/** What may be changed of a key. */
export interface ApiKeySettings {
  expires_at?: number | null;
  name?: string | null;
  scopes?: Array<string> | null;
}

/** How a key is rotated. */
export interface Rotation {
  /** For how long the secret before is accepted, too, in seconds; at most a week. */
  overlap_s?: number | null;
}

/** How somebody wants to sign in. */
export interface Login {
  /** Code of a set-up link, for whoever becomes a member with it. */
  code?: string | null;
  /** URL of the issuer, as `GET /auth` names it. */
  issuer: string;
  /** Path of this server to which the browser returns; `/studio` by default. */
  return_to?: string | null;
}

/** A claim that gives a role. */
export interface RuleSettingsGiven {
  /** Name of the claim; dots lead into objects. */
  claim: string;
  /** The claim's text, one of its list, or one of the words of `scope`. */
  equals: string;
  /** `viewer`, `producer`, `owner` or `operator`. */
  role: string;
}

/** An issuer. */
export interface IssuerSettings {
  /** Asymmetric algorithms that it may sign with; `RS256`, `ES256` and `EdDSA` by default. */
  algorithms?: Array<string> | null;
  /** A token has one of these in `aud`, or as `azp`. At least one. */
  audiences: Array<string>;
  /** Where its public keys are (JWKS). */
  jwks_url: string;
  /** By how much clocks may differ, in seconds. */
  leeway_s?: number | null;
  /** Which role a token gives. The first that matches counts; a token that none matches is refused. */
  rules: Array<RuleSettingsGiven>;
  /** The claim that names streams. */
  streams_claim?: string | null;
  /** What its tokens have as `iss`, exactly. */
  url: string;
  /** What its tokens are good for: `api`, `publish`, `view`. */
  uses: Array<string>;
}

/** A token that is tried. */
export interface Trial {
  /** A JWT. Nobody keeps it. */
  token: string;
}

/** A new member. */
export interface NewMember {
  /** What people call it. */
  name: string;
  /** `viewer`, `producer`, `owner` or `operator`. */
  role?: string | null;
}

/** What may be changed of a member. */
export interface MemberSettings {
  name?: string | null;
  /** `viewer`, `producer`, `owner` or `operator`. What is set here, no rule of an issuer changes any more. */
  role?: string | null;
  /** `active` or `suspended`. A suspended member does nothing, and its sessions show nothing. */
  state?: string | null;
}

/** A name and a password. */
export interface Credentials {
  /** Upper and lower case are one. */
  name: string;
  password: string;
}

/** Who somebody wants to be. */
export interface SetUp {
  /** What stands behind `#` in the set-up link. */
  code: string;
  /** Name for signing in, 1 to 100 characters. Whoever has a new password made keeps the name. */
  name?: string | null;
  /** At least 12 characters, and 256 bytes at most. */
  password: string;
}

/** A new key. */
export interface NewSigningKey {
  /** When its tokens count no more, in Unix milliseconds; at most 400 days from now, and that by default. */
  expires_at?: number | null;
  /** What people call it. */
  name?: string | null;
  /** The public key that the tenant signs with: a JWK (RFC 7517) for one algorithm. Without one, control makes a key and keeps it. */
  public_key?: Json;
}

/** What may be changed of a key. */
export interface SigningKeySettings {
  /** What people call it. */
  name?: string | null;
}

/** A chat beside the player. */
export interface ChatSettingsGiven {
  /** Whether there is one. */
  on?: boolean | null;
  /** Seconds between two messages of one writer, at most 3600; 0: no more than the server's own limits. */
  slow_s?: number | null;
  /** `everybody` who may watch, or who has a viewer `token` with `chat`. */
  writers?: string | null;
}

/** A new stream. */
export interface NewStream {
  category?: string | null;
  chat?: ChatSettingsGiven | null;
  description?: string | null;
  /** Which sites may show the player in a frame: `listed` in origins, `anywhere`, or `nowhere`. */
  embed?: string | null;
  /** Its name, which stays: 1 to 64 characters out of a-z, A-Z, 0-9, `-`, `_` and `.`. Those of a tenant besides `default` begin with the tenant's slug and a dot; those of `default` have no dot. */
  name: string;
  /** Sites whose scripts may read the stream and that may show its player, such as `https://town.example`; `https://*.town.example` stands for all that differ in their first label. Empty: every site may read, and none but the cluster's own shows the player. */
  origins?: Array<string> | null;
  title?: string | null;
  /** Who may watch: `public`, `unlisted`, `members` or `token`. */
  visibility?: string | null;
}

/** What may be changed of a stream. Nothing here concerns the media: whoever publishes goes on, and whoever watches and still may. */
export interface StreamSettings {
  category?: string | null;
  chat?: ChatSettingsGiven | null;
  description?: string | null;
  /** Which sites may show the player in a frame: `listed` in origins, `anywhere`, or `nowhere`. */
  embed?: string | null;
  /** Sites whose scripts may read the stream and that may show its player, such as `https://town.example`; `https://*.town.example` stands for all that differ in their first label. Empty: every site may read, and none but the cluster's own shows the player. */
  origins?: Array<string> | null;
  title?: string | null;
  /** Who may watch: `public`, `unlisted`, `members` or `token`. */
  visibility?: string | null;
}

/** A new ban. */
export interface NewBan {
  /** For how many seconds, 1 to 86400. */
  for_s?: number | null;
  /** Identity of a message of whoever is banned. */
  message: string;
}

/** What a tenant may change of itself. */
export interface OwnSettings {
  /** What people call it. */
  name?: string | null;
}

/** What a tenant may use; null: no limit of its own. */
export interface QuotaGiven {
  /** Bits per second to all viewers together. Above it, nobody else begins to watch. */
  egress_bps?: number | null;
  /** Bits per second of all publishers together. */
  input_bps?: number | null;
  /** Streams that are published at once. */
  publishers?: number | null;
  /** Bytes of recordings on the disks of all nodes, copies included. Of more, the oldest go. */
  storage_bytes?: number | null;
  /** Streams that exist. */
  streams?: number | null;
}

/** A new tenant. */
export interface NewTenant {
  /** What people call it; the slug by default. */
  name?: string | null;
  quota?: QuotaGiven | null;
  /** What the names of its streams begin with: 2 to 24 characters out of a-z, 0-9 and `-`. It stays. */
  slug: string;
}

/** What an operator may change of a tenant. */
export interface TenantSettings {
  name?: string | null;
  quota?: QuotaGiven | null;
  state?: TenantState | null;
}

/** What a token is to say. */
export interface NewViewerToken {
  /** For how long a viewer may begin with it, in seconds; whoever watches then goes on. */
  admit_for_s?: number | null;
  /** Where viewers reach the cluster, when a load balancer's own address is not it. */
  base_url?: string | null;
  /** May write in the chat. */
  chat?: boolean | null;
  /** Viewers at once. */
  max_viewers?: number | null;
  /** Sites whose pages may use it, such as `https://site.example` or `https://*.site.example`. */
  origins?: Array<string> | null;
  /** Streams that it opens, by name or identity, at most 16; `*` alone for all of the tenant. */
  streams: Array<string>;
  /** Every request has to come from such a site, and not only the first. */
  strict?: boolean | null;
  /** The viewer, as the tenant calls it. */
  sub?: string | null;
  /** For how long it counts, in seconds. */
  ttl_s?: number | null;
  /** Version among the viewer's tokens; null: after those that were taken back. */
  ver?: number | null;
}

/** What is taken back: one of `jti`, `sub` and `stream`. */
export interface RevokedViewerTokens {
  /** The one token with this `jti`. */
  jti?: string | null;
  /** The tokens for this stream that were made until now. */
  stream?: string | null;
  /** The tokens of this viewer. */
  sub?: string | null;
  /** With `sub`: up to this version; null: all that were made until now. */
  up_to_ver?: number | null;
}

/** A new endpoint. */
export interface NewWebhook {
  /** Kinds of events: `stream.live`, `stream.*`, or `*` for all. */
  types?: Array<string> | null;
  /** Where events go: `https://…`, with a public address. */
  url: string;
}

/** What may be changed of an endpoint. */
export interface WebhookSettings {
  state?: WebhookState | null;
  types?: Array<string> | null;
  url?: string | null;
}

/** Which events go to an endpoint once more. */
export interface Replay {
  /** From then on, in Unix milliseconds. */
  from_at: number | null;
  /** Until before then; null: until now. */
  to_at?: number | null;
}

/** How a secret is rotated. */
export interface SecretRotation {
  /** Also while an overlap lasts; the older secret then ends at once. */
  force?: boolean | null;
  /** For how long the secret before signs, too, in seconds: a day unless you say otherwise, at most a week. */
  overlap_s?: number | null;
}

/** The tenant's API keys. */
export const getApiKeys: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, Page<ApiKey>> = {
  method: 'GET',
  path: () => '/api/v1/api-keys',
  read: /* @__PURE__ */ readPage(readApiKey),
  scope: 'api-keys:read',
};

/** Makes an API key. The answer has its secret, which no other answer has. */
export const postApiKeys: Operation<Record<never, never>, Record<never, never>, NewApiKey, ApiKey> = {
  method: 'POST',
  path: () => '/api/v1/api-keys',
  read: readApiKey,
  scope: 'api-keys:write',
};

/** An API key. */
export const getApiKeysKey: Operation<{ key: string }, Record<never, never>, undefined, ApiKey> = {
  method: 'GET',
  path: (names) => `/api/v1/api-keys/${encodeURIComponent(names.key)}`,
  read: readApiKey,
  scope: 'api-keys:read',
};

/** Changes an API key (RFC 7396). */
export const patchApiKeysKey: Operation<{ key: string }, Record<never, never>, ApiKeySettings, ApiKey> = {
  method: 'PATCH',
  path: (names) => `/api/v1/api-keys/${encodeURIComponent(names.key)}`,
  read: readApiKey,
  scope: 'api-keys:write',
};

/** Deletes an API key. It opens nothing from then on. */
export const deleteApiKeysKey: Operation<{ key: string }, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/api-keys/${encodeURIComponent(names.key)}`,
  read: nothing,
  scope: 'api-keys:write',
};

/** Gives an API key a new secret. The one before is accepted for `overlap_s` more. */
export const postApiKeysKeyRotate: Operation<{ key: string }, Record<never, never>, Rotation, ApiKey> = {
  method: 'POST',
  path: (names) => `/api/v1/api-keys/${encodeURIComponent(names.key)}/rotate`,
  read: readApiKey,
  scope: 'api-keys:write',
};

/** Changes and refusals, newest first. */
export const getAudit: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string; all?: boolean }, undefined, Page<AuditRecord>> = {
  method: 'GET',
  path: () => '/api/v1/audit',
  read: /* @__PURE__ */ readPage(readAuditRecord),
  scope: 'audit:read',
};

/** Checks the chain of all records. */
export const getAuditCheck: Operation<Record<never, never>, Record<never, never>, undefined, AuditCheck> = {
  method: 'GET',
  path: () => '/api/v1/audit/check',
  read: readAuditCheck,
  scope: 'cluster:read',
};

/** How people may sign in here. */
export const getAuth: Operation<Record<never, never>, Record<never, never>, undefined, SignIns> = {
  method: 'GET',
  path: () => '/api/v1/auth',
  read: readSignIns,
  scope: null,
};

/** Where an issuer sends a browser back to: signs the person in, and leads on. What is wrong leads to the page for signing in, which says it. */
export const getAuthCallback: Operation<Record<never, never>, { code?: string; state?: string; iss?: string; error?: string }, undefined, null> = {
  method: 'GET',
  path: () => '/api/v1/auth/callback',
  read: nothing,
  scope: null,
};

/** The same for a link: leads to the issuer. */
export const getAuthLogin: Operation<Record<never, never>, { issuer?: string; return_to?: string }, undefined, null> = {
  method: 'GET',
  path: () => '/api/v1/auth/login',
  read: nothing,
  scope: null,
};

/** Begins to sign in at an issuer. The answer says where the browser goes. */
export const postAuthLogin: Operation<Record<never, never>, Record<never, never>, Login, LoginUrl> = {
  method: 'POST',
  path: () => '/api/v1/auth/login',
  read: readLoginUrl,
  scope: null,
};

/** Events of the tenant as they happen (server-sent events). */
export const getEvents: Operation<Record<never, never>, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: () => '/api/v1/events',
  read: nothing,
  scope: null,
};

/** The tenant's issuers. Those of the configuration come first, on the first page. */
export const getIssuers: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, Page<Issuer>> = {
  method: 'GET',
  path: () => '/api/v1/issuers',
  read: /* @__PURE__ */ readPage(readIssuer),
  scope: 'issuers:read',
};

/** Registers an issuer. Its keys are fetched at once. */
export const postIssuers: Operation<Record<never, never>, Record<never, never>, IssuerSettings, Issuer> = {
  method: 'POST',
  path: () => '/api/v1/issuers',
  read: readIssuer,
  scope: 'issuers:write',
};

/** An issuer, and since when its keys could not be fetched. */
export const getIssuersIssuer: Operation<{ issuer: string }, Record<never, never>, undefined, Issuer> = {
  method: 'GET',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}`,
  read: readIssuer,
  scope: 'issuers:read',
};

/** Changes an issuer (RFC 7396). */
export const patchIssuersIssuer: Operation<{ issuer: string }, Record<never, never>, IssuerSettings, Issuer> = {
  method: 'PATCH',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}`,
  read: readIssuer,
  scope: 'issuers:write',
};

/** Removes an issuer: none of its tokens counts any more. */
export const deleteIssuersIssuer: Operation<{ issuer: string }, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}`,
  read: nothing,
  scope: 'issuers:write',
};

/** Fetches an issuer's keys now, because one of them must not count any more. */
export const postIssuersIssuerRefresh: Operation<{ issuer: string }, Record<never, never>, undefined, Issuer> = {
  method: 'POST',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}/refresh`,
  read: readIssuer,
  scope: 'issuers:write',
};

/** Says what a token would be good for, or why it would be refused. */
export const postIssuersIssuerTest: Operation<{ issuer: string }, Record<never, never>, Trial, Tried> = {
  method: 'POST',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}/test`,
  read: readTried,
  scope: 'issuers:write',
};

/** The tenant's members. */
export const getMembers: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, Page<Member>> = {
  method: 'GET',
  path: () => '/api/v1/members',
  read: /* @__PURE__ */ readPage(readMember),
  scope: 'members:read',
};

/** Invites a member. The answer has the link for it, which no other answer has. */
export const postMembers: Operation<Record<never, never>, Record<never, never>, NewMember, Member> = {
  method: 'POST',
  path: () => '/api/v1/members',
  read: readMember,
  scope: 'members:write',
};

/** A member. */
export const getMembersMember: Operation<{ member: string }, Record<never, never>, undefined, Member> = {
  method: 'GET',
  path: (names) => `/api/v1/members/${encodeURIComponent(names.member)}`,
  read: readMember,
  scope: 'members:read',
};

/** Changes a member's name, role or state (RFC 7396). What is taken away counts no more within a second. */
export const patchMembersMember: Operation<{ member: string }, Record<never, never>, MemberSettings, Member> = {
  method: 'PATCH',
  path: (names) => `/api/v1/members/${encodeURIComponent(names.member)}`,
  read: readMember,
  scope: 'members:write',
};

/** Deletes a member. It may do nothing here from then on. */
export const deleteMembersMember: Operation<{ member: string }, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/members/${encodeURIComponent(names.member)}`,
  read: nothing,
  scope: 'members:write',
};

/** Makes a new link for a member: for one who is invited, in place of the one before; for one with a password, to set a new one. */
export const postMembersMemberInvite: Operation<{ member: string }, Record<never, never>, undefined, Member> = {
  method: 'POST',
  path: (names) => `/api/v1/members/${encodeURIComponent(names.member)}/invite`,
  read: readMember,
  scope: 'members:write',
};

/** All types of problems. */
export const getProblems: Operation<Record<never, never>, Record<never, never>, undefined, Page<ProblemType>> = {
  method: 'GET',
  path: () => '/api/v1/problems',
  read: /* @__PURE__ */ readPage(readProblemType),
  scope: null,
};

/** A type of problems. */
export const getProblemsType: Operation<{ type: string }, Record<never, never>, undefined, ProblemType> = {
  method: 'GET',
  path: (names) => `/api/v1/problems/${encodeURIComponent(names.type)}`,
  read: readProblemType,
  scope: null,
};

/** Who the caller is, and what it may do. */
export const getSession: Operation<Record<never, never>, Record<never, never>, undefined, Session> = {
  method: 'GET',
  path: () => '/api/v1/session',
  read: readSession,
  scope: null,
};

/** Signs somebody in with a name and a password. */
export const postSession: Operation<Record<never, never>, Record<never, never>, Credentials, Session> = {
  method: 'POST',
  path: () => '/api/v1/session',
  read: readSession,
  scope: null,
};

/** Signs out: the session is over everywhere. */
export const deleteSession: Operation<Record<never, never>, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: () => '/api/v1/session',
  read: nothing,
  scope: null,
};

/** Makes somebody a member who has a set-up link, and signs in; or gives a member a new password. */
export const postSetup: Operation<Record<never, never>, Record<never, never>, SetUp, Session> = {
  method: 'POST',
  path: () => '/api/v1/setup',
  read: readSession,
  scope: null,
};

/** The tenant's keys of viewer tokens. */
export const getSigningKeys: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, Page<SigningKey>> = {
  method: 'GET',
  path: () => '/api/v1/signing-keys',
  read: /* @__PURE__ */ readPage(readSigningKey),
  scope: 'tokens:read',
};

/** Makes a key, which signs the tenant's next tokens, or registers the public part of one that the tenant has. */
export const postSigningKeys: Operation<Record<never, never>, Record<never, never>, NewSigningKey, SigningKey> = {
  method: 'POST',
  path: () => '/api/v1/signing-keys',
  read: readSigningKey,
  scope: 'tokens:write',
};

/** A key. */
export const getSigningKeysSigningKey: Operation<{ signing_key: string }, Record<never, never>, undefined, SigningKey> = {
  method: 'GET',
  path: (names) => `/api/v1/signing-keys/${encodeURIComponent(names.signing_key)}`,
  read: readSigningKey,
  scope: 'tokens:read',
};

/** Changes the name of a key (RFC 7396). */
export const patchSigningKeysSigningKey: Operation<{ signing_key: string }, Record<never, never>, SigningKeySettings, SigningKey> = {
  method: 'PATCH',
  path: (names) => `/api/v1/signing-keys/${encodeURIComponent(names.signing_key)}`,
  read: readSigningKey,
  scope: 'tokens:write',
};

/** Retires a key: no token that it has signed counts any more. */
export const deleteSigningKeysSigningKey: Operation<{ signing_key: string }, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/signing-keys/${encodeURIComponent(names.signing_key)}`,
  read: nothing,
  scope: 'tokens:write',
};

/** The tenant's streams. */
export const getStreams: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string; include?: string }, undefined, Page<Stream>> = {
  method: 'GET',
  path: () => '/api/v1/streams',
  read: /* @__PURE__ */ readPage(readStream),
  scope: 'streams:read',
};

/** Makes a stream. The answer has its key, which no other answer has. */
export const postStreams: Operation<Record<never, never>, Record<never, never>, NewStream, Stream> = {
  method: 'POST',
  path: () => '/api/v1/streams',
  read: readStream,
  scope: 'streams:write',
};

/** A stream, by name or identity. */
export const getStreamsStream: Operation<{ stream: string }, { include?: string }, undefined, Stream> = {
  method: 'GET',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}`,
  read: readStream,
  scope: 'streams:read',
};

/** Changes a stream (RFC 7396). */
export const patchStreamsStream: Operation<{ stream: string }, Record<never, never>, StreamSettings, Stream> = {
  method: 'PATCH',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}`,
  read: readStream,
  scope: 'streams:write',
};

/** Deletes a stream and its key, and disconnects its publisher. */
export const deleteStreamsStream: Operation<{ stream: string }, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}`,
  read: nothing,
  scope: 'streams:write',
};

/** The bans of a stream that count. */
export const getStreamsStreamBans: Operation<{ stream: string }, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, Page<Ban>> = {
  method: 'GET',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/bans`,
  read: /* @__PURE__ */ readPage(readBan),
  scope: 'chat:read',
};

/** Bans whoever has written a message: by the viewer token, or else by the address, of which only a keyed hash is kept. Deletes all that it has written. */
export const postStreamsStreamBans: Operation<{ stream: string }, Record<never, never>, NewBan, Ban> = {
  method: 'POST',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/bans`,
  read: readBan,
  scope: 'chat:write',
};

/** Ends a ban. What was deleted with it stays deleted. */
export const deleteStreamsStreamBansBan: Operation<{ stream: string; ban: string }, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/bans/${encodeURIComponent(names.ban)}`,
  read: nothing,
  scope: 'chat:write',
};

/** The frame (`iframe`) with a stream's player, for pages of other sites, and which sites may show it. With `needs_token`, a viewer token stands in place of TOKEN. */
export const getStreamsStreamEmbed: Operation<{ stream: string }, { base_url?: string }, undefined, Frame> = {
  method: 'GET',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/embed`,
  read: readFrame,
  scope: 'streams:read',
};

/** The newest messages of a stream's chat. */
export const getStreamsStreamMessages: Operation<{ stream: string }, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, Page<Message>> = {
  method: 'GET',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/messages`,
  read: /* @__PURE__ */ readPage(readMessage),
  scope: 'chat:read',
};

/** Deletes a message, also from the screens of those who have it. */
export const deleteStreamsStreamMessagesMessage: Operation<{ stream: string; message: string }, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/messages/${encodeURIComponent(names.message)}`,
  read: nothing,
  scope: 'chat:write',
};

/** Gives a stream a new key, and disconnects a publisher that uses the one before. */
export const postStreamsStreamRotateKey: Operation<{ stream: string }, Record<never, never>, undefined, Stream> = {
  method: 'POST',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/rotate-key`,
  read: readStream,
  scope: 'streams:keys',
};

/** Makes a viewer token for somebody who is signed in. It ends when the member is suspended or deleted. */
export const postStreamsStreamWatch: Operation<{ stream: string }, Record<never, never>, undefined, ViewerToken> = {
  method: 'POST',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/watch`,
  read: readViewerToken,
  scope: 'streams:read',
};

/** The caller's tenant. */
export const getTenant: Operation<Record<never, never>, Record<never, never>, undefined, Tenant> = {
  method: 'GET',
  path: () => '/api/v1/tenant',
  read: readTenant,
  scope: 'tenant:read',
};

/** Changes the caller's tenant (RFC 7396). */
export const patchTenant: Operation<Record<never, never>, Record<never, never>, OwnSettings, Tenant> = {
  method: 'PATCH',
  path: () => '/api/v1/tenant',
  read: readTenant,
  scope: 'tenant:write',
};

/** All tenants. */
export const getTenants: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, Page<Tenant>> = {
  method: 'GET',
  path: () => '/api/v1/tenants',
  read: /* @__PURE__ */ readPage(readTenant),
  scope: 'tenants:read',
};

/** Makes a tenant. */
export const postTenants: Operation<Record<never, never>, Record<never, never>, NewTenant, Tenant> = {
  method: 'POST',
  path: () => '/api/v1/tenants',
  read: readTenant,
  scope: 'tenants:write',
};

/** A tenant, by slug or identity. */
export const getTenantsTenant: Operation<{ tenant: string }, Record<never, never>, undefined, Tenant> = {
  method: 'GET',
  path: (names) => `/api/v1/tenants/${encodeURIComponent(names.tenant)}`,
  read: readTenant,
  scope: 'tenants:read',
};

/** Changes a tenant (RFC 7396). */
export const patchTenantsTenant: Operation<{ tenant: string }, Record<never, never>, TenantSettings, Tenant> = {
  method: 'PATCH',
  path: (names) => `/api/v1/tenants/${encodeURIComponent(names.tenant)}`,
  read: readTenant,
  scope: 'tenants:write',
};

/** Deletes a tenant with all that it has. First says what that is. */
export const deleteTenantsTenant: Operation<{ tenant: string }, { confirm?: string }, undefined, DeletedTenant> = {
  method: 'DELETE',
  path: (names) => `/api/v1/tenants/${encodeURIComponent(names.tenant)}`,
  read: readDeletedTenant,
  scope: 'tenants:write',
};

/** What the tenant may use, and what it uses now. */
export const getUsage: Operation<Record<never, never>, Record<never, never>, undefined, Usage> = {
  method: 'GET',
  path: () => '/api/v1/usage',
  read: readUsage,
  scope: 'usage:read',
};

/** Makes a viewer token. No other answer has it. */
export const postViewerTokens: Operation<Record<never, never>, Record<never, never>, NewViewerToken, ViewerToken> = {
  method: 'POST',
  path: () => '/api/v1/viewer-tokens',
  read: readViewerToken,
  scope: 'tokens:write',
};

/** Takes viewer tokens back, everywhere within a second. */
export const postViewerTokensRevoke: Operation<Record<never, never>, Record<never, never>, RevokedViewerTokens, RevokedTokens> = {
  method: 'POST',
  path: () => '/api/v1/viewer-tokens/revoke',
  read: readRevokedTokens,
  scope: 'tokens:write',
};

/** The tenant's webhooks. */
export const getWebhooks: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, Page<Webhook>> = {
  method: 'GET',
  path: () => '/api/v1/webhooks',
  read: /* @__PURE__ */ readPage(readWebhook),
  scope: 'webhooks:read',
};

/** Makes a webhook. The answer has the secret that signs its deliveries, which no other answer has. */
export const postWebhooks: Operation<Record<never, never>, Record<never, never>, NewWebhook, Webhook> = {
  method: 'POST',
  path: () => '/api/v1/webhooks',
  read: readWebhook,
  scope: 'webhooks:write',
};

/** A webhook. */
export const getWebhooksWebhook: Operation<{ webhook: string }, Record<never, never>, undefined, Webhook> = {
  method: 'GET',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}`,
  read: readWebhook,
  scope: 'webhooks:read',
};

/** Changes a webhook (RFC 7396). */
export const patchWebhooksWebhook: Operation<{ webhook: string }, Record<never, never>, WebhookSettings, Webhook> = {
  method: 'PATCH',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}`,
  read: readWebhook,
  scope: 'webhooks:write',
};

/** Deletes a webhook. What waits for it is not delivered. */
export const deleteWebhooksWebhook: Operation<{ webhook: string }, Record<never, never>, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}`,
  read: nothing,
  scope: 'webhooks:write',
};

/** Deliveries to a webhook, newest first. Those that were given up have the state `failed`. */
export const getWebhooksWebhookDeliveries: Operation<{ webhook: string }, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string; state?: string }, undefined, Page<Delivery>> = {
  method: 'GET',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}/deliveries`,
  read: /* @__PURE__ */ readPage(readDelivery),
  scope: 'webhooks:read',
};

/** Delivers an event once more, while it is kept. */
export const postWebhooksWebhookDeliveriesDeliveryRedeliver: Operation<{ webhook: string; delivery: string }, Record<never, never>, undefined, Queued> = {
  method: 'POST',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}/deliveries/${encodeURIComponent(names.delivery)}/redeliver`,
  read: readQueued,
  scope: 'webhooks:write',
};

/** Sends the events of a time once more, as far as they are kept: 24 hours, at most 1,000 at once. Says from when to go on where there are more. */
export const postWebhooksWebhookReplay: Operation<{ webhook: string }, Record<never, never>, Replay, Replayed> = {
  method: 'POST',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}/replay`,
  read: readReplayed,
  scope: 'webhooks:write',
};

/** Gives a webhook a new secret. Until the overlap ends, each delivery has the signatures of both. */
export const postWebhooksWebhookRotateSecret: Operation<{ webhook: string }, Record<never, never>, SecretRotation, Webhook> = {
  method: 'POST',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}/rotate-secret`,
  read: readWebhook,
  scope: 'webhooks:write',
};

/** Sends a test event now, and says what became of it. */
export const postWebhooksWebhookTest: Operation<{ webhook: string }, Record<never, never>, undefined, WebhookTest> = {
  method: 'POST',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}/test`,
  read: readWebhookTest,
  scope: 'webhooks:write',
};

