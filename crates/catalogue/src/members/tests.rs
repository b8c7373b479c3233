use super::*;
use crate::commit::tests::{NOW, make, tenant};
use crate::sessions::{MemberEdit, NewPassword, People, SESSIONS_MAX, Session};
use crate::streams::tests::{Place, on_both_databases};
use crate::{Edit, Remembered, SetUpSecret};

on_both_databases! {
    member_is_invited_becomes_a_person_and_goes_with_the_tenant
    somebody_is_always_in_charge
    link_for_a_new_password_ends_when_the_person_becomes_somebody_elsewhere
    deleted_member_is_noted_until_the_log_has_it_and_forgotten_by_a_restored_catalogue
    sessions_end_by_time_by_number_and_with_the_person
    password_is_set_once_and_replaced_only_on_purpose
    catalogue_from_a_backup_has_no_session_and_no_link
}

fn member(tenant: &Id, name: &str, role: &str) -> Member {
    Member {
        id: Id::draw(Kind::Member, NOW),
        tenant: tenant.clone(),
        name: name.to_owned(),
        person: Some(Person::named(name)),
        role: role.to_owned(),
        state: MemberState::Active,
        is_by_rule: false,
        invite: None,
        version: 1,
        created_at: NOW,
    }
}

fn next(member: &Member) -> Member {
    Member { version: member.version + 1, ..member.clone() }
}

fn edit(member: MemberEdit) -> Edit {
    Edit::People(People { member: Some(member), ..People::default() })
}

fn session(id: &str, person: &Person, at: i64) -> Session {
    let (created_at, until) = (UnixMillis(NOW.0 + at), UnixMillis(NOW.0 + 1_000));
    Session { id: id.to_owned(), person: person.key(), created_at, seen_at: created_at, until }
}

fn begin(session: Session) -> Edit {
    Edit::People(People { begin: Some(session), ..People::default() })
}

async fn member_is_invited_becomes_a_person_and_goes_with_the_tenant(place: Place) {
    let catalogue = place.open().await;
    let choir = tenant("choir", None);
    make(&catalogue, Edit::CreateTenant(choir.clone())).await.unwrap();
    let link = SetUpSecret::draw();
    let invite = Some((link.digest(), UnixMillis(NOW.0 + 9)));
    let invited = Member { person: None, state: MemberState::Invited, invite, ..member(&choir.id, "Ada", "producer") };
    make(&catalogue, edit(MemberEdit::Create(invited.clone()))).await.unwrap();
    assert_eq!(catalogue.invited_member(&link.digest()).await.unwrap(), Some(invited.clone()));
    assert_eq!(catalogue.invited_member(&SetUpSecret::draw().digest()).await.unwrap(), None);
    let person = Person::Issued { issuer: "https://id.example".to_owned(), subject: "u 81".to_owned() };
    let active = Member { person: Some(person.clone()), state: MemberState::Active, invite: None, ..next(&invited) };
    make(&catalogue, edit(MemberEdit::Update(active.clone()))).await.unwrap();
    // The same link by a second request at the same moment.
    let again = make(&catalogue, edit(MemberEdit::Update(active.clone()))).await.unwrap_err();
    assert!(matches!(again, Error::VersionMismatch), "{again}");
    assert_eq!(catalogue.memberships(&person.key()).await.unwrap(), std::slice::from_ref(&active));
    let twice = Member { person: Some(person.clone()), ..member(&choir.id, "Ada again", "viewer") };
    let twice = make(&catalogue, edit(MemberEdit::Create(twice))).await.unwrap_err();
    assert!(matches!(twice, Error::MemberExists), "{twice}");
    let elsewhere = Member { person: Some(person.clone()), ..member(&Id::default_tenant(), "Ada", "viewer") };
    make(&catalogue, edit(MemberEdit::Create(elsewhere.clone()))).await.unwrap();
    assert_eq!(catalogue.memberships(&person.key()).await.unwrap().len(), 2);
    make(&catalogue, begin(session("aa", &person, 0))).await.unwrap();
    make(&catalogue, Edit::DeleteTenant(choir)).await.unwrap();
    assert_eq!(catalogue.memberships(&person.key()).await.unwrap(), std::slice::from_ref(&elsewhere));
    assert!(catalogue.session("aa", NOW).await.unwrap().is_some(), "the person is a member elsewhere");
    make(&catalogue, edit(MemberEdit::Delete(elsewhere))).await.unwrap();
    assert_eq!(catalogue.session("aa", NOW).await.unwrap(), None);
}

