/** `/studio/settings/members`: who belongs to the tenant, and what each may do. */

import { useState } from 'preact/hooks';
import {
  deleteMembersMember,
  getMembers,
  type Member,
  patchMembersMember,
  postMembers,
  postMembersMemberInvite,
} from '../../api/generated/api';
import { ApiError, ask } from '../../api/request';
import { common } from '../../text/en';
import { members as t } from '../../text/en-later';
import { Badge } from '../../ui/badge';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Choice, TextField } from '../../ui/field';
import { Form } from '../../ui/form';
import { Empty, Loaded, Placeholder } from '../../ui/loaded';
import { Secret } from '../../ui/secret';
import { exactAt, On } from '../../ui/time';
import { deleteLater, leaving, say } from '../../ui/toasts';
import { codeText } from '../problems';
import { MEMBER_ROLES } from '../rights';
import { may, scopes, waits } from '../session';
import { PageHead } from '../shell';
import { useSubmit } from '../submit';
import { Cell, Pager, Table, usePages } from './list';

const WRITE = 'members:write';

/** Roles that the person may give: none may do more than its giver. */
const givable = (): typeof MEMBER_ROLES =>
  MEMBER_ROLES.filter(([id]) => id !== 'operator' || scopes.value.has('cluster:write'));

function Invite({ onMade, onClose }: { onMade: (member: Member) => void; onClose: () => void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState('producer');
  const submit = useSubmit(async (idempotencyKey) => {
    onMade((await ask(postMembers, { body: { name: name.trim(), role }, idempotencyKey })).value);
  });
  return (
    <Dialog title={t.inviteSomebody} onClose={onClose}>
      <Form submit={submit} failed={t.nobodyWasInvited} fields={['name']}>
        <TextField
          label={t.name}
          hint={t.whatYouCallThemHowThey}
          value={name}
          onInput={setName}
          maxLength={100}
          required
          error={codeText(submit.error?.of('name') ?? null)}
        />
        <Choice legend={t.whatTheyMayDo} value={role} onChange={setRole} options={givable()} />
        <div class="actions">
          <Button type="submit" kind="main" busy={submit.busy} waits={waits.value}>
            {t.makeTheLink}
          </Button>
          <Button onClick={onClose}>{common.cancel}</Button>
        </div>
      </Form>
    </Dialog>
  );
}

function Change({ of, onDone, onClose }: { of: Member; onDone: () => void; onClose: () => void }) {
  const [role, setRole] = useState<string>(of.role);
  const submit = useSubmit(async () => {
    const ifMatch = `"${of.version}"`;
    await ask(patchMembersMember, { path: { member: of.id }, body: { role }, ifMatch });
    say(t.nameHasAnotherRole(of.name));
    onDone();
  });
  return (
    <Dialog title={t.whatMayNameDo(of.name)} onClose={onClose}>
      <Form submit={submit} failed={t.theRoleWasNotChanged}>
        <Choice legend={t.role} value={role} onChange={setRole} options={givable()} />
        <div class="actions">
          <Button
            type="submit"
            kind="main"
            busy={submit.busy}
            waits={role === of.role ? common.nothingIsChanged : waits.value}
          >
            {t.changeTheRole}
          </Button>
          <Button onClick={onClose}>{common.cancel}</Button>
        </div>
      </Form>
    </Dialog>
  );
}

function StateOf({ member }: { member: Member }) {
  switch (member.state) {
    case 'active':
      return <Badge kind="good">{t.active}</Badge>;
    case 'suspended':
      return <Badge kind="warn">{t.suspended}</Badge>;
    case 'invited':
      return (
        <>
          <Badge kind="info">{t.invited}</Badge>
          {member.invite_until_at !== null && (
            <span class="cell-note">
              {' '}
              {t.until}
              <On at={member.invite_until_at} />
            </span>
          )}
        </>
      );
    default:
      return <Badge kind="plain">{member.state}</Badge>;
  }
}

interface RowProps {
  member: Member;
  onChange: () => void;
  onLink: (member: Member) => void;
  again: () => void;
}

/** Does something to a member, and says what became of it. */
async function attempt(what: () => Promise<void>): Promise<void> {
  try {
    await what();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message, 'fault');
  }
}

