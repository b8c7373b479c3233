/** Ctrl K: goes to any stream or page, and does what needs no form, with the keyboard alone (ARIA Authoring Practices, "Combobox"). */

import { useEffect, useId, useState } from 'preact/hooks';
import { getStreams, type Stream } from '../api/generated/api';
import { ApiError, ask } from '../api/request';
import { common, palette as text } from '../text/en';
import { paletteDialog as t } from '../text/en-later';
import { chooseTheme, type ThemeChoice } from '../theme';
import { Dialog } from '../ui/dialog';
import { type Entry, found } from './palette';
import { go, route } from './router';
import { settingsPath, streamPath } from './routes';
import { chooseTenant, may, session } from './session';
import { SECTIONS, sections } from './shell';
import { signOut } from './sign-out';
import { arranged } from './streams';

/** Most streams of an answer. */
const STREAMS_MAX = 200;
/** How long one types before more streams are asked for, milliseconds. */
const PAUSE_MS = 150;
const TABS: ReadonlyArray<readonly ['live' | 'health' | 'access' | 'chat' | 'settings', string]> = [
  ['live', t.live],
  ['health', t.health],
  ['access', t.access],
  ['chat', t.chat],
  ['settings', common.settings],
];

function streamEntry(stream: Stream): Entry {
  const isLive = stream.live?.state === 'live';
  return {
    id: stream.id,
    label: stream.title || stream.name,
    kind: isLive ? text.live : text.stream,
    also: `${stream.name} ${stream.category}`,
    run: () => go(streamPath(stream.name)),
  };
}

/** What can be done besides going to a stream: first what concerns the stream that is shown. */
function otherEntries(): Entry[] {
  const shown = route.value;
  const [page, action] = [text.page, text.action];
  const ofStream: Entry[] =
    shown.page !== 'stream'
      ? []
      : [
          ...TABS.filter(([tab]) => tab !== shown.tab).map(([tab, label]) => ({
            id: `tab-${tab}`,
            label,
            kind: text.thisStream,
            run: () => go(streamPath(shown.stream, tab)),
          })),
          {
            id: 'viewers',
            label: text.viewersPage,
            kind: text.thisStream,
            run: () => void window.open(`/watch/${encodeURIComponent(shown.stream)}`, '_blank', 'noopener'),
          },
        ];
  const themes: Entry[] = (['dark', 'light', 'system'] as const).map((theme: ThemeChoice) => ({
    id: `theme-${theme}`,
    label: text.colours[theme],
    kind: action,
    run: () => chooseTheme(theme),
  }));
  const who = session.value;
  const tenants: Entry[] = (who?.tenants ?? [])
    .filter(({ slug }) => slug !== who?.tenant.slug)
    .map(({ slug, name }) => ({
      id: `tenant-${slug}`,
      label: text.tenant(name || slug),
      kind: action,
      run: () => chooseTenant(slug),
    }));
  const create: Entry[] = may('streams:write')
    ? [{ id: 'new', label: text.newStream, kind: action, run: () => go('/studio/new') }]
    : [];
  return [
    ...ofStream,
    ...create,
    { id: 'streams', label: text.streams, kind: page, run: () => go('/studio/streams') },
    ...sections().map((name) => ({
      id: `page-${name}`,
      label: SECTIONS[name][0],
      kind: page,
      run: () => go(settingsPath(name)),
    })),
    ...tenants,
    ...themes,
    { id: 'sign-out', label: text.signOut, kind: action, run: () => void signOut() },
  ];
}

/** The tenant's streams; of more than an answer has, those that what was typed finds. */
function useStreamEntries(typed: string): { entries: Entry[]; says: string | null } {
  const [known, setKnown] = useState<{ streams: Stream[]; isAll: boolean } | null>(null);
  const [error, setError] = useState<string | null>(null);
  const asked = known?.isAll ? '' : typed.trim();
  useEffect(() => {
    const end = new AbortController();
    const query = { limit: STREAMS_MAX, include: 'live', ...(asked === '' ? {} : { q: asked }) };
    const timer = setTimeout(
      () => {
        ask(getStreams, { query, signal: end.signal }).then(
          ({ value }) => {
            setError(null);
            setKnown({ streams: value.items, isAll: asked === '' && value.next_cursor === null });
          },
          (failed: unknown) => failed instanceof ApiError && setError(failed.message),
        );
      },
      asked === '' ? 0 : PAUSE_MS,
    );
    return () => {
      clearTimeout(timer);
      end.abort();
    };
  }, [asked]);
  const says = error !== null ? text.lost(error) : known ? null : text.loading;
  return { entries: arranged(known?.streams ?? []).map(streamEntry), says };
}

export function Palette({ onClose }: { onClose: () => void }) {
  const [typed, setTyped] = useState('');
  const [at, setAt] = useState(0);
  const list = useId();
  const { entries, says } = useStreamEntries(typed);
  const results = found([...entries, ...otherEntries()], typed);
  const chosen = Math.min(at, results.length - 1);
  const run = (entry: Entry | undefined): void => {
    if (!entry) return;
    onClose();
    entry.run();
  };
  const onKey = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === 'Enter') {
      event.preventDefault();
      run(results[chosen]);
    } else if (step !== undefined && results.length > 0) {
      event.preventDefault();
      setAt((now) => (Math.min(now, results.length - 1) + step + results.length) % results.length);
    }
  };
  return (
    <Dialog title={text.title} onClose={onClose}>
      <div class="palette">
        <input
          class="palette-input"
          role="combobox"
          aria-label={text.title}
          aria-expanded="true"
          aria-controls={list}
          aria-autocomplete="list"
          aria-activedescendant={results[chosen] && `${list}-${chosen}`}
          placeholder={text.placeholder}
          autocomplete="off"
          spellcheck={false}
          maxLength={200}
          value={typed}
          onInput={(event) => {
            setTyped(event.currentTarget.value);
            setAt(0);
          }}
          onKeyDown={onKey}
        />
        <div class="palette-list" id={list} role="listbox" aria-label={text.results}>
          {results.map((entry, n) => (
            // The focus stays in the field.
            <div
              key={entry.id}
              id={`${list}-${n}`}
              role="option"
              aria-selected={n === chosen ? 'true' : 'false'}
              onPointerMove={() => n !== chosen && setAt(n)}
              tabIndex={-1}
              onClick={() => run(entry)}
              onKeyDown={onKey}
            >
              <bdi class="palette-label">{entry.label}</bdi>
              <span class="palette-kind">{entry.kind}</span>
            </div>
          ))}
        </div>
        {results.length === 0 && <p class="palette-says">{text.none}</p>}
        {says !== null && <p class="palette-says">{says}</p>}
        <p class="visually-hidden" role="status">
          {typed === '' ? '' : text.count(results.length)}
        </p>
      </div>
    </Dialog>
  );
}