async fn somebody_is_always_in_charge(place: Place) {
    let catalogue = place.open().await;
    let home = Id::default_tenant();
    assert!(!catalogue.has_operator().await.unwrap());
    let (ada, bob) = (member(&home, "Ada", "operator"), member(&home, "Bob", "owner"));
    for one in [&ada, &bob] {
        make(&catalogue, edit(MemberEdit::Create(one.clone()))).await.unwrap();
    }
    assert!(catalogue.has_operator().await.unwrap());
    // Bob owns the tenant, and still the cluster would have no operator.
    let suspended = Member { state: MemberState::Suspended, ..next(&ada) };
    let demoted = Member { role: "owner".to_owned(), ..next(&ada) };
    for change in [MemberEdit::Update(suspended), MemberEdit::Update(demoted.clone()), MemberEdit::Delete(ada.clone())]
    {
        let refused = make(&catalogue, edit(change)).await.unwrap_err();
        assert!(matches!(refused, Error::LastOwner), "{refused}");
    }
    let eve = member(&home, "Eve", "operator");
    make(&catalogue, edit(MemberEdit::Create(eve.clone()))).await.unwrap();
    make(&catalogue, edit(MemberEdit::Update(demoted))).await.unwrap();
    make(&catalogue, edit(MemberEdit::Delete(bob))).await.unwrap();
    assert!(matches!(make(&catalogue, edit(MemberEdit::Delete(eve))).await.unwrap_err(), Error::LastOwner));
}

async fn link_for_a_new_password_ends_when_the_person_becomes_somebody_elsewhere(place: Place) {
    let catalogue = place.open().await;
    let choir = tenant("choir", None);
    make(&catalogue, Edit::CreateTenant(choir.clone())).await.unwrap();
    let vera = member(&choir.id, "Vera", "viewer");
    make(&catalogue, edit(MemberEdit::Create(vera.clone()))).await.unwrap();
    let mut vera = vera;
    let mut linked = async || {
        let link = SetUpSecret::draw().digest();
        let now = catalogue.find_member(&choir.id, vera.id.as_str()).await.unwrap().unwrap();
        vera = Member { invite: Some((link, UnixMillis(NOW.0 + 9))), ..next(&now) };
        make(&catalogue, edit(MemberEdit::Update(vera.clone()))).await.unwrap();
        link
    };
    let link = linked().await;
    assert!(catalogue.invited_member(&link).await.unwrap().is_some());
    // Somebody else changes nothing of it.
    make(&catalogue, edit(MemberEdit::Create(member(&Id::default_tenant(), "Bob", "owner")))).await.unwrap();
    assert!(catalogue.invited_member(&link).await.unwrap().is_some());
    let invited = Member { person: None, state: MemberState::Invited, ..member(&Id::default_tenant(), "V", "viewer") };
    make(&catalogue, edit(MemberEdit::Create(invited.clone()))).await.unwrap();
    let joined = Member { person: Some(Person::named("vera")), state: MemberState::Active, ..next(&invited) };
    make(&catalogue, edit(MemberEdit::Update(joined.clone()))).await.unwrap();
    assert_eq!(catalogue.invited_member(&link).await.unwrap(), None, "she has become a member elsewhere");
    let link = linked().await;
    let renamed = Member { name: "Vee".to_owned(), ..next(&joined) };
    make(&catalogue, edit(MemberEdit::Update(renamed.clone()))).await.unwrap();
    assert!(catalogue.invited_member(&link).await.unwrap().is_some(), "a name gives nobody a right");
    let risen = Member { role: "operator".to_owned(), ..next(&renamed) };
    make(&catalogue, edit(MemberEdit::Update(risen))).await.unwrap();
    assert_eq!(catalogue.invited_member(&link).await.unwrap(), None, "she has become an operator");
}

