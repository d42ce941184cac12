//! What people do, and what they do when they follow an error's advice.

use super::by_hand::{
    add_note, call, credential, current, document, labelled, move_current, put, strip_pending, unlabelled,
};
use super::case::{CLONE, SECOND_SECRET, SECRET, SUPERUSER, SUPERUSER_SECRET, Strategy, Target, USER};
use super::history::Act;
use super::judge::Outside;
use super::person_keys;
use super::server::{PRIVILEGES, User};
use super::world::{World, look_beside, rotate_beside};
use rotation::protocol::label::{CURRENT, PENDING, PREVIOUS};
use rotation::{Code, Error, Fact};
use serde_json::{Value, json};
use std::sync::Arc;

/// Carries out an act. An act that is not possible at the moment changes nothing.
pub(super) async fn act(world: &Arc<World>, act: Act) {
    if act == Act::DailyLook {
        return look_beside(world).await;
    }
    world.inner().judge.person_acts(act);
    match act {
        Act::StripPending => strip_pending(world).await,
        Act::Cancel => drop(call(world, "CancelRotateSecret", json!({"SecretId": SECRET})).await),
        Act::Rotate => rotate_beside(world, SECRET).await,
        Act::PutSame => drop(put(world, CURRENT, |_| {}).await),
        Act::PutEdited => {
            if put(world, CURRENT, add_note).await {
                world.inner().judge.edited();
            }
        }
        Act::LabelEdited => {
            if put(world, "EDITED", add_note).await {
                move_current(world, |world| labelled(world, "EDITED")).await;
                world.inner().judge.edited();
            }
        }
        Act::CurrentToPending => move_current(world, |world| labelled(world, PENDING)).await,
        Act::CurrentToPrevious => move_current(world, |world| labelled(world, PREVIOUS)).await,
        Act::CurrentToUnlabelled => move_current(world, unlabelled).await,
        Act::Delete => drop(call(world, "DeleteSecret", json!({"SecretId": SECRET})).await),
        Act::Restore => drop(call(world, "RestoreSecret", json!({"SecretId": SECRET})).await),
        Act::RestoreDatabase => restore_database(world, 0),
        Act::RestoreOlderDatabase => restore_database(world, 1),
        Act::ChangePassword => change_password(world),
        Act::DropCurrentUser => {
            if let Some((user, _)) = current(world) {
                world.inner().server.drop_user(&user);
            }
        }
        Act::DropBase => world.inner().server.drop_user(USER),
        Act::DropClone => world.inner().server.drop_user(CLONE),
        Act::RotateSuperuser => rotate_superuser(world).await,
        Act::RotateSecond => rotate_second(world).await,
        Act::RevokeKey => revoke(world, CURRENT),
        Act::RevokePendingKey => revoke(world, PENDING),
        Act::ChangeKey => drop(change_key(world)),
        Act::RotateAdmin => rotate_admin(world).await,
        Act::LeakCurrent => person_keys::leak(world, "current").await,
        Act::LeakNext => person_keys::leak(world, "next").await,
        Act::DropPublished => person_keys::drop_published(world),
        Act::EmptyPublished => person_keys::empty_published(world),
        Act::DeletePublished => person_keys::delete_published(world),
        Act::AddPublished => person_keys::add_published(world),
        Act::ClearTxt => world.inner().pki.clear_values(),
        Act::DailyLook => {}
    }
    world.judge(true);
    world.inner().judge.person_acted();
}

fn restore_database(world: &World, back: usize) {
    let mut inner = world.inner();
    let users = inner.snapshots.iter().rev().nth(back).cloned();
    if let Some(mut users) = users {
        // The superuser's password is not what this is about.
        if let Some(superuser) = inner.server.users.get(SUPERUSER) {
            users.insert(SUPERUSER.to_owned(), superuser.clone());
        }
        *inner.server.change() = users;
    }
}

fn change_password(world: &World) {
    let Some((user, _)) = current(world) else { return };
    if let Some(user) = world.inner().server.change().get_mut(&user) {
        "by-hand-password-Wd72kqpZ4n".clone_into(&mut user.primary);
        user.secondary = None;
    }
}

