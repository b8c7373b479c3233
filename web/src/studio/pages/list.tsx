/** Lists with pages: what they share. */

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Page } from '../../api/generated/api';
import type { Operation } from '../../api/read';
import { ask } from '../../api/request';
import { type Watched, watch } from '../../api/resource';
import { list as t } from '../../text/en-later';
import { Button } from '../../ui/button';
import { useWatched } from '../streams';

/** How often a list is read again that only people change, milliseconds. */
const INTERVAL_MS = 30_000;
/** Rows of a page. */
const LIMIT = 50;

export interface Paged<T> extends Watched<Page<T>> {
  /** Null on the first page. */
  newer: (() => void) | null;
  older: ((cursor: string) => void) | null;
}

type ListQuery = { limit?: number; cursor?: string; q?: string };

/** A list, page by page: a cursor leads to the next one, and the way back is remembered. */
export function usePages<T>(
  operation: Operation<Record<never, never>, ListQuery, undefined, Page<T>>,
  q = '',
): Paged<T> {
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const cursor = cursors.at(-1);
  const watched = useWatched(
    () =>
      watch(
        async (signal) =>
          (await ask(operation, { query: { limit: LIMIT, q, ...(cursor ? { cursor } : {}) }, signal })).value,
        INTERVAL_MS,
      ),
    [operation, cursor, q],
  );
  return {
    ...watched,
    newer: cursors.length > 0 ? () => setCursors(cursors.slice(0, -1)) : null,
    older: (next) => setCursors([...cursors, next]),
  };
}

export function Pager<T>({
  pages,
  next,
  words = [t.newer, t.older],
}: {
  pages: Paged<T>;
  next: string | null;
  words?: readonly [string, string];
}) {
  if (pages.newer === null && next === null) return null;
  return (
    <div class="pager">
      <Button onClick={() => pages.newer?.()} waits={pages.newer === null ? t.thisIsTheFirstPage : null}>
        {words[0]}
      </Button>
      <Button
        onClick={() => next !== null && pages.older?.(next)}
        waits={next === null ? t.thisIsTheLastPage : null}
      >
        {words[1]}
      </Button>
    </div>
  );
}

/** A table that becomes cards on a narrow screen: each cell knows its column. */
export function Table({
  caption,
  columns,
  children,
}: {
  caption: string;
  columns: readonly string[];
  children: ComponentChildren;
}) {
  return (
    <table class="table">
      <caption class="visually-hidden">{caption}</caption>
      <thead>
        <tr>
          {columns.map((column) => (
            <th key={column} scope="col">
              {column}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

export function Cell({ of, children }: { of: string; children: ComponentChildren }) {
  return (
    <td data-label={of}>
      <div>{children}</div>
    </td>
  );
}
