//! Route 53, as far as a certificate's rotation asks it: hosted zones, record sets of the types TXT and CNAME, batches of changes,
//! and whether a change is in sync.
//!
//! TXT values are passed on to a name server, which a CA asks, once their change is in sync.
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/>, version 2013-04-01.

mod names;
mod request;
mod zones;

pub use names::Names;
pub use zones::{Change, RecordSet, Refusal, Zones};

use crate::xml::escaped;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a change is answered as pending before it is in sync, unless a test says otherwise.
const PENDING: u32 = 1;

/// Route 53. Clones are the same.
#[derive(Clone)]
pub struct Route53 {
    zones: Arc<Mutex<Zones>>,
    names: Option<Names>,
    changes: Arc<AtomicU32>,
    under_way: Arc<Mutex<BTreeMap<String, UnderWay>>>,
    pending: Arc<AtomicU32>,
}

/// A change.
struct UnderWay {
    /// How often somebody has asked for it.
    asked: u32,
    /// The names that the name server does not know anew yet.
    names: Vec<String>,
}

impl Route53 {
    /// A service without zones, whose TXT values nobody answers with.
    pub fn new() -> Self {
        let pending = Arc::new(AtomicU32::new(PENDING));
        Self { zones: Arc::default(), names: None, changes: Arc::default(), under_way: Arc::default(), pending }
    }

    /// The same, which passes TXT values on to this name server.
    #[must_use]
    pub fn answering(self, names: Names) -> Self {
        Self { names: Some(names), ..self }
    }

    /// From now on, each change is answered as pending so often before it is in sync.
    pub fn syncs_after(&self, looks: u32) {
        self.pending.store(looks, Ordering::Relaxed);
    }

    /// The zones and their records, for tests.
    pub fn zones(&self) -> MutexGuard<'_, Zones> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The API.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/2013-04-01/hostedzonesbyname", get(list_zones))
            .route("/2013-04-01/hostedzone/{zone}/rrset", get(list_records))
            .route("/2013-04-01/hostedzone/{zone}/rrset/", post(change))
            .route("/2013-04-01/change/{id}", get(get_change))
            .with_state(self.clone())
    }

    /// How many batches were carried out.
    pub fn batches(&self) -> u32 {
        self.changes.load(Ordering::Relaxed)
    }

    fn carry_out(&self, zone: &str, changes: &[Change]) -> Result<String, Refusal> {
        self.zones().change(zone, changes)?;
        let names = changes.iter().filter(|change| change.set.kind == "TXT").map(|change| change.name.clone());
        let id = format!("C{}", self.changes.fetch_add(1, Ordering::Relaxed) + 1);
        self.under_way().insert(id.clone(), UnderWay { asked: 0, names: names.collect() });
        Ok(id)
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<String, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of a change that is in sync from this look on. `None` before.
    fn look(&self, id: &str) -> Result<Option<Vec<String>>, Refusal> {
        let mut all = self.under_way();
        let unknown = || Refusal::new(404, "NoSuchChange", &format!("Could not find resource with ID: {id}"));
        let change = all.get_mut(id).ok_or_else(unknown)?;
        change.asked += 1;
        Ok((change.asked > self.pending.load(Ordering::Relaxed)).then(|| std::mem::take(&mut change.names)))
    }
}

impl Default for Route53 {
    fn default() -> Self {
        Self::new()
    }
}

async fn list_zones(State(route53): State<Route53>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let from = query.get("dnsname").map(|name| name.trim_end_matches('.')).unwrap_or_default();
    let mut body = String::new();
    for (id, name, private) in route53.zones().from(from) {
        let _ = write!(
            body,
            "<HostedZone><Id>/hostedzone/{id}</Id><Name>{name}.</Name><CallerReference>lab</CallerReference><Config>\
             <PrivateZone>{private}</PrivateZone></Config><ResourceRecordSetCount>2</ResourceRecordSetCount></HostedZone>"
        );
    }
    let rest = "<IsTruncated>false</IsTruncated><MaxItems>100</MaxItems>";
    answer(&format!(
        "<ListHostedZonesByNameResponse {XMLNS}><HostedZones>{body}</HostedZones>{rest}</ListHostedZonesByNameResponse>"
    ))
}

async fn list_records(
    State(route53): State<Route53>,
    Path(zone): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let name = query.get("name").map(|name| name.trim_end_matches('.')).unwrap_or_default();
    let kind = query.get("type").map(String::as_str).unwrap_or_default();
    let sets = match route53.zones().sets(&zone, name, kind) {
        Ok(sets) => sets,
        Err(refusal) => return refused(&refusal),
    };
    let mut body = String::new();
    for (name, set) in sets.into_iter().take(1) {
        let mut values = String::new();
        for value in &set.values {
            let _ = write!(values, "<ResourceRecord><Value>{}</Value></ResourceRecord>", escaped(value));
        }
        let _ = write!(
            body,
            "<ResourceRecordSet><Name>{name}.</Name><Type>{}</Type><TTL>{}</TTL><ResourceRecords>{values}</ResourceRecords>\
             </ResourceRecordSet>",
            set.kind, set.ttl
        );
    }
    let rest = "<IsTruncated>false</IsTruncated><MaxItems>1</MaxItems>";
    answer(&format!(
        "<ListResourceRecordSetsResponse {XMLNS}><ResourceRecordSets>{body}</ResourceRecordSets>{rest}</ListResourceRecordSetsResponse>"
    ))
}

async fn change(State(route53): State<Route53>, Path(zone): Path<String>, body: Bytes) -> Response {
    let Some(changes) = request::changes(&body) else {
        return refused(&Refusal::new(400, "InvalidInput", "the body is no batch of changes"));
    };
    match route53.carry_out(&zone, &changes) {
        Ok(id) => answer(&format!(
            "<ChangeResourceRecordSetsResponse {XMLNS}>{}</ChangeResourceRecordSetsResponse>",
            info(&id, "PENDING")
        )),
        Err(refusal) => refused(&refusal),
    }
}

async fn get_change(State(route53): State<Route53>, Path(id): Path<String>) -> Response {
    let synced = match route53.look(&id) {
        Ok(synced) => synced,
        Err(refusal) => return refused(&refusal),
    };
    let status = if synced.is_some() { "INSYNC" } else { "PENDING" };
    if let Some(names) = &route53.names {
        for name in synced.into_iter().flatten() {
            let values = route53.zones().values(&name);
            // A name server that is not there answers nothing, as the CA will tell.
            let _ = names.answer(&name, &values).await;
        }
    }
    answer(&format!("<GetChangeResponse {XMLNS}>{}</GetChangeResponse>", info(&id, status)))
}

const XMLNS: &str = "xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"";

fn info(id: &str, status: &str) -> String {
    format!(
        "<ChangeInfo><Id>/change/{id}</Id><Status>{status}</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo>"
    )
}

fn answer(body: &str) -> Response {
    let text = format!("<?xml version=\"1.0\"?>\n{body}");
    ([(header::CONTENT_TYPE, "text/xml")], text).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let message = escaped(&refusal.message);
    // This one error has a form of its own.
    let body = if refusal.code == "InvalidChangeBatch" {
        format!("<InvalidChangeBatch {XMLNS}><Messages><Message>{message}</Message></Messages></InvalidChangeBatch>")
    } else {
        format!(
            "<ErrorResponse {XMLNS}><Error><Type>Sender</Type><Code>{}</Code><Message>{message}</Message></Error></ErrorResponse>",
            refusal.code
        )
    };
    (status, [(header::CONTENT_TYPE, "text/xml")], format!("<?xml version=\"1.0\"?>\n{body}")).into_response()
}
