//! The calls to Route 53.
//!
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html>

use super::Record;
use super::plan::{self, Owner, RecordSet, Wish};
use super::xml::{self, Element};
use rotation::aws::service::{Codes, Failure, Request, Service, is_word};
use rotation::clock::{Deadline, since_epoch};
use rotation::{Code, Error, Fact, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const VERSION: &str = "/2013-04-01";
/// The pause before a batch is made anew from what is there now, and before another look at a change. Route 53 takes five calls a
/// second from an account.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_secs(1);
/// As many rotations would have to change the same name within a second or two.
const MOST_BATCHES: u32 = 10;
/// How far a chain of CNAMEs is followed: resolvers follow about as many.
const MOST_ALIASES: usize = 8;

/// Route 53.
#[derive(Debug)]
pub struct Route53(Service);

/// A hosted zone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Zone {
    id: String,
    name: String,
}

impl Route53 {
    /// `endpoint` is the service's endpoint, if it is not the default one.
    pub fn new(endpoint: Option<&str>) -> Self {
        Self(Service::new("route53", endpoint))
    }

    /// Over this service.
    pub fn over(service: Service) -> Self {
        Self(service)
    }

    /// The number of throttled calls since the process began.
    pub fn throttles(&self) -> u32 {
        self.0.throttles()
    }

    /// Where the answer to a challenge for this name has to be: the zone and the name, after all delegations. `zone` is the zone that
    /// the secret gives, and `delegations` are the CNAMEs that it gives, for zones that are not in Route 53.
    ///
    /// # Errors
    /// [`Code::ZoneUnknown`], [`Code::DnsRefused`], [`Code::DnsUnavailable`].
    pub async fn place(
        &self,
        name: &str,
        zone: Option<&str>,
        delegations: &BTreeMap<String, String>,
        deadline: Deadline,
    ) -> Result<(String, String)> {
        let mut at = format!("_acme-challenge.{name}");
        let mut seen = BTreeSet::new();
        for _ in 0..MOST_ALIASES {
            if !seen.insert(at.clone()) {
                break;
            }
            if let Some(target) = delegations.get(&at) {
                at.clone_from(target);
                continue;
            }
            let zone = match zone {
                Some(zone) => zone.to_owned(),
                None => self.zone_of(&at, deadline).await?.ok_or_else(|| unknown(name))?.id,
            };
            match self.alias(&zone, &at, deadline).await? {
                Some(target) => at = target,
                None => return Ok((zone, at)),
            }
        }
        Err(unknown(name).with(Fact::Found, "CNAMEs that lead nowhere"))
    }

    /// Makes these records of an owner present or absent, with one batch of changes for each zone, and returns the ids of the changes. What
    /// the owner has left behind at the same names goes, too.
    ///
    /// # Errors
    /// [`Code::DnsRefused`], [`Code::DnsUnavailable`].
    pub async fn change(
        &self,
        records: &[Record],
        wish: Wish,
        owner: &Owner,
        deadline: Deadline,
    ) -> Result<Vec<String>> {
        let zones: BTreeSet<&str> = records.iter().map(|record| record.zone.as_str()).collect();
        let mut ids = Vec::new();
        for zone in zones {
            let of_zone = records.iter().filter(|record| record.zone == zone);
            let wanted: Vec<_> = of_zone.map(|record| (record.name.clone(), record.value.clone())).collect();
            ids.extend(self.change_zone(zone, &wanted, wish, owner, deadline).await?);
        }
        Ok(ids)
    }

