//! A key group of CloudFront, for signed URLs and signed cookies. It holds public keys, which are resources of their own with an id that
//! CloudFront chooses. What the set's notes are elsewhere stands in the comment of the group.
//!
//! **Invariant:** a key is deleted only if its comment says that this secret made it, and CloudFront deletes none that is in a group.
//! Otherwise a key of somebody else could go. Test: `only_keys_of_this_secret_are_deleted`.
//!
//! <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-trusted-signers.html>,
//! <https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_UpdateKeyGroup.html>

use super::answer::{Found, Mark, Written, refused, unanswered};
use super::group::{Group, GroupNote, KeyNote, PublicKey};
use crate::key::SigningKey;
use crate::key::jwk::Material;
use crate::key::spki;
use crate::published::{PublishedSet, kid_of};
use rotation::aws::service::{Answer, Request, Service};
use rotation::aws::xml::{Element, escaped, parsed};
use rotation::clock::{Deadline, since_epoch};
use rotation::{Code, Error, Fact, Result};
use serde_json::Value;
use std::collections::BTreeMap;

const VERSION: &str = "/2020-05-31";
const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";
const MEDIA: &str = "application/xml";
const LEAVES: [&str; 8] = ["Id", "Name", "Comment", "PublicKey", "EncodedKey", "NextMarker", "CreatedTime", "Quantity"];
/// An account has ten public keys unless AWS has raised its quota.
const MOST_PAGES: usize = 20;

/// The set in a key group, and its mark.
///
/// # Errors
/// Those of [`Outlets::read`](super::Outlets::read).
pub(super) async fn read(cloudfront: &Service, group: &str, deadline: Deadline) -> Result<Found> {
    let answer = call(cloudfront, "GetKeyGroup", get(format!("{VERSION}/key-group/{group}")), deadline).await?;
    let read = || {
        let read = parsed(&answer.body, &LEAVES)?;
        let config = read.find("KeyGroupConfig")?;
        let tag = answer.header("etag")?.to_owned();
        let ids = config.all("PublicKey").into_iter().map(|id| id.text.clone()).collect::<Vec<_>>();
        let note = GroupNote::read(config.text_of("Comment").unwrap_or_default());
        Some((tag, config.text_of("Name")?.to_owned(), ids, note))
    };
    let (tag, name, items, note) = match answer.status {
        200 => read().ok_or_else(|| refused("GetKeyGroup", &answer))?,
        _ => return Err(refused("GetKeyGroup", &answer)),
    };
    let known = public_keys(cloudfront, deadline).await?;
    let (mut keys, mut ids) = (Vec::new(), BTreeMap::new());
    for id in items {
        let jwk = known.iter().find(|key| key.id == id).map_or_else(|| PublicKey::unknown(&id), PublicKey::jwk);
        ids.insert(kid_of(&jwk).to_owned(), id);
        keys.push(jwk);
    }
    let set = PublishedSet::of(keys.clone(), note.owner.clone(), |kid| note.since(kid));
    Ok(Found { set, mark: Mark::Group(Group { tag, name, ids, keys }) })
}

/// Writes a set, if the key group is as it was read.
///
/// # Errors
/// Those of [`Outlets::write`](super::Outlets::write).
pub(super) async fn write(
    cloudfront: &Service,
    group: &str,
    set: &PublishedSet,
    read: &Group,
    deadline: Deadline,
) -> Result<Written> {
    let owner = set.owner().unwrap_or_default();
    let mut ids = Vec::new();
    for jwk in set.keys() {
        let kid = kid_of(jwk);
        ids.push(match read.ids.get(kid).filter(|_| read.keys.contains(jwk)) {
            Some(id) => id.clone(),
            None => {
                let material = Material::of(jwk);
                match find(cloudfront, kid, material.as_ref(), deadline).await? {
                    Some(id) => id,
                    None => create(cloudfront, owner, kid, material.as_ref(), deadline).await?,
                }
            }
        });
    }
    let items: String = ids.iter().map(|id| format!("<PublicKey>{}</PublicKey>", escaped(id))).collect();
    let body = format!(
        "<KeyGroupConfig xmlns=\"{NAMESPACE}\"><Name>{}</Name><Items>{items}</Items><Comment>{}</Comment></KeyGroupConfig>",
        escaped(&read.name),
        escaped(&GroupNote::of(set).text()),
    );
    let headers = vec![("if-match", read.tag.clone())];
    let path = format!("{VERSION}/key-group/{group}");
    let request = Request { method: "PUT", path, media: MEDIA, headers, body };
    let answer = call(cloudfront, "UpdateKeyGroup", request, deadline).await?;
    match answer.status {
        200 => {}
        // Another write was faster. After a lost answer that may have been this one: the next read shows it.
        409 | 412 => return Ok(Written::Conflict),
        _ => return Err(refused("UpdateKeyGroup", &answer)),
    }
    if read.ids.keys().any(|kid| set.entries(kid).next().is_none()) {
        let kept: Vec<_> = set.keys().iter().map(kid_of).collect();
        // The group is as it should be. What stays here is deleted when the next key leaves.
        let _ = clean(cloudfront, owner, &kept, deadline).await;
    }
    Ok(Written::Done)
}

