//! Who writes in a chat: somebody with an API key, somebody who is signed in, the holder of a viewer token, or a guest. Decides the name, too,
//! where it is not the writer's to choose.

use std::net::IpAddr;
use std::sync::Arc;

use access::{Ask, ChatRules, ChatWriters, Class, Refusal, RequestPath, Verified};
use axum::http::{HeaderMap, Uri, header};
use catalogue::{DEFAULT_SLUG, Tenant};
use issuers::Role;
use media::StreamId;
use messages::ChatRole;
use node::http::Peer;
use node::problem::Type;

use super::caller;
use super::person;
use super::problem::Problem;
use super::scopes::Scopes;
use super::signed_in::SignedIn;
use super::visit;
use crate::ControlState;
use crate::chat::{Rights, Writer, text};

/// A message that somebody wants to write.
pub(super) struct Asked<'a> {
    pub(super) stream: &'a StreamId,
    /// The viewer token of the path.
    pub(super) token: Option<&'a str>,
    pub(super) peer: Option<&'a Peer>,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) address: IpAddr,
}

/// Whoever may write it.
pub(super) struct Known {
    pub(super) rules: ChatRules,
    pub(super) writer: Writer,
    /// The name of an account, or what the issuer of a token says; others choose theirs.
    pub(super) name: Option<String>,
    /// Whose cookie it is.
    pub(super) person: Option<Arc<SignedIn>>,
}

/// Who writes, and by which rules. Whoever may not watch gets the answer of a stream that is not there, as everywhere.
///
/// # Errors
/// When nobody, or nobody who may, does.
pub(super) async fn known(shared: &Arc<ControlState>, asked: &Asked<'_>) -> Result<Known, Problem> {
    let rights = shared.chat_rights();
    if caller::shows_secret(asked.headers) {
        return with_secret(shared, &rights, asked).await;
    }
    if let Some(cookie) = person::token_in(asked.headers) {
        return signed_in(shared, &rights, asked, cookie).await;
    }
    if asked.headers.contains_key(visit::CSRF) {
        // The page of somebody whose cookie has gone meanwhile: nobody becomes a guest unawares.
        return Err(Problem::new(
            Type::Unauthenticated,
            "you are not signed in any more: sign in again, or write as a guest",
        ));
    }
    let (rules, holder) = admitted(shared, &rights, asked)?;
    match holder {
        Some(holder) if holder.verified.claims.chat || rules.writers == ChatWriters::Everybody => {
            let writer = Writer { role: holder.role, ..Writer::of_token(&holder.verified) };
            Ok(Known { rules, writer, name: holder.name, person: None })
        }
        None if rules.writers == ChatWriters::Everybody => {
            Ok(Known { rules, writer: shared.guest(asked.stream, asked.address), name: None, person: None })
        }
        _ => Err(needs_token()),
    }
}

fn needs_token() -> Problem {
    Problem::new(Type::ScopeMissing, "only members, and holders of a viewer token with chat, write here")
}

fn moderates() -> Scopes {
    Scopes::named("chat:write").unwrap_or(Scopes::NONE)
}

fn ensure_active(tenant: &Tenant) -> Result<(), Problem> {
    if tenant.is_suspended {
        return Err(Problem::new(Type::State, "the operator has suspended this tenant"));
    }
    Ok(())
}

/// An API key, or a token (JWT) for the API: who has one moderates.
async fn with_secret(shared: &Arc<ControlState>, rights: &Rights, asked: &Asked<'_>) -> Result<Known, Problem> {
    let principal = caller::recognise(shared, asked.peer, asked.headers).await?;
    let needed = moderates();
    if !principal.scopes.contains(needed) {
        return Err(Problem::new(Type::ScopeMissing, format!("this needs the scope {needed}")));
    }
    let tenant = caller::tenant_of(shared, &principal, (asked.headers, true)).await?;
    ensure_active(&tenant)?;
    let found = shared.catalogue.find_channel(&tenant.id, asked.stream.as_str()).await?;
    let rules = found.and_then(|_| rights.rules.chat(asked.stream)).ok_or_else(Problem::not_found)?;
    Ok(Known { rules, writer: Writer::moderator(&principal.credential), name: None, person: None })
}

