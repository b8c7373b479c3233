/** What a part of a page shows while it loads, when it failed, and when what it shows is old. The rest of the page goes on. */

import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { ApiError } from '../api/request';
import type { Resource } from '../api/resource';
import { uiLoaded as t } from '../text/en';
import { Button } from './button';
import { Icon } from './icon';
import { Ago } from './time';

/** A wait that is shorter than this shows nothing that moves, milliseconds. */
const QUIET_MS = 400;

/** Placeholders of the final size. */
export function Placeholder({ rows, kind = 'row' }: { rows: number; kind?: 'row' | 'stream' | 'tile' }) {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), QUIET_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div class={`placeholders placeholders-${kind} ${isLate ? 'breathes' : ''}`} role="status">
      <span class="visually-hidden">{isLate ? t.loading : ''}</span>
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} class={`placeholder placeholder-${kind}`} />
      ))}
    </div>
  );
}

export function Failure({
  error,
  what,
  again,
}: {
  error: ApiError;
  what: string;
  again?: (() => void) | undefined;
}) {
  return (
    <div class="notice notice-fault" role="alert">
      <Icon name="alert" />
      <div>
        <p class="notice-title">{what}</p>
        <p>{error.message}</p>
        {error.requestId && (
          <p class="notice-id">
            {t.request}
            <code>{error.requestId}</code>
          </p>
        )}
      </div>
      {again && <Button onClick={again}>{t.tryAgain}</Button>}
    </div>
  );
}

interface Props<T> {
  resource: Resource<T>;
  /** What failed, as a sentence without its reason: "The streams cannot be shown." */
  what: string;
  again: () => void;
  placeholder: ComponentChildren;
  children: (value: T) => ComponentChildren;
}

export function Loaded<T>({ resource, what, again, placeholder, children }: Props<T>) {
  switch (resource.state) {
    case 'loading':
      return <>{placeholder}</>;
    case 'failed':
      return <Failure error={resource.error} what={what} again={again} />;
    case 'ready':
      return <>{children(resource.value)}</>;
    case 'stale':
      return (
        <div class="stale">
          <p class="stale-age">
            {t.asItWas}
            <Ago at={resource.at} />
          </p>
          <div class="stale-value">{children(resource.value)}</div>
        </div>
      );
  }
}

export function Empty({
  title,
  children,
  action,
}: {
  title: string;
  children: ComponentChildren;
  action?: ComponentChildren;
}) {
  return (
    <div class="nothing">
      <h2>{title}</h2>
      <p>{children}</p>
      {action}
    </div>
  );
}
