/** `/studio/settings/audit`: who did what, newest first. */

import { useEffect, useState } from 'preact/hooks';
import { type AuditRecord, getAudit } from '../../api/generated/api';
import { audit as t } from '../../text/en-later';
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
        {lines.length === 0 ? t.details : lines.length === 1 ? '1 change' : t.lengthChanges(lines.length)}
      </summary>
      <ul class="mono">
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
        <li>
          {t.request}
          {record.request_id}
        </li>
        {record.credential && (
          <li>
            {t.credential}
            {record.credential}
          </li>
        )}
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
        <Badge kind={isDone ? 'good' : 'fault'}>{isDone ? t.done : record.result}</Badge>
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
      what={t.theAuditCannotBeShown}
      again={pages.again}
      placeholder={<Placeholder rows={8} />}
    >
      {({ items, next_cursor }) =>
        items.length === 0 ? (
          <Empty title={q === '' ? t.nothingWasDoneYet : t.noMatch}>
            {q === '' ? t.everyChangeAndEveryRefusalBecomes : t.noRecordHasQInIt(q)}
          </Empty>
        ) : (
          <>
            <Table caption="Audit" columns={[t.when, t.who, t.what, t.result, t.changes]}>
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
      <PageHead title={t.audit}>
        <p class="page-lead">{t.everyChangeAndEveryRefusalWho}</p>
      </PageHead>
      <div class="filters">
        <TextField
          label={t.search}
          type="search"
          value={text}
          onInput={setText}
          maxLength={100}
          placeholder={t.streamsCreate}
        />
      </div>
      <Records key={q} q={q} />
    </>
  );
}