async fn deleted_member_is_noted_until_the_log_has_it_and_forgotten_by_a_restored_catalogue(place: Place) {
    let catalogue = place.open().await;
    let home = Id::default_tenant();
    let (ada, eve, bob) =
        (member(&home, "Ada", "owner"), member(&home, "Eve", "viewer"), member(&home, "Bob", "viewer"));
    for one in [&ada, &eve, &bob] {
        make(&catalogue, edit(MemberEdit::Create(one.clone()))).await.unwrap();
    }
    make(&catalogue, edit(MemberEdit::Delete(bob.clone()))).await.unwrap();
    let gone: Vec<_> = catalogue.members_gone().await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(gone, [bob.id]);
    catalogue.gone_is_logged(gone).await.unwrap();
    assert_eq!(catalogue.members_gone().await.unwrap(), []);
    let password = NewPassword { person: eve.person.as_ref().unwrap().key(), hash: "x".to_owned(), is_first: true };
    make(&catalogue, Edit::People(People { password: Some(password), ..People::default() })).await.unwrap();
    // As if Eve had been deleted after the backup.
    let remembered = Remembered { members_gone: vec![eve.id.to_string()], ..Remembered::default() };
    catalogue.remember(remembered).await.unwrap();
    let there = async |one: &Member| catalogue.find_member(&home, one.id.as_str()).await.unwrap().is_some();
    assert_eq!((there(&ada).await, there(&eve).await), (true, false));
    assert_eq!(catalogue.password_of(&eve.person.as_ref().unwrap().key()).await.unwrap(), None);
}

async fn sessions_end_by_time_by_number_and_with_the_person(place: Place) {
    let catalogue = place.open().await;
    let ada = member(&Id::default_tenant(), "Ada", "viewer");
    let person = ada.person.clone().unwrap();
    make(&catalogue, edit(MemberEdit::Create(ada.clone()))).await.unwrap();
    for n in 0..=SESSIONS_MAX {
        make(&catalogue, begin(session(&format!("{n:02}"), &person, n))).await.unwrap();
    }
    assert_eq!(catalogue.session("00", NOW).await.unwrap(), None, "the oldest went");
    let known = catalogue.session("01", NOW).await.unwrap().unwrap();
    assert_eq!(known, session("01", &person, 1));
    catalogue.session_seen("01", UnixMillis(NOW.0 + 500)).await.unwrap();
    catalogue.session_seen("01", UnixMillis(NOW.0 + 400)).await.unwrap();
    assert_eq!(catalogue.session("01", NOW).await.unwrap().unwrap().seen_at.0, NOW.0 + 500);
    assert_eq!(catalogue.session("01", UnixMillis(NOW.0 + 1_000)).await.unwrap(), None, "its time is over");
    make(&catalogue, Edit::People(People { end: Some("01".to_owned()), ..People::default() })).await.unwrap();
    assert_eq!(catalogue.session("01", NOW).await.unwrap(), None);
    make(&catalogue, Edit::People(People { end_all_of: Some(person.key()), ..People::default() })).await.unwrap();
    assert_eq!(catalogue.session("02", NOW).await.unwrap(), None);
}

async fn password_is_set_once_and_replaced_only_on_purpose(place: Place) {
    let catalogue = place.open().await;
    let ada = member(&Id::default_tenant(), "Ada", "viewer");
    let set = |hash: &str, is_first| {
        let person = Person::named("ada").key();
        let password = Some(NewPassword { person, hash: hash.to_owned(), is_first });
        Edit::People(People { password, ..People::default() })
    };
    assert!(make(&catalogue, set("a", false)).await.is_err(), "there is none to replace");
    make(&catalogue, edit(MemberEdit::Create(ada))).await.unwrap();
    make(&catalogue, set("a", true)).await.unwrap();
    assert!(matches!(make(&catalogue, set("b", true)).await.unwrap_err(), Error::NameInUse));
    assert_eq!(catalogue.password_of("name:ada").await.unwrap().as_deref(), Some("a"));
    make(&catalogue, set("b", false)).await.unwrap();
    assert_eq!(catalogue.password_of("name:ada").await.unwrap().as_deref(), Some("b"));
}

/// They may have ended after the backup.
async fn catalogue_from_a_backup_has_no_session_and_no_link(place: Place) {
    let catalogue = place.open().await;
    let home = Id::default_tenant();
    let invite = Some((Digest([7; 32]), UnixMillis(NOW.0 + 1_000)));
    let ada = Member { invite, ..member(&home, "Ada", "viewer") };
    let person = ada.person.clone().unwrap();
    make(&catalogue, edit(MemberEdit::Create(ada.clone()))).await.unwrap();
    make(&catalogue, begin(session("01", &person, 0))).await.unwrap();
    let found = async || catalogue.find_member(&home, ada.id.as_str()).await.unwrap().unwrap().invite;
    assert_eq!((catalogue.session("01", NOW).await.unwrap().is_some(), found().await), (true, invite));
    catalogue.mark_restored().await.unwrap();
    assert_eq!((catalogue.session("01", NOW).await.unwrap(), found().await), (None, None));
}