async fn rotate_superuser(world: &World) {
    let password = format!("root-password-{}", world.token());
    if let Some(user) = world.inner().server.change().get_mut(SUPERUSER) {
        user.primary.clone_from(&password);
    }
    store_superuser(world, &password).await;
}

async fn store_superuser(world: &World, password: &str) {
    let text = world.case.superuser(password).to_string();
    let body = json!({"SecretId": SUPERUSER_SECRET, "ClientRequestToken": world.token(), "SecretString": text});
    call(world, "PutSecretValue", body).await;
}

fn revoke(world: &World, label: &str) {
    if let Some((id, _)) = credential(world, label) {
        world.inner().issuer.delete(&id);
    }
}

/// Gives the key in AWSCURRENT another value at the issuer. Returns it.
fn change_key(world: &World) -> Option<String> {
    let (id, _) = current(world)?;
    world.inner().issuer.renew(&id)
}

async fn rotate_admin(world: &World) {
    if world.case.target == Target::Tls {
        let key = world.inner().pki.register();
        return store_superuser(world, &key).await;
    }
    let credential = format!("labadmin_{}", world.token());
    world.inner().issuer.replace_admin(&credential);
    store_superuser(world, &credential).await;
}

/// Makes a key that works and stores it.
async fn store_working_key(world: &World) -> Option<&'static str> {
    let changed = change_key(world);
    let (id_field, field) = world.case.strategy.fields();
    let (id_field, field) = (id_field.trim_start_matches('/'), field.trim_start_matches('/'));
    let issuer = world.inner().issuer.clone();
    put(world, CURRENT, |document| {
        let value = changed.unwrap_or_else(|| {
            let made = issuer.make_by_hand();
            document.insert(id_field.to_owned(), json!(made.id));
            made.secret
        });
        document.insert(field.to_owned(), json!(value));
    })
    .await;
    Some("a key that works is made by hand and stored")
}

/// A second secret for the user is made from what the first one holds, and rotated.
async fn rotate_second(world: &Arc<World>) {
    let Some(document) = document(world, CURRENT) else { return };
    let text = Value::Object(document).to_string();
    let body = json!({"Name": SECOND_SECRET, "ClientRequestToken": world.token(), "SecretString": text});
    call(world, "CreateSecret", body).await;
    rotate_beside(world, SECOND_SECRET).await;
}

