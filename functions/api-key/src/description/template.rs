//! Templates: text with placeholders like `{{name}}`. Each value is escaped for its position.

use crate::description::rfc3339;
use rotation::clock::since_epoch;
use rotation::encoding::percent_encoded;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use serde::de::{self, Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Text with placeholders.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

/// What a template can contain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placeholder {
    /// `vars.X`: a value of the description's own variables.
    Var(String),
    /// `admin.X`: a field of the admin secret.
    Admin(String),
    /// `key.id`
    KeyId,
    /// `key.secret`
    KeySecret,
    /// `key.X`: another value that came with the key.
    KeyField(String),
    /// `name`: the new key's name.
    Name,
    /// `namePrefix`: the beginning of the names of all keys of this secret.
    NamePrefix,
    /// `grace.X`: when the previous key expires.
    Grace(ExpiryFormat),
    /// `lifetime.X`: when the new key expires.
    Lifetime(ExpiryFormat),
}

/// The forms in which issuers take an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpiryFormat {
    /// `untilMilliseconds`, since the Unix epoch.
    UntilMilliseconds,
    /// `untilSeconds`, since the Unix epoch.
    UntilSeconds,
    /// `until`: date and time, RFC 3339.
    Until,
    /// `date`: the day in UTC, `YYYY-MM-DD`.
    Date,
    /// `seconds`: from now.
    Seconds,
}

impl ExpiryFormat {
    const ALL: [Self; 5] = [Self::UntilMilliseconds, Self::UntilSeconds, Self::Until, Self::Date, Self::Seconds];

    fn as_str(self) -> &'static str {
        match self {
            Self::UntilMilliseconds => "untilMilliseconds",
            Self::UntilSeconds => "untilSeconds",
            Self::Until => "until",
            Self::Date => "date",
            Self::Seconds => "seconds",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|moment| moment.as_str() == name)
    }

    fn of(self, end: Expiry) -> String {
        match self {
            Self::UntilMilliseconds => end.at.as_millis().to_string(),
            Self::UntilSeconds => end.at.as_secs().to_string(),
            Self::Until => rfc3339(end.at),
            Self::Date => rfc3339(end.at).split('T').next().unwrap_or_default().to_owned(),
            Self::Seconds => end.after.as_secs().to_string(),
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The mistake, in words for the author.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, tail) = after.split_once("}}").ok_or("`{{` without `}}`")?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Placeholder(Placeholder::parse(name.trim())?));
            rest = tail;
        }
        if rest.contains("}}") {
            return Err("`}}` without `{{`".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(place) => Some(place),
            Part::Text(_) => None,
        })
    }

    /// The placeholder, if the template is nothing else.
    pub fn only_placeholder(&self) -> Option<&Placeholder> {
        match self.parts.as_slice() {
            [Part::Placeholder(place)] => Some(place),
            _ => None,
        }
    }

    /// Whether it has a secret placeholder.
    pub fn is_secret(&self) -> bool {
        self.placeholders().any(Placeholder::is_secret)
    }

    /// The text before the first placeholder.
    pub fn start(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The text with the values of its placeholders, each escaped for its position.
    ///
    /// # Errors
    /// [`Code::FieldMissing`] and [`Code::FieldInvalid`], with the placeholder.
    pub fn fill(&self, scope: &Scope<'_>, escape: Escape) -> Result<SecretText> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Placeholder(place) => text.push_str(&escape.apply(place, scope.value(place)?.expose())?),
            }
        }
        Ok(text.into())
    }
}