    async fn change_zone(
        &self,
        zone: &str,
        wanted: &[(String, String)],
        wish: Wish,
        owner: &Owner,
        deadline: Deadline,
    ) -> Result<Option<String>> {
        for _ in 0..MOST_BATCHES {
            let mut now = BTreeMap::new();
            for (name, _) in wanted {
                if !now.contains_key(name) {
                    now.insert(name.clone(), self.values(zone, name, deadline).await?);
                }
            }
            let changes = plan::changes(&now, wanted, wish, owner, since_epoch());
            if changes.is_empty() {
                return Ok(None);
            }
            let body = xml::batch(&changes);
            let path = format!("{VERSION}/hostedzone/{zone}/rrset/");
            let call = "route53:ChangeResourceRecordSets";
            match self.call("POST", path, body, call, deadline).await? {
                Ok(answer) => return Ok(answer.text_of("Id").map(bare_id)),
                Err(refusal) if refusal.passes() => {}
                Err(refusal) => return Err(refusal.error(call, zone)),
            }
            if deadline.left() <= AGAIN_AFTER {
                break;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        Err(Error::new(Code::DnsUnavailable).with(Fact::What, "others keep changing the same record set"))
    }

    /// Waits until all name servers of Route 53 answer with these changes.
    ///
    /// # Errors
    /// [`Code::DnsUnavailable`] if the time is spent before; [`Code::DnsRefused`].
    pub async fn in_sync(&self, changes: &[String], deadline: Deadline) -> Result<()> {
        for id in changes {
            loop {
                let path = format!("{VERSION}/change/{id}");
                let call = "route53:GetChange";
                let answer = self.call("GET", path, String::new(), call, deadline).await?;
                let answer = answer.map_err(|refusal| refusal.error(call, id))?;
                if answer.text_of("Status") == Some("INSYNC") {
                    break;
                }
                if deadline.left() <= POLL {
                    return Err(Error::new(Code::DnsUnavailable).with(Fact::What, "the change is not in sync yet"));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// The public zone with the longest name that holds this one.
    async fn zone_of(&self, name: &str, deadline: Deadline) -> Result<Option<Zone>> {
        let mut candidate = Some(name);
        // Nobody who rotates a certificate has a top-level domain as a hosted zone.
        while let Some(domain) = candidate.filter(|domain| domain.contains('.')) {
            let path = format!("{VERSION}/hostedzonesbyname?dnsname={}.&maxitems=10", escaped(domain));
            let call = "route53:ListHostedZonesByName";
            let answer = self.call("GET", path, String::new(), call, deadline).await?;
            let answer = answer.map_err(|refusal| refusal.error(call, domain))?;
            let public: Vec<Zone> = zones(&answer).filter(|zone| zone.name == domain).collect();
            match public.as_slice() {
                [] => candidate = domain.split_once('.').map(|(_, above)| above),
                [zone] => return Ok(Some(zone.clone())),
                _ => {
                    let found = "several public zones of this name: say which one in rotation.hostedZoneId";
                    return Err(unknown(domain).with(Fact::Found, found));
                }
            }
        }
        Ok(None)
    }

    async fn alias(&self, zone: &str, name: &str, deadline: Deadline) -> Result<Option<String>> {
        let set = self.record_set(zone, name, "CNAME", deadline).await?;
        let target = set.and_then(|set| set.values.into_iter().next());
        Ok(target.map(|target| target.trim_end_matches('.').to_ascii_lowercase()))
    }

    async fn values(&self, zone: &str, name: &str, deadline: Deadline) -> Result<Option<RecordSet>> {
        self.record_set(zone, name, "TXT", deadline).await
    }

    async fn record_set(&self, zone: &str, name: &str, kind: &str, deadline: Deadline) -> Result<Option<RecordSet>> {
        let path = format!("{VERSION}/hostedzone/{zone}/rrset?maxitems=1&name={}.&type={kind}", escaped(name));
        let call = "route53:ListResourceRecordSets";
        let answer = self.call("GET", path, String::new(), call, deadline).await?;
        let answer = answer.map_err(|refusal| refusal.error(call, zone))?;
        // The list begins at this name and type, or after it.
        let set = answer.find("ResourceRecordSet").filter(|set| {
            let same_name = set.text_of("Name").is_some_and(|found| found.trim_end_matches('.') == name);
            same_name && set.text_of("Type") == Some(kind)
        });
        Ok(set.map(|set| RecordSet {
            ttl: set.text_of("TTL").and_then(|ttl| ttl.parse().ok()).unwrap_or_default(),
            values: set.all("Value").into_iter().map(|value| value.text.clone()).collect(),
        }))
    }

    async fn call(
        &self,
        method: &'static str,
        path: String,
        body: String,
        call: &'static str,
        deadline: Deadline,
    ) -> Result<Result<Element, Refusal>> {
        let request = Request { method, path, media: "text/xml", headers: Vec::new(), body };
        let answer = self.0.call(&request, deadline).await;
        let answer = answer.map_err(|failure| unanswered(call, failure))?;
        let read = xml::parsed(&answer.body);
        if answer.status == 200 {
            let strange = || Error::new(Code::AnswerUnexpected).with(Fact::Call, call);
            return read.ok_or_else(strange).map(Ok);
        }
        Ok(Err(Refusal { status: answer.status, read }))
    }
}

/// An answer that is no success.
struct Refusal {
    status: u16,
    read: Option<Element>,
}

impl Refusal {
    /// The error's name. InvalidChangeBatch comes in a form of its own.
    fn kind(&self) -> &str {
        match &self.read {
            Some(read) if read.name == "InvalidChangeBatch" => "InvalidChangeBatch",
            Some(read) => read.text_of("Code").unwrap_or_default(),
            None => "",
        }
    }

    /// Whether another rotation changed the name meanwhile, or its change is not done yet.
    fn passes(&self) -> bool {
        match self.kind() {
            "PriorRequestNotComplete" => true,
            "InvalidChangeBatch" => ["already exists", "was not found", "do not match the current values"]
                .iter()
                .any(|part| self.says("Tried to ") && self.says(part)),
            _ => false,
        }
    }

    /// Whether the service's message has this part. The message itself is shown nowhere.
    fn says(&self, part: &str) -> bool {
        self.read.as_ref().and_then(|read| read.text_of("Message")).is_some_and(|message| message.contains(part))
    }

    /// Why a batch can never be carried out, as far as the message is known.
    fn reason(&self) -> Option<(&'static str, &'static str)> {
        if self.kind() != "InvalidChangeBatch" {
            return None;
        }
        if self.says("is not permitted in zone") {
            let next =
                "Correct `rotation.hostedZoneId` or `rotation.delegations`: the name has to be the zone's or below it.";
            return Some(("the name is not below the hosted zone", next));
        }
        if self.says("conflict") {
            let next = "Remove the other record, or make it a CNAME into a zone for challenges.";
            return Some(("a record of another type stands at the name", next));
        }
        None
    }

    fn error(&self, call: &'static str, about: &str) -> Error {
        let error = Error::new(Code::DnsRefused).with(Fact::Call, call).with(Fact::Status, self.status);
        let kind = Some(self.kind()).filter(|kind| is_word(kind));
        let error = kind.into_iter().fold(error, |error, kind| error.with(Fact::ServiceCode, kind));
        match self.reason() {
            Some((reason, next)) => {
                error.with(Fact::What, format_args!("{about}: {reason}")).with(Fact::NextAction, next)
            }
            None => error.with(Fact::What, about),
        }
    }
}

fn zones(answer: &Element) -> impl Iterator<Item = Zone> {
    answer.all("HostedZone").into_iter().filter_map(|zone| {
        let private = zone.text_of("PrivateZone") == Some("true");
        let name = zone.text_of("Name")?.trim_end_matches('.').to_owned();
        (!private).then_some(Zone { id: bare_id(zone.text_of("Id")?), name })
    })
}

/// A name within a query. A CNAME may lead to a name of any characters.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Ids come as `/hostedzone/Z1` and `/change/C1`.
fn bare_id(id: &str) -> String {
    id.rsplit('/').next().unwrap_or_default().to_owned()
}

fn unknown(name: &str) -> Error {
    Error::new(Code::ZoneUnknown).with(Fact::Host, name)
}

fn unanswered(call: &'static str, failure: Failure) -> Error {
    let unavailable = Code::DnsUnavailable;
    failure.error(call, Codes { passes: unavailable, throttled: unavailable, stays: Code::DnsRefused })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch_refused(message: &str) -> Refusal {
        let text =
            format!("<InvalidChangeBatch><Messages><Message>{message}</Message></Messages></InvalidChangeBatch>");
        Refusal { status: 400, read: xml::parsed(text.as_bytes()) }
    }

    /// The messages are the service's own, with other names.
    #[test]
    fn only_a_race_is_tried_again() {
        for message in [
            "Tried to create resource record set [name='a.example.com.', type='TXT'] but it already exists",
            "Tried to delete resource record set [name='a.example.com.', type='TXT'] but it was not found",
            "Tried to delete resource record set [name='a.example.com.', type='TXT'] but the values provided do not match the \
             current values",
        ] {
            assert!(batch_refused(message).passes(), "{message}");
        }
        for (message, what) in [
            ("RRSet with DNS name a.example.org. is not permitted in zone example.com.", "not below the hosted zone"),
            (
                "RRSet of type TXT with DNS name a.example.com. is not permitted because a conflicting RRSet of type  CNAME \
                 with the same DNS name already exists in zone example.com.",
                "a record of another type",
            ),
            ("hunter2", "Z1"),
        ] {
            let refusal = batch_refused(message);
            assert!(!refusal.passes(), "{message}");
            let error = refusal.error("route53:ChangeResourceRecordSets", "Z1");
            assert_eq!((error.code(), error.fact(Fact::ServiceCode)), (Code::DnsRefused, Some("InvalidChangeBatch")));
            assert!(error.fact(Fact::What).unwrap().contains(what), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_name_adds_nothing_to_a_query() {
        assert_eq!(escaped("_acme-challenge.example.com"), "_acme-challenge.example.com");
        assert_eq!(escaped("a&type=A#%2e\\052/?é"), "a%26type%3DA%23%252e%5C052%2F%3F%C3%A9");
    }
}
