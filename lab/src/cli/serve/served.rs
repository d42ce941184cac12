//! What `cargo lab serve` has started, and the secrets in it.

use super::plan::Plan;
use crate::Lab;
use crate::cli::attached::{Attached, Trust};
use crate::cli::certificate::{self, ACCOUNT_SECRET, Certified};
use crate::cli::client::Client;
use crate::cli::database::{self, DatabaseUser};
use crate::cli::issued_key::{self, IssuedKey, KEYS_OF_MANY_SECRETS};
use crate::cli::screen::Screen;
use crate::cli::setup::{bind, client, function, setup};
use crate::cli::signing_key::{self, Published};
use crate::cli::stop::Stop;
use crate::disturb::Disturb;
use crate::lambda::{ACCOUNT, REGION};
use crate::stack::Builder;
use serde_json::json;
use std::path::PathBuf;

/// Everything that was started. Dropping it ends all of it.
pub(super) struct Served {
    // Dropped in this order: first who uses the servers, then the servers.
    pub(super) lab: Lab,
    client: Client,
    pub(super) databases: Vec<DatabaseUser>,
    pub(super) issuer: Option<IssuedKey>,
    pub(super) published: Option<Published>,
    pub(super) certified: Option<Certified>,
    pub(super) trust: Trust,
    /// The functions that are not Lockstep's, by name.
    pub(super) attached: Vec<String>,
}

impl Served {
    /// Builds, starts and creates what the plan says.
    pub(super) async fn start(screen: &Screen, plan: &Plan) -> Result<Self, Stop> {
        let bound = bind(plan.port).await?;
        let url = bound.url().map_err(setup)?;
        // First what may be mistyped.
        let programs = plan.attached.iter().map(Attached::program);
        let programs = programs.collect::<Result<Vec<_>, _>>()?;
        let mut binaries = Vec::new();
        for package in plan.packages() {
            binaries.push((package, function(screen, package, &plan.function).await?));
        }
        let mut databases = Vec::new();
        for target in &plan.databases {
            databases.push(database::start(screen, target).await?);
        }
        let disturb = Disturb::new();
        let issuer = if plan.api_key { Some(issued_key::start(screen, &disturb, KEYS_OF_MANY_SECRETS)?) } else { None };
        let published = if plan.signing_key { Some(signing_key::start(screen).await?) } else { None };
        let certified = if plan.tls { Some(certificate::start(screen, &disturb).await?) } else { None };
        let database_cas: String = databases.iter().map(|opened| opened.database.ca_pem()).collect();
        let issuer_ca = issuer.as_ref().map_or("", IssuedKey::ca_pem);
        let ca_of_ca = certified.as_ref().map_or("", Certified::ca_pem);
        let trust = Trust::new(&format!("{database_cas}{issuer_ca}{ca_of_ca}"))?;

        let ours = |(package, binary): (&'static str, PathBuf)| {
            let function = Lab::builder(binary).name(package);
            match (&issuer, &published, &certified) {
                (Some(issuer), ..) if package == issued_key::PACKAGE => issuer.settings(function),
                (_, Some(published), _) if package == signing_key::PACKAGE => published.settings(function),
                (.., Some(certified)) if package == certificate::PACKAGE => certified.settings(function),
                _ => database::settings(function, &database_cas),
            }
        };
        let mut functions: Vec<Builder> = binaries.into_iter().map(ours).collect();
        for (attached, program) in plan.attached.iter().zip(programs) {
            functions.push(attached.builder(program, &url, &trust)?);
        }
        let mut functions = functions.into_iter();
        // The plan has at least one.
        let first = functions.next().ok_or_else(|| Stop::Usage("there is nothing to serve".to_owned()))?;
        let lab = first.disturb(disturb).start_on(bound).map_err(setup)?;
        functions.for_each(|function| drop(lab.deploy(function)));

        let client = client(screen, &lab);
        let attached = plan.attached.iter().map(|attached| attached.name.clone()).collect();
        let served = Self { lab, client, databases, issuer, published, certified, trust, attached };
        served.store_secrets(screen).await?;
        for name in plan.packages().into_iter().chain(served.attached.iter().map(String::as_str)) {
            screen.fact("function", &arn(name));
        }
        Ok(served)
    }

    async fn store_secrets(&self, screen: &Screen) -> Result<(), Stop> {
        for opened in &self.databases {
            let superuser = opened.store_superuser(&self.client).await?;
            opened.store(screen, &self.client, Some(superuser)).await?;
        }
        if let Some(issuer) = &self.issuer {
            issuer.store(screen, &self.client).await?;
        }
        if let Some(published) = &self.published {
            published.store(screen, &self.client).await?;
        }
        if let Some(certified) = &self.certified {
            certified.store(screen, &self.client).await?;
        }
        Ok(())
    }

    /// Shows the secrets of Lockstep's functions on the lab's page.
    pub(super) fn show_page(&self) {
        let mut functions: Vec<_> = self.secrets().iter().map(|(_, function)| (*function).to_owned()).collect();
        functions.sort();
        functions.dedup();
        self.lab.page().show(functions, self.lab.service());
    }

    /// The secrets that rotate, each with its function's name.
    pub(super) fn secrets(&self) -> Vec<(&'static str, &'static str)> {
        let databases = self.databases.iter().map(|opened| (opened.secret(), opened.function()));
        let others = [
            (self.issuer.is_some(), issued_key::SECRET, issued_key::PACKAGE),
            (self.published.is_some(), signing_key::SECRET, signing_key::PACKAGE),
            (self.certified.is_some(), certificate::SECRET, certificate::PACKAGE),
            (self.certified.is_some(), ACCOUNT_SECRET, certificate::PACKAGE),
        ];
        let others = others.into_iter().filter(|(served, ..)| *served);
        databases.chain(others.map(|(_, secret, function)| (secret, function))).collect()
    }

    /// The secret that rotates, if it is one alone.
    pub(super) fn only_secret(&self) -> Option<&'static str> {
        match self.secrets().as_slice() {
            [(secret, _)] => Some(secret),
            _ => None,
        }
    }

    /// Attaches its function to each secret without rotating it (the service only has the function test the configuration), so that
    /// `rotate-secret` needs only the secret's name.
    pub(super) async fn enable_rotations(&self) -> Result<(), Stop> {
        if self.certified.is_some() {
            // No certificate can be ordered, and no configuration tested, before there is an account.
            self.enable(ACCOUNT_SECRET, certificate::PACKAGE, true).await?;
            self.lab.service().wait_rotation(ACCOUNT_SECRET).await;
        }
        for (secret, function) in self.secrets() {
            self.enable(secret, function, false).await?;
        }
        for (secret, _) in self.secrets() {
            // Until the test is over, the service would refuse a rotation as "A previous rotation isn't complete".
            self.lab.service().wait_rotation(secret).await;
        }
        Ok(())
    }

    async fn enable(&self, secret: &str, function: &str, immediately: bool) -> Result<(), Stop> {
        let request = json!({
            "SecretId": secret,
            "RotationLambdaARN": arn(function),
            "RotationRules": { "AutomaticallyAfterDays": 30 },
            "RotateImmediately": immediately,
        });
        let answer = self.client.call("RotateSecret", request).await;
        answer.map(drop).map_err(|error| Stop::Setup(format!("rotation could not be turned on: {error}")))
    }
}

/// The ARN of a function of the lab.
pub(super) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}
