// Made by tools/generate-api.mjs from control/openapi.json: `npm run generate`. Not to be edited.

import { anything, flag, integer, type Json, list, nothing, nullable, object, type Operation, type Read, text } from '../read';

/** A page of a list, and where the next one begins. */
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}
const readPage = <T>(read: Read<T>): Read<Page<T>> => object({ items: list(read), next_cursor: nullable(text()) }, {});

export interface ApiKey {
  id: string;
  name: string;
  scopes: Array<string>;
  hint: string;
  expires_at: number | null;
  last_used_at: number | null;
  overlap_until_at?: number | null;
  version: number;
  created_at: number;
  /** In the answer that makes the key, and in no other. */
  secret?: string;
}
export const readApiKey: Read<ApiKey> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    scopes: /* @__PURE__ */ list(/* @__PURE__ */ text(), 64),
    hint: /* @__PURE__ */ text(),
    expires_at: /* @__PURE__ */ nullable(integer),
    last_used_at: /* @__PURE__ */ nullable(integer),
    version: integer,
    created_at: integer,
  },
  {
    overlap_until_at: /* @__PURE__ */ nullable(integer),
    secret: /* @__PURE__ */ text(),
  },
);

export interface AuditRecord {
  id: string;
  created_at: number;
  actor: string;
  credential: string;
  action: string;
  object: string;
  /** What changed, without secrets. */
  changes: Json;
  result: string;
  request_id: string;
}
export const readAuditRecord: Read<AuditRecord> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    created_at: integer,
    actor: /* @__PURE__ */ text(),
    credential: /* @__PURE__ */ text(),
    action: /* @__PURE__ */ text(),
    object: /* @__PURE__ */ text(),
    changes: anything,
    result: /* @__PURE__ */ text(),
    request_id: /* @__PURE__ */ text(),
  },
  {
  },
);

export interface SignInIssuer {
  url: string;
  name: string;
}
export const readSignInIssuer: Read<SignInIssuer> = /* @__PURE__ */ object(
  {
    url: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
  },
  {
  },
);

export interface SignIns {
  is_set_up: boolean;
  issuers: Array<SignInIssuer>;
}
export const readSignIns: Read<SignIns> = /* @__PURE__ */ object(
  {
    is_set_up: flag,
    issuers: /* @__PURE__ */ list(readSignInIssuer, 20),
  },
  {
  },
);

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

export interface Member {
  id: string;
  name: string;
  role: ('viewer' | 'producer' | 'owner' | 'operator' | (string & {}));
  state: ('invited' | 'active' | 'suspended' | (string & {}));
  issuer: string | null;
  subject: string | null;
  invite_until_at: number | null;
  version: number;
  created_at: number;
  /** In the answer that makes the link, and in no other. */
  invite_url?: string;
}
export const readMember: Read<Member> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    role: /* @__PURE__ */ text(),
    state: /* @__PURE__ */ text(),
    issuer: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    subject: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    invite_until_at: /* @__PURE__ */ nullable(integer),
    version: integer,
    created_at: integer,
  },
  {
    invite_url: /* @__PURE__ */ text(),
  },
);

export interface SessionTenant {
  id: string;
  slug: string;
  name: string;
}
export const readSessionTenant: Read<SessionTenant> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    slug: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
  },
  {
  },
);

export interface Session {
  kind: string;
  credential?: string;
  name: string;
  tenant: SessionTenant;
  tenants?: Array<SessionTenant>;
  scopes: Array<string>;
  expires_at: number | null;
  /** What a change by cookie sends as x-sealcast-csrf. */
  csrf?: string;
  role?: string | null;
}
export const readSession: Read<Session> = /* @__PURE__ */ object(
  {
    kind: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    tenant: readSessionTenant,
    scopes: /* @__PURE__ */ list(/* @__PURE__ */ text(), 64),
    expires_at: /* @__PURE__ */ nullable(integer),
  },
  {
    credential: /* @__PURE__ */ text(),
    tenants: /* @__PURE__ */ list(readSessionTenant, 200),
    csrf: /* @__PURE__ */ text(),
    role: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
  },
);

