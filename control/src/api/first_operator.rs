//! The link that makes the first operator, and is printed where control starts.

use catalogue::{Commit, Edit, Id, Kind, Member, MemberEdit, MemberState, People, Record, SetUpSecret};
use media::UnixMillis;
use serde_json::json;

use super::audit::{What, record};
use crate::ControlState;
use crate::people::new_link;

impl ControlState {
    /// The link that makes the first operator; `None` once there is one. Each start makes a new one, and the one before opens nothing.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub(crate) async fn first_link(&self) -> Result<Option<SetUpSecret>, catalogue::Error> {
        if self.catalogue.has_operator().await? {
            return Ok(None);
        }
        let now = self.node.clock.wall();
        let (member, edit): (Member, fn(Member) -> MemberEdit) = match self.catalogue.invited_operator().await? {
            Some(known) => (Member { version: known.version + 1, ..known }, MemberEdit::Update),
            None => (first_operator(now), MemberEdit::Create),
        };
        let (secret, member) = new_link(member, now);
        let what = What {
            action: "members.invite".to_owned(),
            object: member.id.to_string(),
            changes: json!({ "role": member.role }),
            result: "done".to_owned(),
            request_id: Id::draw(Kind::Request, now).to_string(),
        };
        let record = record(self, None, Some(member.tenant.clone()), what);
        let record = Record { actor: "start".to_owned(), ..record };
        let edit = Edit::People(People { member: Some(edit(member)), ..People::default() });
        self.catalogue.commit(Commit { edit, record, answer: None }).await?;
        Ok(Some(secret))
    }
}

fn first_operator(now: UnixMillis) -> Member {
    Member {
        id: Id::draw(Kind::Member, now),
        tenant: Id::default_tenant(),
        // Whoever uses the link says its own.
        name: String::new(),
        person: None,
        role: "operator".to_owned(),
        state: MemberState::Invited,
        is_by_rule: false,
        invite: None,
        version: 1,
        created_at: now,
    }
}