/// CloudFront's id of a key's public part, which is uploaded if it is not there.
///
/// # Errors
/// [`Code::OutletRefused`], [`Code::OutletUnavailable`].
pub(super) async fn upload(
    cloudfront: &Service,
    owner: &str,
    key: &SigningKey,
    kept: &[&str],
    deadline: Deadline,
) -> Result<String> {
    match find(cloudfront, &key.kid, Some(key.material()), deadline).await? {
        Some(id) => Ok(id),
        None => {
            // A rotation that was given up leaves a key, and an account may have few.
            let _ = clean(cloudfront, owner, kept, deadline).await;
            create(cloudfront, owner, &key.kid, Some(key.material()), deadline).await
        }
    }
}

async fn find(
    cloudfront: &Service,
    kid: &str,
    material: Option<&Material>,
    deadline: Deadline,
) -> Result<Option<String>> {
    let is_same = |key: &PublicKey| key.name == kid && key.material.is_some() && key.material.as_ref() == material;
    Ok(public_keys(cloudfront, deadline).await?.into_iter().find(is_same).map(|key| key.id))
}

async fn create(
    cloudfront: &Service,
    owner: &str,
    kid: &str,
    material: Option<&Material>,
    deadline: Deadline,
) -> Result<String> {
    let unfit = || {
        let error = Error::new(Code::OutletRefused).with(Fact::KeyId, kid);
        error
            .with(Fact::Found, "a key of another kind")
            .with(Fact::Expected, "ES256 or RS256, which CloudFront verifies")
    };
    let pem = material.and_then(spki::pem).ok_or_else(unfit)?;
    let note = KeyNote { owner: owner.to_owned(), made: since_epoch().as_secs() };
    let body = format!(
        "<PublicKeyConfig xmlns=\"{NAMESPACE}\"><CallerReference>{0}-{1}</CallerReference><Name>{0}</Name><EncodedKey>{2}</EncodedKey>\
         <Comment>{3}</Comment></PublicKeyConfig>",
        escaped(kid),
        note.made,
        escaped(&pem),
        escaped(&note.text()),
    );
    let path = format!("{VERSION}/public-key");
    let request = Request { method: "POST", path, media: MEDIA, headers: Vec::new(), body };
    let answer = call(cloudfront, "CreatePublicKey", request, deadline).await?;
    let made = |read: Element| read.text_of("Id").map(str::to_owned);
    match answer.status {
        201 => parsed(&answer.body, &LEAVES).and_then(made).ok_or_else(|| refused("CreatePublicKey", &answer)),
        // The answer to an earlier attempt was lost, or another invocation was faster.
        409 => find(cloudfront, kid, material, deadline).await?.ok_or_else(|| refused("CreatePublicKey", &answer)),
        _ => Err(refused("CreatePublicKey", &answer)),
    }
}

/// Deletes public keys that this secret has made and that it does not need any more.
async fn clean(cloudfront: &Service, owner: &str, kept: &[&str], deadline: Deadline) -> Result<()> {
    let now = since_epoch().as_secs();
    for key in public_keys(cloudfront, deadline).await?.iter().filter(|key| key.is_left_by(owner, kept, now)) {
        let path = format!("{VERSION}/public-key/{}", key.id);
        let found = call(cloudfront, "GetPublicKey", get(path.clone()), deadline).await?;
        let Some(tag) = found.header("etag").filter(|_| found.status == 200) else { continue };
        let headers = vec![("if-match", tag.to_owned())];
        let request = Request { method: "DELETE", path, media: MEDIA, headers, body: String::new() };
        // A key that is in a group is refused, and stays.
        call(cloudfront, "DeletePublicKey", request, deadline).await?;
    }
    Ok(())
}

async fn public_keys(cloudfront: &Service, deadline: Deadline) -> Result<Vec<PublicKey>> {
    let (mut found, mut marker) = (Vec::new(), String::new());
    for _ in 0..MOST_PAGES {
        let path = format!("{VERSION}/public-key?MaxItems=100{marker}");
        let answer = call(cloudfront, "ListPublicKeys", get(path), deadline).await?;
        let list = parsed(&answer.body, &LEAVES).filter(|_| answer.status == 200);
        let list = list.ok_or_else(|| refused("ListPublicKeys", &answer))?;
        found.extend(list.all("PublicKeySummary").into_iter().filter_map(PublicKey::of));
        match list.text_of("NextMarker").filter(|next| is_id(next)) {
            Some(next) => marker = format!("&Marker={next}"),
            None => break,
        }
    }
    Ok(found)
}

/// Whether a text is an id of CloudFront.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn get(path: String) -> Request {
    Request { method: "GET", path, media: MEDIA, headers: Vec::new(), body: String::new() }
}

async fn call(cloudfront: &Service, name: &'static str, request: Request, deadline: Deadline) -> Result<Answer> {
    cloudfront.call(&request, deadline).await.map_err(|failure| unanswered(name, failure))
}

impl PublicKey {
    /// From an entry of the list. `None` if it is none.
    fn of(entry: &Element) -> Option<Self> {
        let text = |name: &str| entry.text_of(name).map(str::to_owned);
        let id = text("Id").filter(|id| is_id(id))?;
        let material = spki::material(&text("EncodedKey")?);
        Some(Self { id, name: text("Name")?, material, note: KeyNote::read(&text("Comment").unwrap_or_default()) })
    }

    /// The entry of a key that the list does not have.
    fn unknown(id: &str) -> Value {
        serde_json::json!({"kid": id})
    }
}