/// Somebody who is signed in writes under the name of the account: where it is a member, whoever else may write, and as a moderator if its
/// role says so; elsewhere as others who may watch.
async fn signed_in(
    shared: &Arc<ControlState>,
    rights: &Rights,
    asked: &Asked<'_>,
    cookie: &str,
) -> Result<Known, Problem> {
    let principal = person::recognise(shared, cookie, asked.headers).await?;
    let person = principal.person.ok_or_else(person::wrong)?;
    visit::ensure_own_page(asked.uri, asked.headers, &person.csrf)?;
    let stream = asked.stream;
    let owner = shared.catalogue.find_tenant(rights.rules.owner(stream).unwrap_or(DEFAULT_SLUG)).await?;
    let member = owner.as_ref().and_then(|owner| {
        let own = person.memberships.iter().find(|member| member.tenant == owner.id);
        person.memberships.iter().find(|member| member.role == "operator").or(own)
    });
    let (rules, role, name) = match (member, owner) {
        (Some(member), Some(owner)) => {
            ensure_active(&owner)?;
            let rules = rights.rules.chat(stream).filter(|_| is_there(shared, stream));
            let scopes = Scopes::of_role(&member.role).unwrap_or(Scopes::NONE);
            let role = if scopes.contains(moderates()) { ChatRole::Moderator } else { ChatRole::Viewer };
            (rules.ok_or_else(Problem::not_found)?, role, &member.name)
        }
        _ => {
            let (rules, holder) = admitted(shared, rights, asked)?;
            if rules.writers != ChatWriters::Everybody && !holder.is_some_and(|holder| holder.verified.claims.chat) {
                return Err(needs_token());
            }
            (rules, ChatRole::Viewer, &person.member.name)
        }
    };
    let (writer, name) = (Writer::person(&person.session.person, role), text::known_name(name));
    Ok(Known { rules, writer, name, person: Some(person) })
}

/// Whoever comes with a token that opens the stream.
struct Holder {
    verified: Verified,
    name: Option<String>,
    role: ChatRole,
}

/// The rules of the chat, for whoever may watch the stream.
fn admitted(shared: &ControlState, rights: &Rights, asked: &Asked<'_>) -> Result<(ChatRules, Option<Holder>), Problem> {
    let (rules, now) = (&rights.rules, shared.node.clock.wall());
    let holder = asked.token.map(|token| {
        if !RequestPath::is_jws(token) {
            let verified = Verified::read(token, |id| rules.key(id))?;
            return Ok(Holder { verified, name: None, role: ChatRole::Viewer });
        }
        let foreign = rights.foreign.verified(token, rules.owner(asked.stream), (rules, now))?;
        let role = if foreign.role >= Role::Producer { ChatRole::Moderator } else { ChatRole::Viewer };
        Ok(Holder { verified: foreign.verified, name: foreign.name.as_deref().and_then(text::known_name), role })
    });
    let origin = asked.headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    // The cluster's own page names its own origin with a change, which no token lists.
    let origin = origin.filter(|_| !is_same_origin(asked.headers));
    let ask = Ask {
        class: Class::Stream,
        stream: Some(asked.stream),
        token: holder.as_ref().map(|holder| holder.as_ref().map(|holder| &holder.verified).map_err(|why| *why)),
        origin,
        at: now,
    };
    rules.decide(&ask).map_err(refused)?;
    // A stream that is not in the log is nobody's.
    let chat = rules.chat(asked.stream).filter(|_| is_there(shared, asked.stream)).ok_or_else(Problem::not_found)?;
    Ok((chat, holder.and_then(Result::ok)))
}

fn is_there(shared: &ControlState, stream: &StreamId) -> bool {
    shared.writer.log().look(|view| view.stream(stream).is_some())
}

fn refused(why: Refusal) -> Problem {
    Type::named(why.problem()).map_or_else(Problem::not_found, |kind| match kind {
        Type::NotFound => Problem::not_found(),
        kind => Problem::new(kind, why.to_string()),
    })
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
}