export interface StreamKey {
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

export interface Live {
  state: ('idle' | 'live' | 'reconnecting' | 'ended' | (string & {}));
  epoch?: number;
  started_at?: number;
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

export interface VideoInput {
  codec: string;
  width: number;
  height: number;
  frame_rate_millihertz?: number;
  announced_frame_rate_millihertz?: number;
  keyframe_interval_ms?: number;
  reorder_ms?: number;
  bit_rate?: number;
  passed_through?: boolean;
}
export const readVideoInput: Read<VideoInput> = /* @__PURE__ */ object(
  {
    codec: /* @__PURE__ */ text(),
    width: integer,
    height: integer,
  },
  {
    frame_rate_millihertz: integer,
    announced_frame_rate_millihertz: integer,
    keyframe_interval_ms: integer,
    reorder_ms: integer,
    bit_rate: integer,
    passed_through: flag,
  },
);

export interface AudioInput {
  codec: string;
  sample_rate_hz?: number;
  channels?: number;
  bit_rate?: number;
}
export const readAudioInput: Read<AudioInput> = /* @__PURE__ */ object(
  {
    codec: /* @__PURE__ */ text(),
  },
  {
    sample_rate_hz: integer,
    channels: integer,
    bit_rate: integer,
  },
);

export interface Drops {
  early: number;
  refused: number;
  concealed: number;
  skipped: number;
}
export const readDrops: Read<Drops> = /* @__PURE__ */ object(
  {
    early: integer,
    refused: integer,
    concealed: integer,
    skipped: integer,
  },
  {
  },
);

export interface Warning {
  kind: string;
  severity: ('warning' | 'note' | (string & {}));
  text: string;
  since: number;
  until?: number;
}
export const readWarning: Read<Warning> = /* @__PURE__ */ object(
  {
    kind: /* @__PURE__ */ text(),
    severity: /* @__PURE__ */ text(),
    text: /* @__PURE__ */ text(),
    since: integer,
  },
  {
    until: integer,
  },
);

/** What an ingest reports of a publisher, every two seconds. */
export interface Input {
  ingest: string;
  at: number;
  connected_at?: number;
  away_since?: number;
  slate?: boolean;
  standby?: boolean;
  reconnects?: number;
  encoder?: string;
  bit_rate?: number;
  pace_permille?: number;
  video?: VideoInput;
  audio?: AudioInput;
  video_ahead_of_audio_ms?: number;
  drops?: Drops;
  clock_jumps?: number;
  warnings: Array<Warning>;
}
export const readInput: Read<Input> = /* @__PURE__ */ object(
  {
    ingest: /* @__PURE__ */ text(),
    at: integer,
    warnings: /* @__PURE__ */ list(readWarning, 64),
  },
  {
    connected_at: integer,
    away_since: integer,
    slate: flag,
    standby: flag,
    reconnects: integer,
    encoder: /* @__PURE__ */ text(),
    bit_rate: integer,
    pace_permille: integer,
    video: readVideoInput,
    audio: readAudioInput,
    video_ahead_of_audio_ms: integer,
    drops: readDrops,
    clock_jumps: integer,
  },
);

export interface StreamChat {
  on: boolean;
  slow_s: number;
  writers: ('everybody' | 'token' | (string & {}));
}
export const readStreamChat: Read<StreamChat> = /* @__PURE__ */ object(
  {
    on: flag,
    slow_s: integer,
    writers: /* @__PURE__ */ text(),
  },
  {
  },
);

export interface Stream {
  id: string;
  name: string;
  title: string;
  description: string;
  category: string;
  key: StreamKey;
  version: number;
  created_at: number;
  live?: Live;
  input?: Input | null;
  visibility?: ('public' | 'unlisted' | 'members' | 'token' | (string & {}));
  origins?: Array<string>;
  embed?: ('listed' | 'anywhere' | 'nowhere' | (string & {}));
  chat?: StreamChat;
}
export const readStream: Read<Stream> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    title: /* @__PURE__ */ text(),
    description: /* @__PURE__ */ text(20000),
    category: /* @__PURE__ */ text(),
    key: readStreamKey,
    version: integer,
    created_at: integer,
  },
  {
    live: readLive,
    input: /* @__PURE__ */ nullable(readInput),
    visibility: /* @__PURE__ */ text(),
    origins: /* @__PURE__ */ list(/* @__PURE__ */ text(), 64),
    embed: /* @__PURE__ */ text(),
    chat: readStreamChat,
  },
);

