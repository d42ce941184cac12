//! Where descriptions come from: built in, from files packaged with the function, from SSM parameters and from secrets.

mod ssm;

use crate::description::{Issuer, Problem, read};
use crate::sources::ssm::Parameters;
use rotation::aws::service::CallError;
use rotation::clock::Stopwatch;
use rotation::protocol::context::StepContext;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// The text of each built-in description.
        pub const BUILT_IN: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../issuers/", $name, ".yaml")))),*];
    };
}

built_in! {
    "auth0",
    "cloudflare",
    "cloudflare-roll",
    "confluent-cloud",
    "confluent-kafka",
    "datadog",
    "elasticsearch",
    "fastly",
    "generate",
    "gitea",
    "gitlab",
    "gitlab-access-token",
    "grafana",
    "launchdarkly",
    "mongodb-atlas",
    "newrelic-license",
    "newrelic-user",
    "okta",
    "openai-admin",
    "rabbitmq",
    "rabbitmq-user",
    "sendgrid",
    "twilio",
    "vault-approle",
}

/// How long a description from a parameter or a secret is kept. A correction takes effect soon, and the four steps of a rotation
/// read it once.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// A source of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(String),
    Parameter(String),
    Secret(String),
}

type Issuers = BTreeMap<String, Arc<Issuer>>;

/// All descriptions of this function.
pub struct Sources {
    files: Issuers,
    remote: Vec<Source>,
    parameters: Parameters,
    kept: Mutex<Option<(Stopwatch, Issuers)>>,
}

impl Sources {
    /// Reads the files among `sources`; relative paths begin at the function's root. `ssm_endpoint` is the endpoint of Systems
    /// Manager, if it is not the default one.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`]; [`Code::DescriptionUnreadable`]; [`Code::DescriptionInvalid`].
    pub fn new(sources: &[String], ssm_endpoint: Option<&str>) -> Result<Self> {
        let (mut files, mut remote) = (BTreeMap::new(), Vec::new());
        for source in sources {
            match Source::parse(source)? {
                Source::File(path) => {
                    let text = std::fs::read_to_string(&path).map_err(|_| unreadable(source))?;
                    let issuer = parsed(source, &text)?;
                    files.insert(issuer.id.clone(), Arc::new(issuer));
                }
                other => remote.push(other),
            }
        }
        Ok(Self { files, remote, parameters: Parameters::new(ssm_endpoint), kept: Mutex::new(None) })
    }

    /// The number of throttled calls to Systems Manager since the process began.
    pub fn throttles(&self) -> u32 {
        self.parameters.throttles()
    }

    /// A description that is already in memory.
    pub fn at_hand(&self, name: &str) -> Option<Arc<Issuer>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().and_then(|(_, issuers)| issuers.get(name));
        self.files.get(name).or(kept).map(Arc::clone)
    }

    /// The description of this name. The deployer's description replaces a built-in one.
    ///
    /// # Errors
    /// [`Code::IssuerUnknown`]; [`Code::DescriptionUnreadable`]; [`Code::DescriptionUnavailable`]; [`Code::DescriptionInvalid`];
    /// [`Code::ConfigurationInvalid`]; those of the store, if it refuses a secret with a description.
    pub async fn find(&self, name: &str, context: &StepContext<'_>) -> Result<Arc<Issuer>> {
        if let Some(issuer) = self.files.get(name) {
            return Ok(Arc::clone(issuer));
        }
        if !self.remote.is_empty()
            && let Some(issuer) = self.remote(context).await?.get(name)
        {
            return Ok(Arc::clone(issuer));
        }
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
        let (_, text) = built_in.ok_or_else(|| Error::new(Code::IssuerUnknown).with(Fact::Issuer, name))?;
        parsed(name, text).map(Arc::new)
    }

    async fn remote(&self, context: &StepContext<'_>) -> Result<Issuers> {
        if let Some((since, issuers)) = &*self.kept.lock().unwrap_or_else(PoisonError::into_inner)
            && since.elapsed() < KEPT_FOR
        {
            return Ok(issuers.clone());
        }
        let mut issuers = BTreeMap::new();
        for source in &self.remote {
            let issuer = source.read(context, &self.parameters).await?;
            issuers.insert(issuer.id.clone(), Arc::new(issuer));
        }
        let kept = Some((Stopwatch::start(), issuers.clone()));
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(issuers)
    }
}

