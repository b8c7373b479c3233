//! `sealcast member …`: who belongs to a tenant. Asks the API itself, with the certificate of the control node.

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};

use super::access::{all, lines, path, time};
use super::{Admin, field, items, table};
use crate::cli::access::StateName;
use crate::cli::member::{InviteFlags, MemberCommand, MemberFlags, RoleName};

/// Tenant of operators.
const OPERATORS: &str = "default";

/// `sealcast member …`
///
/// # Errors
/// When control does not answer, or refuses.
pub(crate) async fn run(command: MemberCommand) -> anyhow::Result<()> {
    match command {
        MemberCommand::List { of, admin } => {
            let admin = Admin::connect(&admin)?;
            let members = all(&admin, "/members", Some(&of.tenant)).await?;
            admin.print(&members, |members| {
                let row = |one: &Value| {
                    let texts = ["id", "name", "role", "state", "subject"].map(|name| field(one, name).to_owned());
                    let mut row = texts.to_vec();
                    row.push(match one["issuer"].as_str() {
                        Some(issuer) => issuer.to_owned(),
                        None if one["subject"].is_null() => "-".to_owned(),
                        None => "password".to_owned(),
                    });
                    row
                };
                let heading = ["MEMBER", "NAME", "ROLE", "STATE", "SIGNS IN AS", "BY"];
                table(&heading, &items(members).iter().map(row).collect::<Vec<_>>())
            })
        }
        MemberCommand::Show { member, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let member = admin.api(Method::GET, &path("/members", &member)?, Some(&of.tenant), None).await?;
            admin.print(&member, shown)
        }
        MemberCommand::Invite(flags) => invite(flags).await,
        MemberCommand::SetupLink { base_url, admin } => {
            let admin = Admin::connect(&admin)?;
            let members = all(&admin, "/members", Some(OPERATORS)).await?;
            let is_free = |one: &&Value| field(one, "state") == "invited" && field(one, "role") == "operator";
            let member = match items(&members).iter().find(is_free) {
                Some(known) => {
                    let again = format!("{}/invite", path("/members", field(known, "id"))?);
                    admin.api(Method::POST, &again, Some(OPERATORS), None).await?
                }
                None => {
                    let body = json!({ "name": "operator", "role": "operator" });
                    admin.api(Method::POST, "/members", Some(OPERATORS), Some(body)).await?
                }
            };
            admin.print(&with_base(member, base_url.as_deref()), linked)
        }
        MemberCommand::Update(flags) => update(flags).await,
        MemberCommand::Delete { member, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let gone = admin.api(Method::DELETE, &path("/members", &member)?, Some(&of.tenant), None).await?;
            admin.print(&gone, |_| format!("member {member} is deleted, and may do nothing here any more\n"))
        }
    }
}

async fn invite(flags: InviteFlags) -> anyhow::Result<()> {
    let admin = Admin::connect(&flags.admin)?;
    let tenant = Some(flags.of.tenant.as_str());
    let member = match &flags.member {
        Some(member) => {
            let again = format!("{}/invite", path("/members", member)?);
            admin.api(Method::POST, &again, tenant, None).await?
        }
        None => {
            let body = json!({ "name": flags.name, "role": role(flags.role) });
            admin.api(Method::POST, "/members", tenant, Some(body)).await?
        }
    };
    admin.print(&with_base(member, flags.base_url.as_deref()), linked)
}

async fn update(flags: MemberFlags) -> anyhow::Result<()> {
    let admin = Admin::connect(&flags.admin)?;
    let mut patch = json!({});
    if let Some(name) = &flags.name {
        patch["name"] = name.as_str().into();
    }
    if let Some(wanted) = flags.role {
        patch["role"] = role(wanted).into();
    }
    if let Some(state) = flags.state {
        patch["state"] = if state == StateName::Active { "active" } else { "suspended" }.into();
    }
    ensure!(patch != json!({}), "say what to change: --name, --role or --state");
    let member =
        admin.api(Method::PATCH, &path("/members", &flags.member)?, Some(&flags.of.tenant), Some(patch)).await?;
    admin.print(&member, shown)
}

const fn role(name: RoleName) -> &'static str {
    match name {
        RoleName::Viewer => "viewer",
        RoleName::Producer => "producer",
        RoleName::Owner => "owner",
        RoleName::Operator => "operator",
    }
}

/// Control does not know where viewers reach the cluster, so its answer has the path alone.
fn with_base(mut member: Value, base_url: Option<&str>) -> Value {
    if let (Some(base), Some(link)) = (base_url, member["invite_url"].as_str()) {
        member["invite_url"] = format!("{}{link}", base.trim_end_matches('/')).into();
    }
    member
}

fn shown(member: &Value) -> String {
    let by = match (member["issuer"].as_str(), member["subject"].as_str()) {
        (Some(issuer), Some(subject)) => format!("{subject}, at {issuer}"),
        (None, Some(name)) => format!("{name}, with a password"),
        _ => "nobody has used the link yet".to_owned(),
    };
    lines(&[
        ("member", field(member, "id").to_owned()),
        ("name", field(member, "name").to_owned()),
        ("role", field(member, "role").to_owned()),
        ("state", field(member, "state").to_owned()),
        ("signs in as", by),
        ("made", time(&member["created_at"])),
    ])
}

/// A member that has just got its link.
fn linked(member: &Value) -> String {
    lines(&[
        ("member", field(member, "id").to_owned()),
        ("link", format!("{}   it works once, and is not shown again", field(member, "invite_url"))),
        ("until", time(&member["invite_until_at"])),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_begins_with_the_url_that_viewers_use() {
        let member = json!({ "id": "mem_x", "invite_url": "/setup#sci_abc", "invite_until_at": 1_700_000_000_000_i64 });
        let text = linked(&with_base(member.clone(), Some("https://live.example/")));
        assert!(text.contains("https://live.example/setup#sci_abc "), "{text}");
        assert!(linked(&with_base(member, None)).contains("link        /setup#sci_abc "));
    }
}