export interface Ban {
  id: string;
  author: string;
  tag: string;
  created_at: number;
  expires_at: number;
}
export const readBan: Read<Ban> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    author: /* @__PURE__ */ text(),
    tag: /* @__PURE__ */ text(),
    created_at: integer,
    expires_at: integer,
  },
  {
  },
);

export interface TokenUrls {
  hls: string;
  page: string;
  embed?: string;
}
export const readTokenUrls: Read<TokenUrls> = /* @__PURE__ */ object(
  {
    hls: /* @__PURE__ */ text(),
    page: /* @__PURE__ */ text(),
  },
  {
    embed: /* @__PURE__ */ text(),
  },
);

export interface ViewerToken {
  token: string;
  jti?: string;
  expires_at: number;
  urls?: TokenUrls | null;
}
export const readViewerToken: Read<ViewerToken> = /* @__PURE__ */ object(
  {
    token: /* @__PURE__ */ text(),
    expires_at: integer,
  },
  {
    jti: /* @__PURE__ */ text(),
    urls: /* @__PURE__ */ nullable(readTokenUrls),
  },
);

export interface Quota {
  streams: number | null;
  publishers: number | null;
  input_bps: number | null;
  egress_bps: number | null;
  storage_bytes: number | null;
}
export const readQuota: Read<Quota> = /* @__PURE__ */ object(
  {
    streams: /* @__PURE__ */ nullable(integer),
    publishers: /* @__PURE__ */ nullable(integer),
    input_bps: /* @__PURE__ */ nullable(integer),
    egress_bps: /* @__PURE__ */ nullable(integer),
    storage_bytes: /* @__PURE__ */ nullable(integer),
  },
  {
  },
);

export interface Tenant {
  id: string;
  slug: string;
  name: string;
  state: ('active' | 'suspended' | (string & {}));
  quota: Quota;
  version: number;
  created_at: number;
}
export const readTenant: Read<Tenant> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    slug: /* @__PURE__ */ text(),
    name: /* @__PURE__ */ text(),
    state: /* @__PURE__ */ text(),
    quota: readQuota,
    version: integer,
    created_at: integer,
  },
  {
  },
);

export interface Used {
  streams: number;
  api_keys: number;
}
export const readUsed: Read<Used> = /* @__PURE__ */ object(
  {
    streams: integer,
    api_keys: integer,
  },
  {
  },
);

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

export interface Webhook {
  id: string;
  url: string;
  types: Array<string>;
  state: ('active' | 'disabled' | (string & {}));
  disabled_reason?: string | null;
  failing_since_at?: number | null;
  overlap_until_at?: number | null;
  version: number;
  created_at: number;
  /** In the answer that makes the secret, and in no other. */
  secret?: string;
}
export const readWebhook: Read<Webhook> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    url: /* @__PURE__ */ text(),
    types: /* @__PURE__ */ list(/* @__PURE__ */ text(), 64),
    state: /* @__PURE__ */ text(),
    version: integer,
    created_at: integer,
  },
  {
    disabled_reason: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
    failing_since_at: /* @__PURE__ */ nullable(integer),
    overlap_until_at: /* @__PURE__ */ nullable(integer),
    secret: /* @__PURE__ */ text(),
  },
);

export interface Delivery {
  id: string;
  event: string;
  type: string;
  sequence?: number;
  state: ('pending' | 'delivered' | 'failed' | 'dropped' | (string & {}));
  attempts: number;
  due_at?: number | null;
  answered_at?: number | null;
  status?: number | null;
  error?: string | null;
  created_at: number;
}
export const readDelivery: Read<Delivery> = /* @__PURE__ */ object(
  {
    id: /* @__PURE__ */ text(),
    event: /* @__PURE__ */ text(),
    type: /* @__PURE__ */ text(),
    state: /* @__PURE__ */ text(),
    attempts: integer,
    created_at: integer,
  },
  {
    sequence: integer,
    due_at: /* @__PURE__ */ nullable(integer),
    answered_at: /* @__PURE__ */ nullable(integer),
    status: /* @__PURE__ */ nullable(integer),
    error: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
  },
);

