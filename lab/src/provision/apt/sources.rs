//! The mirrors of Debian in the machine's own apt sources, in both formats of sources.list(5).

use std::fs;
use std::path::{Path, PathBuf};

/// A mirror of Debian, with what the machine's owner said about trusting it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    uri: String,
    /// Options that go with the mirror and not with a release, in deb822 spelling.
    options: Vec<(&'static str, String)>,
}

/// The options worth carrying over; the others choose releases, components or architectures.
const OPTIONS: [(&str, &str); 4] = [
    ("signed-by", "Signed-By"),
    ("trusted", "Trusted"),
    ("check-valid-until", "Check-Valid-Until"),
    ("by-hash", "By-Hash"),
];

impl Mirror {
    /// The mirror in a progress line. A user name and password in it are left out.
    pub(super) fn shown(&self) -> &str {
        match (self.uri.split_once("://"), self.uri.rsplit_once('@')) {
            (Some(_), Some((_, rest))) => rest,
            (Some((_, rest)), None) => rest,
            (None, _) => &self.uri,
        }
    }

    /// The text of a `.sources` file for another release.
    pub(super) fn stanza(&self, suite: &str, architecture: &str) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: {architecture}\n",
            self.uri
        );
        for (name, value) in &self.options {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text
    }
}

/// The mirrors that this machine's apt uses, the likeliest first.
pub(super) fn of_this_machine() -> Vec<Mirror> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path()));
    files.sort();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let entries = files.iter().flat_map(|path| parse(path, &fs::read_to_string(path).unwrap_or_default())).collect();
    mirrors(entries, release.lines().any(|line| line == "ID=debian"))
}

/// One source of binary packages.
#[derive(Debug, Default)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    options: Vec<(&'static str, String)>,
}

/// Sorts out Debian's own archive. A release without `-` or `/` in its name excludes `bookworm-security`, whose mirror has
/// nothing else, and other parties' `bookworm-pgdg`. Of the rest, on a machine that is not Debian, only what says so counts.
fn mirrors(entries: Vec<Entry>, is_debian: bool) -> Vec<Mirror> {
    let mut found = Vec::new();
    for entry in entries {
        let main = entry.components.iter().any(|component| component == "main");
        if !main || !entry.suites.iter().any(|suite| !suite.contains(['-', '/'])) {
            continue;
        }
        let keyring = entry.options.iter().any(|(_, value)| value.contains("debian-archive"));
        for uri in entry.uris.into_iter().filter(|uri| !uri.starts_with("cdrom:")) {
            let last_segment = uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let likeness = u8::from(keyring) + u8::from(last_segment.contains("debian") || uri.contains("/debian/"));
            if likeness > 0 || is_debian {
                found.push((likeness, Mirror { uri, options: entry.options.clone() }));
            }
        }
    }
    found.sort_by_key(|(likeness, _)| std::cmp::Reverse(*likeness));
    let mut mirrors: Vec<Mirror> = found.into_iter().map(|(_, mirror)| mirror).collect();
    mirrors.dedup();
    mirrors
}

fn parse(path: &Path, text: &str) -> Vec<Entry> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("list") => text.lines().filter_map(one_line).collect(),
        Some("sources") => paragraphs(text).iter().filter_map(|fields| deb822(fields)).collect(),
        _ => Vec::new(),
    }
}

/// `deb [ option=value … ] uri suite component…`
fn one_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let mut options = Vec::new();
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']')?;
        let pairs = inside.split_whitespace().filter_map(|option| option.split_once('='));
        options = pairs.filter_map(|(name, value)| carried(name, value)).collect();
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Entry { uris: vec![uri], suites: vec![suite], components: words.collect(), options })
}

type Fields = Vec<(String, String)>;

/// The paragraphs of a deb822 file. A continued line keeps its indentation: a key in `Signed-By` needs it.
fn paragraphs(text: &str) -> Vec<Fields> {
    let mut paragraphs: Vec<Fields> = vec![Fields::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            paragraphs.push(Fields::new());
            continue;
        }
        let Some(fields) = paragraphs.last_mut() else { continue };
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    paragraphs
}

fn deb822(fields: &[(String, String)]) -> Option<Entry> {
    let words = |wanted: &str| -> Vec<String> {
        let values = fields.iter().filter(|(name, _)| name == wanted).flat_map(|(_, value)| value.split_whitespace());
        values.map(str::to_owned).collect()
    };
    let disabled = words("enabled").iter().any(|value| ["no", "false", "0"].contains(&value.as_str()));
    if disabled || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    let options = fields.iter().filter_map(|(name, value)| carried(name, value)).collect();
    Some(Entry { uris: words("uris"), suites: words("suites"), components: words("components"), options })
}

fn carried(name: &str, value: &str) -> Option<(&'static str, String)> {
    let (_, spelling) = OPTIONS.iter().find(|(option, _)| option.eq_ignore_ascii_case(name))?;
    Some((spelling, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str, is_debian: bool) -> Vec<Mirror> {
        mirrors(parse(Path::new(name), text), is_debian)
    }

    #[test]
    fn deb822_with_comments_several_releases_and_a_security_archive() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
            Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
            Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
            Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n";
        let mirrors = found("debian.sources", text, true);
        assert_eq!(mirrors.len(), 1, "{mirrors:?}");
        assert_eq!(
            mirrors[0].stanza("sid", "amd64"),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\nArchitectures: amd64\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
    }

    #[test]
    fn a_key_within_the_source_is_carried_over_whole() {
        let key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n -----END PGP PUBLIC KEY BLOCK-----";
        let text =
            format!("Types: deb\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\nSigned-By:{key}\n");
        let mirrors = found("a.sources", &text, true);
        assert!(mirrors[0].stanza("sid", "arm64").contains(&format!("Signed-By: {key}\n")), "{mirrors:?}");
    }

    #[test]
    fn one_line_format_with_and_without_options() {
        let text = "# deb http://off.example/debian bookworm main\n\
            deb-src http://src.example/debian bookworm main\n\
            deb [arch=amd64 trusted=yes signed-by=/k.gpg] http://a.example/debian/ bookworm main non-free # why\n\
            deb http://b.example/packages bookworm main\n\
            deb cdrom:[Debian]/ bookworm main\n\
            deb http://c.example/apt bookworm-pgdg main\n";
        let mirrors = found("sources.list", text, true);
        let uris: Vec<&str> = mirrors.iter().map(|mirror| mirror.uri.as_str()).collect();
        assert_eq!(uris, ["http://a.example/debian/", "http://b.example/packages"]);
        let stanza = mirrors[0].stanza("sid", "amd64");
        assert!(stanza.contains("\nTrusted: yes\nSigned-By: /k.gpg\n"), "{stanza}");
    }

    #[test]
    fn another_distribution_has_no_mirror_of_debian_unless_it_says_so() {
        let text = "deb http://archive.example/ubuntu noble main\ndeb https://other.example/linux noble main\n";
        assert_eq!(found("sources.list", text, false), []);
        let text = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://m.example/x sid main\n";
        assert_eq!(found("sources.list", text, false).len(), 1);
    }

    #[test]
    fn a_disabled_file_and_one_of_another_kind_are_not_read() {
        assert_eq!(found("debian.list.save", "deb http://a.example/debian bookworm main\n", true), []);
    }

    #[test]
    fn a_password_in_a_mirror_is_not_shown() {
        let mirrors = found("sources.list", "deb https://me:hunter2@a.example/debian bookworm main\n", true);
        assert_eq!(mirrors[0].shown(), "a.example/debian");
        assert!(mirrors[0].stanza("sid", "amd64").contains("hunter2"));
    }
}