impl Placeholder {
    fn parse(name: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let sound = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if sound { Ok(name.to_owned()) } else { Err(format!("`{name}` is no name of a field")) }
        };
        let known = match name.split_once('.') {
            None if name == "name" => Some(Self::Name),
            None if name == "namePrefix" => Some(Self::NamePrefix),
            Some(("vars", name)) => Some(Self::Var(field(name)?)),
            Some(("admin", name)) => Some(Self::Admin(field(name)?)),
            Some(("key", "id")) => Some(Self::KeyId),
            Some(("key", "secret")) => Some(Self::KeySecret),
            Some(("key", name)) => Some(Self::KeyField(field(name)?)),
            Some(("grace", form)) => ExpiryFormat::parse(form).map(Self::Grace),
            Some(("lifetime", form)) => ExpiryFormat::parse(form).map(Self::Lifetime),
            _ => None,
        };
        known.ok_or_else(|| {
            format!(
                "`{{{{{name}}}}}` is unknown; there are vars.*, admin.*, key.id, key.secret, key.*, name, namePrefix, and grace.* \
                 and lifetime.* with until, untilSeconds, untilMilliseconds, date or seconds"
            )
        })
    }

    /// Whether its value is secret.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Admin(_) | Self::KeySecret | Self::KeyField(_))
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Var(name) => write!(f, "vars.{name}"),
            Self::Admin(name) => write!(f, "admin.{name}"),
            Self::KeyId => f.write_str("key.id"),
            Self::KeySecret => f.write_str("key.secret"),
            Self::KeyField(name) => write!(f, "key.{name}"),
            Self::Name => f.write_str("name"),
            Self::NamePrefix => f.write_str("namePrefix"),
            Self::Grace(moment) => write!(f, "grace.{}", moment.as_str()),
            Self::Lifetime(moment) => write!(f, "lifetime.{}", moment.as_str()),
        }
    }
}

/// The template as it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Placeholder(place) => write!(f, "{{{{{place}}}}}"),
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Template;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Template, E> {
                Template::parse(text).map_err(E::custom)
            }

            // People write `active: true`.
            fn visit_bool<E: de::Error>(self, boolean: bool) -> Result<Template, E> {
                self.visit_str(if boolean { "true" } else { "false" })
            }

            // People write `per_page: 100`.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Template, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Template {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer", "boolean"],
            "description": "Text with {{vars.X}}, {{admin.X}}, {{key.id}}, {{key.secret}}, {{key.X}}, {{name}}, {{namePrefix}}, {{grace.X}} or {{lifetime.X}} in it.",
        })
    }
}

/// The position of a value, which decides how the value is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// A JSON string or a form value: the serializer escapes it.
    None,
    /// A segment of a URL's path: everything but unreserved characters is percent-encoded (RFC 3986, section 2.3).
    Path,
    /// A host name or a part of one: all other characters are refused.
    Host,
    /// A header's value: control characters, which could begin another header, are refused (RFC 9110, section 5.5).
    Header,
}

impl Escape {
    fn apply(self, place: &Placeholder, value: &str) -> Result<String> {
        let refused = |found: &str, expected: &str| {
            let error = Error::new(Code::FieldInvalid).with(Fact::Field, place);
            error.with(Fact::Found, found).with(Fact::Expected, expected)
        };
        match self {
            Self::None => Ok(value.to_owned()),
            // Dots are unreserved, but these two segments lead to another path (RFC 3986, section 5.2.4).
            Self::Path if matches!(value, "." | ".." | "") => {
                Err(refused("nothing, or a dot segment", "text that can stand in a URL's path"))
            }
            Self::Path => Ok(percent_encoded(value)),
            Self::Host
                if !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c)) =>
            {
                Ok(value.to_owned())
            }
            Self::Host => Err(refused("characters that no host name has", "a host name, without https:// and path")),
            Self::Header if value.chars().all(|c| ('\u{20}'..='\u{7e}').contains(&c)) => Ok(value.to_owned()),
            Self::Header => Err(refused("characters that no header can carry", "printable ASCII")),
        }
    }
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VarValue {
    /// Text.
    Text(String),
    /// A whole number, which stays a number in a JSON body.
    Integer(i64),
    /// A part of a JSON body.
    Json(serde_json::Value),
}

impl fmt::Display for VarValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Json(value) => write!(f, "{value}"),
        }
    }
}

/// A key at the issuer.
#[derive(Clone, Debug)]
pub struct Key {
    /// The issuer's id for it.
    pub id: Option<String>,
    /// The key itself, if it is known.
    pub secret: Option<SecretText>,
    /// Other values that came with it.
    pub fields: BTreeMap<String, SecretText>,
}

impl Expiry {
    /// The expiry of a key that lives this long from now.
    pub fn after(time: Duration) -> Self {
        Self { at: since_epoch() + time, after: time }
    }
}

impl Key {
    /// A key whose id alone is known.
    pub fn of_id(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), secret: None, fields: BTreeMap::new() }
    }
}

/// When the issuer ends a key by itself.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    /// Since the Unix epoch.
    pub at: Duration,
    /// From now.
    pub after: Duration,
}