export interface Queued {
  queued_count: number;
}
export const readQueued: Read<Queued> = /* @__PURE__ */ object(
  {
    queued_count: integer,
  },
  {
  },
);

export interface WebhookTest {
  delivered: boolean;
  status?: number | null;
  error?: string | null;
}
export const readWebhookTest: Read<WebhookTest> = /* @__PURE__ */ object(
  {
    delivered: flag,
  },
  {
    status: /* @__PURE__ */ nullable(integer),
    error: /* @__PURE__ */ nullable(/* @__PURE__ */ text()),
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
  scopes?: Array<string>;
}

/** What may be changed of a key. */
export interface ApiKeySettings {
  expires_at?: number | null;
  name?: string;
  scopes?: Array<string>;
}

/** How a key is rotated. */
export interface Rotation {
  /** For how long the secret before is accepted, too, in seconds; at most a week. */
  overlap_s?: number;
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
export interface RuleSettings {
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
  algorithms?: Array<string>;
  /** A token has one of these in `aud`, or as `azp`. At least one. */
  audiences: Array<string>;
  /** Where its public keys are (JWKS). */
  jwks_url: string;
  /** By how much clocks may differ, in seconds. */
  leeway_s?: number;
  /** Which role a token gives. The first that matches counts; a token that none matches is refused. */
  rules: Array<RuleSettings>;
  /** The claim that names streams. */
  streams_claim?: string;
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
  role?: string;
}

/** What may be changed of a member. */
export interface MemberSettings {
  name?: string;
  /** `viewer`, `producer`, `owner` or `operator`. What is set here, no rule of an issuer changes any more. */
  role?: string;
  /** `active` or `suspended`. A suspended member does nothing, and its sessions show nothing. */
  state?: string;
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
  name?: string;
  /** At least 12 characters, and 256 bytes at most. */
  password: string;
}

/** A new key. */
export interface NewSigningKey {
  /** When its tokens count no more, in Unix milliseconds; at most 400 days from now, and that by default. */
  expires_at?: number | null;
  /** What people call it. */
  name?: string;
  /** The public key that the tenant signs with: a JWK (RFC 7517) for one algorithm. Without one, control makes a key and keeps it. */
  public_key?: Json;
}

/** What may be changed of a key. */
export interface SigningKeySettings {
  /** What people call it. */
  name?: string;
}

/** A chat beside the player. */
export interface ChatSettings {
  /** Whether there is one. */
  on?: boolean;
  /** Seconds between two messages of one writer, at most 3600; 0: no more than the server's own limits. */
  slow_s?: number;
  /** `everybody` who may watch, or who has a viewer `token` with `chat`. */
  writers?: string;
}

/** A new stream. */
export interface NewStream {
  category?: string;
  chat?: ChatSettings;
  description?: string;
  /** Which sites may show the player in a frame: `listed` in origins, `anywhere`, or `nowhere`. */
  embed?: string;
  /** Its name, which stays: 1 to 64 characters out of a-z, A-Z, 0-9, `-`, `_` and `.`. Those of a tenant besides `default` begin with the tenant's slug and a dot; those of `default` have no dot. */
  name: string;
  /** Sites whose scripts may read the stream and that may show its player, such as `https://town.example`; `https://*.town.example` stands for all that differ in their first label. Empty: every site may read, and none but the cluster's own shows the player. */
  origins?: Array<string>;
  title?: string;
  /** Who may watch: `public`, `unlisted`, `members` or `token`. */
  visibility?: string;
}

/** What may be changed of a stream. Nothing here concerns the media: whoever publishes goes on, and whoever watches and still may. */
export interface StreamSettings {
  /** Who may watch: `public`, `unlisted`, `members` or `token`. */
  visibility?: string;
  /** Which sites may show the player in a frame: `listed` in origins, `anywhere`, or `nowhere`. */
  embed?: string;
  /** Sites whose scripts may read the stream and that may show its player, such as `https://town.example`; `https://*.town.example` stands for all that differ in their first label. Empty: every site may read, and none but the cluster's own shows the player. */
  origins?: Array<string>;
  category?: string;
  chat?: ChatSettings;
  description?: string;
  title?: string;
}

/** A new ban. */
export interface NewBan {
  /** For how many seconds, 1 to 86400. */
  for_s?: number;
  /** Identity of a message of whoever is banned. */
  message: string;
}

/** What a tenant may change of itself. */
export interface OwnSettings {
  /** What people call it. */
  name?: string;
}

/** What a tenant may use; null: no limit of its own. */
export interface QuotaSettings {
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
  name?: string;
  quota?: QuotaSettings;
  /** What the names of its streams begin with: 2 to 24 characters out of a-z, 0-9 and `-`. It stays. */
  slug: string;
}

/** Whether a tenant may change anything. */
export type TenantState = ('active' | 'suspended' | (string & {}));

/** What an operator may change of a tenant. */
export interface TenantSettings {
  name?: string;
  quota?: QuotaSettings;
  state?: TenantState;
}

/** What a token is to say. */
export interface NewViewerToken {
  /** For how long a viewer may begin with it, in seconds; whoever watches then goes on. */
  admit_for_s?: number | null;
  /** Where viewers reach the cluster, when a load balancer's own address is not it. */
  base_url?: string | null;
  /** May write in the chat. */
  chat?: boolean;
  /** Viewers at once. */
  max_viewers?: number | null;
  /** Sites whose pages may use it, such as `https://site.example` or `https://*.site.example`. */
  origins?: Array<string>;
  /** Streams that it opens, by name or identity, at most 16; `*` alone for all of the tenant. */
  streams: Array<string>;
  /** Every request has to come from such a site, and not only the first. */
  strict?: boolean;
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
  types?: Array<string>;
  /** Where events go: `https://…`, with a public address. */
  url: string;
}

/** Whether an endpoint gets events. */
export type WebhookState = ('active' | 'disabled' | (string & {}));

/** What may be changed of an endpoint. */
export interface WebhookSettings {
  /** One that was disabled gets events again once it is `active`. */
  state?: WebhookState;
  types?: Array<string>;
  url?: string;
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
  force?: boolean;
  /** For how long the secret before signs, too, in seconds: a day unless you say otherwise, at most a week. */
  overlap_s?: number;
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
export const getAuditCheck: Operation<Record<never, never>, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: () => '/api/v1/audit/check',
  read: nothing,
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
export const getIssuers: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, null> = {
  method: 'GET',
  path: () => '/api/v1/issuers',
  read: nothing,
  scope: 'issuers:read',
};

/** Registers an issuer. Its keys are fetched at once. */
export const postIssuers: Operation<Record<never, never>, Record<never, never>, IssuerSettings, null> = {
  method: 'POST',
  path: () => '/api/v1/issuers',
  read: nothing,
  scope: 'issuers:write',
};

/** An issuer, and since when its keys could not be fetched. */
export const getIssuersIssuer: Operation<{ issuer: string }, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}`,
  read: nothing,
  scope: 'issuers:read',
};

/** Changes an issuer (RFC 7396). */
export const patchIssuersIssuer: Operation<{ issuer: string }, Record<never, never>, IssuerSettings, null> = {
  method: 'PATCH',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}`,
  read: nothing,
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
export const postIssuersIssuerRefresh: Operation<{ issuer: string }, Record<never, never>, undefined, null> = {
  method: 'POST',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}/refresh`,
  read: nothing,
  scope: 'issuers:write',
};

/** Says what a token would be good for, or why it would be refused. */
export const postIssuersIssuerTest: Operation<{ issuer: string }, Record<never, never>, Trial, null> = {
  method: 'POST',
  path: (names) => `/api/v1/issuers/${encodeURIComponent(names.issuer)}/test`,
  read: nothing,
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
export const getMembersMember: Operation<{ member: string }, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: (names) => `/api/v1/members/${encodeURIComponent(names.member)}`,
  read: nothing,
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
export const getProblems: Operation<Record<never, never>, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: () => '/api/v1/problems',
  read: nothing,
  scope: null,
};

/** A type of problems. */
export const getProblemsType: Operation<{ type: string }, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: (names) => `/api/v1/problems/${encodeURIComponent(names.type)}`,
  read: nothing,
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
export const getSigningKeys: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, null> = {
  method: 'GET',
  path: () => '/api/v1/signing-keys',
  read: nothing,
  scope: 'tokens:read',
};

/** Makes a key, which signs the tenant's next tokens, or registers the public part of one that the tenant has. */
export const postSigningKeys: Operation<Record<never, never>, Record<never, never>, NewSigningKey, null> = {
  method: 'POST',
  path: () => '/api/v1/signing-keys',
  read: nothing,
  scope: 'tokens:write',
};

/** A key. */
export const getSigningKeysSigningKey: Operation<{ signing_key: string }, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: (names) => `/api/v1/signing-keys/${encodeURIComponent(names.signing_key)}`,
  read: nothing,
  scope: 'tokens:read',
};

/** Changes the name of a key (RFC 7396). */
export const patchSigningKeysSigningKey: Operation<{ signing_key: string }, Record<never, never>, SigningKeySettings, null> = {
  method: 'PATCH',
  path: (names) => `/api/v1/signing-keys/${encodeURIComponent(names.signing_key)}`,
  read: nothing,
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
export const getStreamsStreamEmbed: Operation<{ stream: string }, { base_url?: string }, undefined, null> = {
  method: 'GET',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/embed`,
  read: nothing,
  scope: 'streams:read',
};

/** The newest messages of a stream's chat. */
export const getStreamsStreamMessages: Operation<{ stream: string }, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, null> = {
  method: 'GET',
  path: (names) => `/api/v1/streams/${encodeURIComponent(names.stream)}/messages`,
  read: nothing,
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
export const getTenants: Operation<Record<never, never>, { limit?: number; cursor?: string; sort?: string; created_after?: number; created_before?: number; q?: string }, undefined, null> = {
  method: 'GET',
  path: () => '/api/v1/tenants',
  read: nothing,
  scope: 'tenants:read',
};

/** Makes a tenant. */
export const postTenants: Operation<Record<never, never>, Record<never, never>, NewTenant, null> = {
  method: 'POST',
  path: () => '/api/v1/tenants',
  read: nothing,
  scope: 'tenants:write',
};

/** A tenant, by slug or identity. */
export const getTenantsTenant: Operation<{ tenant: string }, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: (names) => `/api/v1/tenants/${encodeURIComponent(names.tenant)}`,
  read: nothing,
  scope: 'tenants:read',
};

/** Changes a tenant (RFC 7396). */
export const patchTenantsTenant: Operation<{ tenant: string }, Record<never, never>, TenantSettings, null> = {
  method: 'PATCH',
  path: (names) => `/api/v1/tenants/${encodeURIComponent(names.tenant)}`,
  read: nothing,
  scope: 'tenants:write',
};

/** Deletes a tenant with all that it has. First says what that is. */
export const deleteTenantsTenant: Operation<{ tenant: string }, { confirm?: string }, undefined, null> = {
  method: 'DELETE',
  path: (names) => `/api/v1/tenants/${encodeURIComponent(names.tenant)}`,
  read: nothing,
  scope: 'tenants:write',
};

/** What the tenant may use, and what it uses now. Rates are means over some ten seconds, and storage has all copies of recordings. */
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
export const postViewerTokensRevoke: Operation<Record<never, never>, Record<never, never>, RevokedViewerTokens, null> = {
  method: 'POST',
  path: () => '/api/v1/viewer-tokens/revoke',
  read: nothing,
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
export const getWebhooksWebhook: Operation<{ webhook: string }, Record<never, never>, undefined, null> = {
  method: 'GET',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}`,
  read: nothing,
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
export const postWebhooksWebhookReplay: Operation<{ webhook: string }, Record<never, never>, Replay, null> = {
  method: 'POST',
  path: (names) => `/api/v1/webhooks/${encodeURIComponent(names.webhook)}/replay`,
  read: nothing,
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