function MemberRow({ member, onChange, onLink, again }: RowProps) {
  const cannot = may(WRITE) ? waits.value : t.yourRoleChangesNoMembers;
  const isActive = member.state === 'active';
  const remove = (): void =>
    deleteLater(member.id, t.nameIsBeingRemoved(member.name), (isLast) =>
      ask(deleteMembersMember, { path: { member: member.id }, keepalive: isLast }),
    );
  const suspend = (): Promise<void> =>
    attempt(async () => {
      const state = isActive ? 'suspended' : 'active';
      await ask(patchMembersMember, { path: { member: member.id }, body: { state } });
      again();
    });
  const link = (): Promise<void> =>
    attempt(async () => onLink((await ask(postMembersMemberInvite, { path: { member: member.id } })).value));
  return (
    <tr>
      <Cell of="Name">
        <span class="cell-main">{member.name}</span>
        {member.subject !== null && (
          <span class="cell-note">
            {member.issuer === null ? member.subject : t.subjectAtIssuer(member.subject, member.issuer)}
          </span>
        )}
      </Cell>
      <Cell of="Role">{MEMBER_ROLES.find(([id]) => id === member.role)?.[1] ?? member.role}</Cell>
      <Cell of="State">
        <StateOf member={member} />
      </Cell>
      <Cell of="Actions">
        <span class="cell-actions">
          <Button kind="quiet" waits={cannot} onClick={onChange} label={t.changeTheRoleOfName(member.name)}>
            {t.role}
          </Button>
          {member.state !== 'invited' && (
            <Button
              kind="quiet"
              waits={cannot}
              onClick={() => void suspend()}
              label={`${isActive ? t.suspend : t.readmit} ${member.name}`}
            >
              {isActive ? t.suspend : t.readmit}
            </Button>
          )}
          {member.issuer === null && member.state !== 'suspended' && (
            <Button
              kind="quiet"
              waits={cannot}
              onClick={() => void link()}
              label={t.newLinkForName(member.name)}
            >
              {t.newLink}
            </Button>
          )}
          <Button kind="quiet" waits={cannot} onClick={remove} label={t.removeName(member.name)}>
            {t.remove}
          </Button>
        </span>
      </Cell>
    </tr>
  );
}

function Link({ of, onClose }: { of: Member; onClose: () => void }) {
  // A control that does not know where viewers reach it gives the path alone.
  const url = new URL(of.invite_url ?? '', location.origin).href;
  return (
    <section class="panel" aria-labelledby="link-title">
      <h2 id="link-title">
        {t.theLinkFor}
        {of.name}”
      </h2>
      <p class="panel-lead">
        {t.itIsShownThisOnceAnd}
        {of.invite_until_at === null ? '' : t.untilExact(exactAt(of.invite_until_at))}
        {t.whoeverOpensItIs} {of.name}.
      </p>
      <Secret label={t.link} secret={url} copyLabel={t.copyLink} main />
      <Button kind="quiet" onClick={onClose}>
        {common.iHaveIt}
      </Button>
    </section>
  );
}

export function MembersPage() {
  const pages = usePages(getMembers);
  const [isInviting, setInviting] = useState(false);
  const [changing, setChanging] = useState<Member | null>(null);
  const [made, setMade] = useState<Member | null>(null);
  const onMade = (member: Member): void => {
    setMade(member);
    setInviting(false);
    pages.again();
  };
  const cannot = may(WRITE) ? waits.value : t.yourRoleInvitesNobody;
  return (
    <>
      <PageHead
        title={common.members}
        action={
          <Button kind="main" icon="add" onClick={() => setInviting(true)} waits={cannot}>
            {t.invite}
          </Button>
        }
      >
        <p class="page-lead">{t.peopleWhoSignInHerePrograms}</p>
      </PageHead>
      {made?.invite_url !== undefined && <Link of={made} onClose={() => setMade(null)} />}
      <Loaded
        resource={pages.resource.value}
        what={t.theMembersCannotBeShown}
        again={pages.again}
        placeholder={<Placeholder rows={4} />}
      >
        {({ items, next_cursor }) => {
          const shown = items.filter(({ id }) => !leaving.value.has(id));
          if (shown.length === 0)
            return <Empty title={t.noMemberYet}>{t.inviteThePeopleWhoStreamWith}</Empty>;
          return (
            <>
              <Table caption="Members" columns={[t.name, t.role, t.state, common.actions]}>
                {shown.map((member) => (
                  <MemberRow
                    key={member.id}
                    member={member}
                    onChange={() => setChanging(member)}
                    onLink={onMade}
                    again={pages.again}
                  />
                ))}
              </Table>
              <Pager pages={pages} next={next_cursor} words={[common.earlier, common.later]} />
            </>
          );
        }}
      </Loaded>
      {isInviting && <Invite onMade={onMade} onClose={() => setInviting(false)} />}
      {changing && (
        <Change
          of={changing}
          onClose={() => setChanging(null)}
          onDone={() => {
            setChanging(null);
            pages.again();
          }}
        />
      )}
    </>
  );
}