/// The values of all placeholders in one call.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The variables.
    pub vars: &'a BTreeMap<String, VarValue>,
    /// The admin secret's fields.
    pub admin: &'a BTreeMap<String, SecretText>,
    /// The key that the call is about.
    pub key: Option<&'a Key>,
    /// The new key's name.
    pub name: Option<&'a str>,
    /// The beginning of the names of this secret's keys.
    pub name_prefix: &'a str,
    /// The previous key's expiry.
    pub grace: Option<Expiry>,
    /// The new key's expiry.
    pub lifetime: Option<Expiry>,
}

impl Scope<'_> {
    /// The value of a variable.
    pub fn var(&self, name: &str) -> Option<&VarValue> {
        self.vars.get(name)
    }

    /// The value of a placeholder.
    ///
    /// # Errors
    /// [`Code::FieldMissing`], with the placeholder.
    pub fn value(&self, place: &Placeholder) -> Result<SecretText> {
        let found = match place {
            Placeholder::Var(name) => self.vars.get(name).map(|value| value.to_string().into()),
            Placeholder::Admin(name) => self.admin.get(name).cloned(),
            Placeholder::KeyId => self.key.and_then(|key| key.id.as_deref()).map(SecretText::from),
            Placeholder::KeySecret => self.key.and_then(|key| key.secret.clone()),
            Placeholder::KeyField(name) => self.key.and_then(|key| key.fields.get(name).cloned()),
            Placeholder::Name => self.name.map(SecretText::from),
            Placeholder::NamePrefix => Some(self.name_prefix.into()),
            Placeholder::Grace(moment) => self.grace.map(|end| moment.of(end).into()),
            Placeholder::Lifetime(moment) => self.lifetime.map(|end| moment.of(end).into()),
        };
        found.ok_or_else(|| Error::new(Code::FieldMissing).with(Fact::Field, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_do_not_exist_are_refused() {
        for (text, mistake) in [
            ("{{vars.a", "`{{` without `}}`"),
            ("a}}", "`}}` without `{{`"),
            ("{{secret}}", "`{{secret}}` is unknown"),
            ("{{key.}}", "`` is no name of a field"),
            ("{{vars.a b}}", "`a b` is no name of a field"),
            ("{{grace.days}}", "`{{grace.days}}` is unknown"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.starts_with(mistake), "{text}: {error}");
        }
    }

    fn filled(template: &str, value: &str, escape: Escape) -> Result<String> {
        let vars = BTreeMap::from([("x".to_owned(), VarValue::Text(value.to_owned()))]);
        let scope = Scope {
            vars: &vars,
            admin: &BTreeMap::new(),
            key: None,
            name: None,
            name_prefix: "lockstep-",
            grace: None,
            lifetime: None,
        };
        Template::parse(template).unwrap().fill(&scope, escape).map(|text| text.expose().to_owned())
    }

    #[test]
    fn a_value_cannot_leave_its_position() {
        assert_eq!(filled("/k/{{vars.x}}/z", "a/b?c#d%e", Escape::Path).unwrap(), "/k/a%2Fb%3Fc%23d%25e/z");
        for dots in ["..", ".", ""] {
            assert_eq!(filled("/k/{{vars.x}}", dots, Escape::Path).unwrap_err().code(), Code::FieldInvalid);
        }
        for evil in ["a\r\nHost: b", "a\0", "ü"] {
            assert_eq!(filled("{{vars.x}}", evil, Escape::Header).unwrap_err().code(), Code::FieldInvalid);
        }
        for evil in ["evil.com/", "a@evil.com", "evil.com#", "evil.com?", "a b", "evil.com\\", ""] {
            assert_eq!(filled("api.{{vars.x}}", evil, Escape::Host).unwrap_err().code(), Code::FieldInvalid, "{evil}");
        }
    }

    #[test]
    fn what_has_no_value_is_named() {
        let error = filled("{{admin.token}}", "", Escape::None).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldMissing, Some("admin.token")));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}|[{}a-z. ]{0,40}") {
            if let Ok(template) = Template::parse(&text) {
                // Its text gives the same template.
                prop_assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
            }
        }

        #[test]
        fn a_path_segment_stays_one_segment(value in "\\PC{1,40}") {
            let filled = filled("/a/{{vars.x}}", &value, Escape::Path);
            prop_assume!(filled.is_ok());
            let url = url::Url::parse(&format!("https://h{}", filled.unwrap())).unwrap();
            prop_assert_eq!(url.path_segments().unwrap().count(), 2);
            prop_assert!(url.query().is_none() && url.fragment().is_none());
            prop_assert_eq!(url.host_str(), Some("h"));
        }
    }
}
