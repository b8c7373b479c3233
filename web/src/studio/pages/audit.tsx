/** `/studio/settings/audit`: who did what, newest first. */

import { useEffect, useState } from 'preact/hooks';
import { type AuditRecord, getAudit } from '../../api/generated/api';
import { Badge } from '../../ui/badge';
import { TextField } from '../../ui/field';
import { Empty, Loaded, Placeholder } from '../../ui/loaded';
import { exactAt } from '../../ui/time';
import { actorOf, changeLines } from '../changes';
import { PageHead } from '../shell';
import { Cell, Pager, Table, usePages } from './list';

/** How long somebody types before it is searched, milliseconds. */
const TYPING_MS = 300;
function Changes({ record }: { record: AuditRecord }) {
  const lines = changeLines(record.changes);
  return (
    <details class="changes">
      <summary>
        {lines.length === 0 ? 'Details' : lines.length === 1 ? '1 change' : `${lines.length} changes`}
      </summary>
      <ul class="mono">
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
        <li>request: {record.request_id}</li>
        {record.credential && <li>credential: {record.credential}</li>}
      </ul>
    </details>
  );
}

function RecordRow({ record }: { record: AuditRecord }) {
  const isDone = record.result === 'done';
  return (
    <tr>
      <Cell of="When">
        <time dateTime={new Date(record.created_at).toISOString()}>{exactAt(record.created_at)}</time>
      </Cell>
      <Cell of="Who">{actorOf(record.actor)}</Cell>
      <Cell of="What">
        <span class="cell-main mono">{record.action}</span>
        {record.object && <code class="cell-note">{record.object}</code>}
      </Cell>
      <Cell of="Result">
        <Badge kind={isDone ? 'good' : 'fault'}>{isDone ? 'Done' : record.result}</Badge>
      </Cell>
      <Cell of="Changes">
        <Changes record={record} />
      </Cell>
    </tr>
  );
}

function Records({ q }: { q: string }) {
  const pages = usePages(getAudit, q);
  return (
    <Loaded
      resource={pages.resource.value}
      what="The audit cannot be shown."
      again={pages.again}
      placeholder={<Placeholder rows={8} />}
    >
      {({ items, next_cursor }) =>
        items.length === 0 ? (
          <Empty title={q === '' ? 'Nothing was done yet' : 'No match'}>
            {q === ''
              ? 'Every change and every refusal becomes a record here.'
              : `No record has “${q}” in it.`}
          </Empty>
        ) : (
          <>
            <Table caption="Audit" columns={['When', 'Who', 'What', 'Result', 'Changes']}>
              {items.map((record) => (
                <RecordRow key={record.id} record={record} />
              ))}
            </Table>
            <Pager pages={pages} next={next_cursor} />
          </>
        )
      }
    </Loaded>
  );
}

export function AuditPage() {
  const [text, setText] = useState('');
  const [q, setQ] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setQ(text.trim()), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <>
      <PageHead title="Audit">
        <p class="page-lead">Every change and every refusal: who, what, when. Secrets are not in it.</p>
      </PageHead>
      <div class="filters">
        <TextField
          label="Search"
          type="search"
          value={text}
          onInput={setText}
          maxLength={100}
          placeholder="streams.create"
        />
      </div>
      <Records key={q} q={q} />
    </>
  );
}