/// Follows an error's advice, as far as it says more than to rotate again. Returns what was done.
pub(super) async fn follow(world: &Arc<World>, error: &Error) -> Option<&'static str> {
    match error.code() {
        Code::TooSoon => Some("nobody does anything for a while"),
        Code::PublishedSetChanged if world.case.target == Target::SigningKey => {
            let _ = world.look().await;
            Some("the daily look is invoked")
        }
        Code::OutletTaken if world.case.strategy == Strategy::Certificate => {
            world.inner().pki.acm.untag();
            Some("the other secret's tag is taken from the certificate in ACM")
        }
        Code::OutletTaken => {
            world.inner().places.clear();
            Some("what is in the places is deleted")
        }
        Code::KeyUnproven => store_working_key(world).await,
        Code::KeySuperseded => {
            strip_pending(world).await;
            Some("AWSPENDING is removed")
        }
        Code::PendingRejected if world.case.target == Target::Issuer => {
            // Only a value that the function has drawn can be set once more.
            let useless = world.inner().judge.open || world.case.strategy != Strategy::SetValue;
            if useless {
                strip_pending(world).await;
            }
            useless.then_some("AWSPENDING is removed, which is of no use")
        }
        Code::AdminRejected => {
            let admin = world.inner().issuer.admin();
            store_superuser(world, &admin).await;
            Some("the admin's secret is corrected")
        }
        Code::LockedOut | Code::CurrentRejected if world.case.strategy == Strategy::Account => {
            put(world, CURRENT, |document| drop(document.remove("accountKey"))).await;
            Some("accountKey is removed, and the next rotation registers another account")
        }
        Code::LockedOut | Code::CurrentRejected if world.case.target == Target::Issuer => {
            store_working_key(world).await
        }
        Code::RefusedTooOften => {
            // Then docs/runbooks/locked-out.md.
            strip_pending(world).await;
            set_current_password(world)
        }
        Code::LockedOut | Code::CurrentRejected => set_current_password(world),
        // The second one says so, too, because MySQL does not tell which users there are.
        Code::RoleMissing | Code::AuthenticationUnsupported => {
            create_user(world, error.fact(Fact::User)?);
            Some("the user is created")
        }
        Code::PairUnproven => {
            // Those that belong together, which need not be those that the error names.
            put(world, CURRENT, |document| {
                drop(document.insert("rotation".to_owned(), json!({"users": [USER, CLONE]})));
            })
            .await;
            Some("both users are named in rotation.users")
        }
        Code::PendingMismatch | Code::PendingOutdated | Code::VersionNotPending => {
            strip_pending(world).await;
            Some("AWSPENDING is removed")
        }
        Code::SuperuserRejected => {
            let password = world.inner().server.users.get(SUPERUSER).map(|user| user.primary.clone())?;
            store_superuser(world, &password).await;
            Some("the superuser's secret is corrected")
        }
        Code::SecretNotFound => restore(world).await,
        Code::CurrentMissing => {
            let id = labelled(world, PREVIOUS).filter(|id| world.service.value(SECRET, id).is_some());
            let bytes = world.service.value(SECRET, &id.or_else(|| unlabelled(world))?)?;
            let text = String::from_utf8(bytes).ok()?;
            let body = json!({"SecretId": SECRET, "ClientRequestToken": world.token(), "SecretString": text});
            call(world, "PutSecretValue", body).await;
            Some("the newest value that there is, is stored again")
        }
        _ => None,
    }
}

/// Gives the user at the server the password of AWSCURRENT.
fn set_current_password(world: &Arc<World>) -> Option<&'static str> {
    let (name, password) = current(world)?;
    create_user(world, &name);
    let mut inner = world.inner();
    let user = inner.server.change().get_mut(&name)?;
    user.primary = password;
    user.secondary = None;
    Some("the password of AWSCURRENT is set at the server")
}

async fn restore(world: &World) -> Option<&'static str> {
    call(world, "RestoreSecret", json!({"SecretId": SECRET})).await;
    Some("the secret is restored")
}

/// Does what Secrets Manager itself asks for when it refuses RotateSecret. Returns what was done.
pub(super) async fn heed(world: &Arc<World>) -> Option<&'static str> {
    let described = world.service("DescribeSecret", json!({"SecretId": SECRET})).await.ok()?;
    if described.get("DeletedDate").is_some() { restore(world).await } else { None }
}

/// Follows docs/runbooks/stuck-awspending.md. Returns what was done.
pub(super) async fn unstick(world: &Arc<World>) -> Option<&'static str> {
    let in_effect = credential(world, PENDING).is_some_and(|(user, password)| {
        let inner = world.inner();
        Outside::of(world.case, inner.outside()).opens(&user, &password)
    });
    if in_effect {
        move_current(world, |world| labelled(world, PENDING)).await;
        return Some("AWSCURRENT is moved to the pending version, which works");
    }
    labelled(world, PENDING)?;
    strip_pending(world).await;
    Some("AWSPENDING is removed")
}

/// Creates a user with what the secret says about it.
fn create_user(world: &World, name: &str) {
    let labels = [CURRENT, PREVIOUS, PENDING];
    let documents = labels.into_iter().filter_map(|label| document(world, label));
    let of_user = |document: &serde_json::Map<String, Value>| document.get("username") == Some(&json!(name));
    let password = documents.filter(of_user).find_map(|document| document.get("password")?.as_str().map(str::to_owned));
    let user = User {
        primary: password.unwrap_or_else(|| "made-by-hand-password-0aZ".to_owned()),
        privileges: PRIVILEGES.into_iter().collect(),
        ..User::default()
    };
    world.inner().server.change().entry(name.to_owned()).or_insert(user);
}