impl Source {
    fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            Some(("ssm", name)) if !name.is_empty() => Ok(Self::Parameter(name.to_owned())),
            Some(("secret", id)) if !id.is_empty() => Ok(Self::Secret(id.to_owned())),
            _ => Err(Error::new(Code::ConfigurationInvalid)
                .with(Fact::Field, "ISSUERS")
                .with(Fact::Found, text)
                .with(Fact::Expected, "file: and a path, ssm: and a parameter's name, or secret: and a secret's ARN")),
        }
    }

    async fn read(&self, context: &StepContext<'_>, parameters: &Parameters) -> Result<Issuer> {
        let (name, text) = match self {
            Self::File(path) => (format!("file:{path}"), None),
            Self::Parameter(parameter) => {
                (format!("ssm:{parameter}"), Some(parameters.value(parameter, context.deadline()).await?))
            }
            Self::Secret(id) => {
                let name = format!("secret:{id}");
                let text = context.other_text(id).await.map_err(|error| of_source(error, &name))?;
                (name, Some(text.expose().to_owned()))
            }
        };
        parsed(&name, &text.ok_or_else(|| unreadable(&name))?)
    }
}

/// An error of Secrets Manager about a secret with a description. A refusal keeps its code, which says most. Throttling and
/// outages get a code of their own, so that they do not seem to be about the rotated secret.
fn of_source(error: Error, source: &str) -> Error {
    let error = match error.code() {
        Code::ServiceThrottled => {
            error.recoded(Code::DescriptionUnavailable).with_default(Fact::What, CallError::Throttled.as_str())
        }
        Code::ServiceUnavailable => error.recoded(Code::DescriptionUnavailable),
        _ => error,
    };
    error.with_default(Fact::Field, "ISSUERS").with_default(Fact::Found, source)
}

fn unreadable(source: &str) -> Error {
    Error::new(Code::DescriptionUnreadable).with(Fact::Field, "ISSUERS").with(Fact::Found, source)
}

/// Reads a description. An error has the places of mistakes, and not their messages, which may quote a wrong file.
fn parsed(source: &str, text: &str) -> Result<Issuer> {
    read(text).map_err(|problems| {
        let places = problems.iter().map(|problem: &Problem| problem.path.as_str());
        let places: Vec<_> = places.filter(|path| !path.is_empty()).take(10).collect();
        let places = if places.is_empty() { "the whole".to_owned() } else { places.join(", ") };
        let error = Error::new(Code::DescriptionInvalid).with(Fact::Found, source);
        error.with(Fact::Field, places)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::Class;

    #[test]
    fn every_built_in_description_is_sound_and_called_as_its_file() {
        for (name, text) in BUILT_IN {
            match read(text) {
                Ok(issuer) => assert_eq!(issuer.id, *name),
                Err(problems) => panic!("{name}: {problems:#?}"),
            }
        }
    }

    #[test]
    fn every_file_is_built_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/issuers");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = names.collect();
        files.sort();
        let mut known: Vec<_> = BUILT_IN.iter().map(|(name, _)| format!("{name}.yaml")).collect();
        known.sort();
        assert_eq!(files, known);
    }

    #[test]
    fn a_source_says_what_it_is() {
        assert_eq!(Source::parse("file:issuers/a.yaml").unwrap(), Source::File("issuers/a.yaml".to_owned()));
        assert_eq!(Source::parse("ssm:/a/b").unwrap(), Source::Parameter("/a/b".to_owned()));
        for bad in ["issuers/a.yaml", "file:", "http://a", ""] {
            assert_eq!(Source::parse(bad).unwrap_err().code(), Code::ConfigurationInvalid, "{bad}");
        }
    }

    #[test]
    fn an_outage_is_told_from_a_refusal_wherever_a_description_is() {
        let of = |code| of_source(Error::new(code).with(Fact::OtherSecret, "x"), "secret:x");
        for code in [Code::ServiceThrottled, Code::ServiceUnavailable] {
            assert_eq!((of(code).code(), of(code).class()), (Code::DescriptionUnavailable, Class::Retryable), "{code}");
        }
        for code in [Code::ServiceDenied, Code::SecretNotFound, Code::ServiceRefused, Code::SecretNotJson] {
            assert_eq!(of(code).code(), code);
        }
        let facts = of(Code::ServiceThrottled);
        let facts = [Fact::OtherSecret, Fact::Field, Fact::Found].map(|fact| facts.fact(fact).map(str::to_owned));
        assert_eq!(facts, ["x", "ISSUERS", "secret:x"].map(|text| Some(text.to_owned())));
    }

    #[test]
    fn a_mistake_is_placed_and_not_quoted() {
        let error = parsed("secret:x", r#"{"password": "hunter2", "issuer": "a"}"#).unwrap_err();
        assert_eq!(error.code(), Code::DescriptionInvalid);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
