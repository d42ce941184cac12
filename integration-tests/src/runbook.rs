//! The pages of `docs/runbooks`, and playing them in a lab as a reader would type them.
//!
//! A page is Markdown. Comments, which no reader sees, say what the lab does:
//!
//! * `<!-- lab: NAME -->`: from here to the next one, the blocks are one session in the situation of this name
//! * `<!-- not run: REASON -->`: the next block cannot run in the lab
//! * `<!-- not run: REASON; in the lab: NAME -->`: the same, and the test does something else in its place
//!
//! `sh` blocks are commands. A `text` block right after one is what that prints, and one before the first is what the function has
//! said by then; `…` stands for anything.

use crate::program;
use lab::servers::mysql::MySql;
use lab::servers::postgres::Postgres;
use lab::{Lab, provision};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// A session takes up to forty starts of the AWS CLI, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Begins the output of each block. No block prints it.
const MARK: &str = "@@ block ";

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its sessions.
    pub sessions: Vec<Session>,
    /// Where blocks are that are not run, and why.
    pub skipped: Vec<(String, String)>,
}

/// What a reader types in one situation.
#[derive(Debug)]
pub struct Session {
    /// The situation's name.
    pub situation: String,
    /// What the function has said before.
    said: Vec<Text>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Commands {
        commands: Text,
        prints: Option<Text>,
    },
    /// The test does this.
    Instead(String),
}

/// What stands in a block, and the page and line where.
#[derive(Debug)]
struct Text {
    at: String,
    text: String,
}

impl Page {
    /// Reads a page.
    ///
    /// # Panics
    /// A block or comment is of no kind that is known here, or a command is in no situation.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut reading =
            Reading { page: Self { sessions: Vec::new(), skipped: Vec::new() }, not_run: None, fresh: false };
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let at = format!("{name}:{}", number + 1);
            if let Some(language) = line.strip_prefix("```") {
                let block: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
                reading.block(language, Text { at, text: block.join("\n") });
            } else if let Some(comment) = line.strip_prefix("<!--") {
                reading.comment(comment.trim_end_matches("-->").trim(), &at);
            } else if !line.trim().is_empty() {
                assert!(reading.not_run.is_none(), "{at}: the comment above has no block");
                reading.fresh = false;
            }
        }
        reading.page
    }
}

impl Page {
    /// The lines of a page's commands, without those of the blocks that are not run.
    ///
    /// # Panics
    /// There is no page.
    pub fn commands(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (mut commands, mut skip, mut lines) = (Vec::new(), false, text.lines());
        while let Some(line) = lines.next() {
            if line.starts_with("```") {
                let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
                if line == "```sh" && !skip {
                    commands.extend(block);
                }
                skip = false;
            } else if line.starts_with("<!-- not run: ") {
                skip = true;
            }
        }
        commands
    }
}

struct Reading {
    page: Page,
    /// The reason for which the next block is not run.
    not_run: Option<String>,
    /// Whether the last thing read was a command that ran.
    fresh: bool,
}

impl Reading {
    fn comment(&mut self, comment: &str, at: &str) {
        if let Some(situation) = comment.strip_prefix("lab: ") {
            let situation = situation.to_owned();
            self.page.sessions.push(Session { situation, said: Vec::new(), steps: Vec::new() });
        } else if let Some(reason) = comment.strip_prefix("not run: ") {
            self.not_run = Some(reason.to_owned());
        } else {
            panic!("{at}: what does {comment:?} mean?");
        }
    }

    fn block(&mut self, language: &str, block: Text) {
        match (language, self.not_run.take()) {
            ("sh", None) => {
                self.session(&block).steps.push(Step::Commands { commands: block, prints: None });
                self.fresh = true;
            }
            ("sh", Some(reason)) => {
                let (reason, instead) = reason.split_once("; in the lab: ").unwrap_or((&reason, ""));
                if !instead.is_empty() {
                    self.session(&block).steps.push(Step::Instead(instead.to_owned()));
                }
                self.page.skipped.push((block.at, reason.to_owned()));
                self.fresh = false;
            }
            ("text", None) => self.text(block),
            _ => panic!("{}: no block of {language:?} can be here", block.at),
        }
    }

    fn text(&mut self, block: Text) {
        let fresh = std::mem::take(&mut self.fresh);
        let session = self.session(&block);
        match session.steps.last_mut() {
            Some(Step::Commands { prints, .. }) if fresh => *prints = Some(block),
            None => session.said.push(block),
            Some(_) => panic!("{}: nothing prints this", block.at),
        }
    }

    fn session(&mut self, block: &Text) -> &mut Session {
        self.page.sessions.last_mut().unwrap_or_else(|| panic!("{}: in no situation", block.at))
    }
}

/// Plays a session to its end, in a lab that a situation has been arranged in.
pub struct Play<'a> {
    session: &'a Session,
    lab: &'a Lab,
    secret: &'a str,
    said: String,
    mysql: Option<&'a MySql>,
    variables: Vec<(String, String)>,
    directory: TempDir,
}

impl<'a> Play<'a> {
    /// A session about this secret.
    pub fn new(session: &'a Session, lab: &'a Lab, secret: &'a str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let name = lab.function_arn().rsplit(':').next().unwrap_or_default().to_owned();
        let play = Self { session, lab, secret, said: String::new(), mysql: None, variables: Vec::new(), directory };
        // What the reader names; the pages find their files from the project's directory.
        std::os::unix::fs::symlink(docs(), play.directory.path().join("docs")).expect("the link is made");
        play.set("SECRET", secret).set("FUNCTION", &name)
    }

    /// A reader who has an alarm's mail, and nothing else: the secret has to be found.
    #[must_use]
    pub fn woken(mut self) -> Self {
        self.variables.retain(|(name, _)| name != "SECRET");
        self
    }

    /// What the function has said before.
    #[must_use]
    pub fn said(mut self, message: &str) -> Self {
        message.clone_into(&mut self.said);
        self
    }

    /// A variable of the reader's.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file in the reader's directory.
    #[must_use]
    pub fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.directory.path().join(name), content).expect("the file is written");
        self
    }

    /// The server whose superuser the reader is, in psql.
    #[must_use]
    pub fn psql(self, server: &Postgres) -> Self {
        let (port, user) = (server.port(), server.superuser());
        let ca = self.directory.path().join("server-ca.pem");
        let ca = ca.display();
        let admin =
            format!("host=localhost port={port} user={user} dbname=postgres sslmode=verify-full sslrootcert={ca}");
        self.file("server-ca.pem", server.ca_pem())
            .set("ADMIN", &admin)
            .set("PGPASSWORD", server.superuser_password().expose())
    }

    /// The server whose superuser the reader is, in mysql.
    #[must_use]
    pub fn mysql(mut self, server: &'a MySql) -> Self {
        self.mysql = Some(server);
        self
    }

    /// Types everything. `terminal` is what the reader has typed before, and `instead` does by its name what the lab has in place
    /// of a block; what it returns is typed.
    ///
    /// # Panics
    /// The function has not said, or a block does not print, what stands there; a command fails; a credential was printed.
    pub async fn play(self, terminal: &Session, instead: impl AsyncFn(&str) -> String) {
        let at = &self.session.situation;
        for said in &self.session.said {
            stands_in(said, &self.said);
        }
        assert!(!self.session.steps.is_empty(), "{at}: nothing is typed");
        let script = self.script(terminal);
        let mut command = self.command(&script).await;
        let output = tokio::select! {
            output = command.output() => output.expect("bash runs"),
            never = self.answer(&instead) => match never {},
            () = tokio::time::sleep(PATIENCE) => panic!("{at}: it does not end"),
        };
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        let log = self.lab.function_output();
        assert!(output.status.success(), "{at}: {}\n{printed}\n{complained}\n{log}", output.status);
        self.check(&printed, &complained);
        self.gives_nothing_away(&(printed + &complained));
    }

    /// Each block after its mark, in one shell, which ends at the first command that fails.
    fn script(&self, terminal: &Session) -> String {
        let mut script = PRELUDE.to_owned();
        for (number, step) in terminal.steps.iter().chain(&self.session.steps).enumerate() {
            match step {
                Step::Commands { commands, .. } => {
                    // The function in the page is the example's.
                    let lines = commands.text.lines().filter(|line| !line.starts_with("export FUNCTION="));
                    let commands = lines.collect::<Vec<_>>().join("\n");
                    script += &format!("\nprintf '\\n%s\\n' '{MARK}{number}'\n{commands}\n");
                }
                Step::Instead(name) => script += &format!("\nprintf '\\n%s\\n' '{MARK}{number}'\ninstead {name}\n"),
            }
        }
        script
    }

    async fn command(&self, script: &str) -> Command {
        let directory = self.directory.path();
        // Version 2 of the AWS CLI takes raw payloads if it is told to, and version 1 always.
        let config = directory.join("config");
        fs::write(&config, "[default]\ncli_binary_format = raw-in-base64-out\n").expect("the file is written");
        fs::write(directory.join("script.sh"), script).expect("the script is written");
        let mut command = Command::from(program("bash"));
        command.arg("script.sh").current_dir(directory).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("PATH", search_path().await).env("AWS_CONFIG_FILE", config).env("AWS_ENDPOINT_URL", self.lab.url());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Answers what the session asks of the test: SQL for `mysql`, of which no client comes with the server, and what is done
    /// instead of a block.
    async fn answer(&self, instead: &impl AsyncFn(&str) -> String) -> Infallible {
        let file = |name: &str| self.directory.path().join(name);
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let answer = if let Ok(sql) = fs::read_to_string(file("asked-sql")) {
                fs::remove_file(file("asked-sql")).expect("the file is removed");
                self.sql(&sql, OnError::Stop).await
            } else if let Ok(sql) = fs::read_to_string(file("asked-sql-force")) {
                fs::remove_file(file("asked-sql-force")).expect("the file is removed");
                self.sql(&sql, OnError::GoOn).await
            } else if let Ok(arguments) = fs::read_to_string(file("asked-log")) {
                fs::remove_file(file("asked-log")).expect("the file is removed");
                self.log(arguments.trim_end())
            } else if let Ok(name) = fs::read_to_string(file("asked-instead")) {
                fs::remove_file(file("asked-instead")).expect("the file is removed");
                instead(name.trim()).await
            } else if file("asked-sleep").exists() {
                fs::remove_file(file("asked-sleep")).expect("the file is removed");
                self.rotations_end().await;
                String::new()
            } else {
                continue;
            };
            fs::write(file("answer.part"), answer).expect("the answer is written");
            fs::rename(file("answer.part"), file("answer")).expect("the answer is there");
        }
    }

    /// What CloudWatch Logs answers to `filter-log-events` with a pattern of `?TERM`s: the lines that contain one of them.
    fn log(&self, arguments: &str) -> String {
        let (_, pattern) = arguments.split_once("--filter-pattern ").expect("a pattern, as the last argument");
        let terms: Vec<_> = pattern.split(" ?").map(|term| term.trim_start_matches('?').trim_matches('"')).collect();
        assert!(pattern.starts_with('?') && terms.len() > 1, "{pattern:?} is no list of terms");
        let log = self.lab.function_output();
        let lines = log.lines().filter(|line| terms.iter().any(|term| line.contains(term)));
        json!({"events": lines.map(|line| json!({"message": line})).collect::<Vec<_>>()}).to_string()
    }

    /// Waits until no secret is being rotated.
    async fn rotations_end(&self) {
        let listed = self.lab.call("ListSecrets", json!({"MaxResults": 100})).await.expect("the secrets are listed");
        for secret in listed["SecretList"].as_array().expect("a list") {
            self.lab.service().wait_rotation(secret["ARN"].as_str().expect("an ARN")).await;
        }
    }

    /// What `mysql --batch` does, as a script: prints the rows of all statements, and what is wrong with one.
    async fn sql(&self, statements: &str, on_error: OnError) -> String {
        let server = self.mysql.unwrap_or_else(|| panic!("{}: there is no MySQL", self.session.situation));
        let mut script = String::new();
        for statement in statements.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
            match server.rows(statement).await {
                Ok(rows) => {
                    for row in rows {
                        let row: Vec<_> = row.into_iter().map(|it| it.unwrap_or_else(|| "NULL".to_owned())).collect();
                        script += &format!("printf '%s\\n' {}\n", quoted(&row.join("\t")));
                    }
                }
                Err(error) => {
                    let error = with_causes(&error);
                    script += &format!("printf '%s\\n' {} >&2\n", quoted(&error));
                    if on_error == OnError::Stop {
                        return script + "return 1\n";
                    }
                }
            }
        }
        script
    }

    fn check(&self, printed: &str, complained: &str) {
        let blocks: Vec<_> = printed.split(MARK).collect();
        // What the terminal's blocks print is of no interest: the session's own are the last ones.
        for (step, block) in self.session.steps.iter().rev().zip(blocks.into_iter().rev()) {
            let block = block.split_once('\n').map_or("", |(_, block)| block);
            if let Step::Commands { prints: Some(prints), .. } = step {
                stands_in(prints, &format!("{block}\n{complained}"));
            }
        }
    }

    /// No credential of the secret, and no password of the superuser, was shown.
    fn gives_nothing_away(&self, shown: &str) {
        let at = &self.session.situation;
        let versions = self.lab.service().labels(self.secret).unwrap_or_default();
        let values = versions.keys().filter_map(|version| self.lab.service().value(self.secret, version));
        let documents = values.filter_map(|value| serde_json::from_slice::<Value>(&value).ok());
        for document in documents {
            for field in ["password", "apiKey"] {
                let credential = document[field].as_str().unwrap_or("no credential");
                assert!(!shown.contains(credential), "{at}: the session shows a credential of the secret:\n{shown}");
            }
        }
        let password = self.variables.iter().find(|(name, _)| name == "PGPASSWORD");
        assert!(password.is_none_or(|(_, password)| !shown.contains(password)), "{at}: the session shows a password");
    }
}

/// What the session's shell has besides bash's own. The AWS CLI of version 1, which the lab brings, does not know an option that
/// version 2 needs; the configuration says the same. The test answers for CloudWatch Logs, from what the function printed. What a reader
/// waits for is the end of a rotation.
const PRELUDE: &str = r#"
set -euo pipefail
aws() {
    local arguments=()
    while (($# > 0)); do
        case $1 in
            --cli-binary-format) shift ;;
            *) arguments+=("$1") ;;
        esac
        shift
    done
    if [[ ${arguments[0]} == logs ]]; then
        ask log <<< "${arguments[*]}"
        cat answer
        rm answer
        return
    fi
    command aws "${arguments[@]}"
}
ask() {
    cat > "asked.part"
    mv asked.part "asked-$1"
    until [[ -e answer ]]; do command sleep 0.02; done
}
sleep() {
    ask sleep <<< "$1"
    rm answer
}
mysql() {
    local kind=sql
    [[ " $* " != *' --force '* ]] || kind=sql-force
    ask "$kind"
    mv answer answered
    source ./answered
}
instead() {
    ask instead <<< "$1"
    source ./answer
    rm answer
}
"#;

/// What `mysql` does after a statement that fails, without `--force` and with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    Stop,
    GoOn,
}

/// An error and what has caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// As one word of bash's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Where a reader's programs are: the machine's own and, where it has none, those that the lab obtains.
///
/// # Panics
/// One cannot be obtained.
pub async fn search_path() -> OsString {
    static PATH: OnceCell<(OsString, Option<Child>)> = OnceCell::const_new();
    let obtain = || -> provision::Result<(OsString, Option<Child>)> {
        let (aws, server) = loaded(&provision::aws()?);
        let mut directories = vec![aws];
        directories.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        // psql comes with the server.
        directories.push(provision::postgres(provision::Version::V15)?);
        directories.extend(provision::tools()?);
        Ok((std::env::join_paths(directories).expect("no directory has a colon in its name"), server))
    };
    let obtained =
        async || tokio::task::spawn_blocking(obtain).await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
    PATH.get_or_init(obtained).await.0.clone()
}

/// The directory of a program `aws` that does what this one does. Where Python stands beside this one, it is loaded once, by a
/// process that ends with this one.
fn loaded(aws: &Path) -> (PathBuf, Option<Child>) {
    let directory = aws.parent().unwrap_or(aws);
    let python = directory.join("python");
    if !python.exists() {
        return (directory.to_owned(), None);
    }
    let own = tempfile::tempdir().expect("a directory").keep();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/aws_cli.py");
    let (python, script) = (python.display(), script.display());
    let shim = format!("#!/bin/sh\nexec '{python}' -IS '{script}' '{}' \"$@\"\n", own.display());
    fs::write(own.join("aws"), shim).expect("the program is written");
    fs::set_permissions(own.join("aws"), Permissions::from_mode(0o755)).expect("the program is made executable");
    // It removes the directory when its input ends.
    let mut serve = program(python.to_string());
    serve.args([script.to_string().as_str(), "serve"]).arg(&own).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = serve.spawn().expect("the CLI is loaded");
    let mut ready = String::new();
    BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut ready).expect("the CLI is loaded");
    assert_eq!(ready, "ready\n");
    (own, Some(server))
}

/// Fails unless each line of a block stands in a text, in the block's order.
fn stands_in(block: &Text, text: &str) {
    let mut lines = text.lines().map(squeezed);
    for wanted in block.text.lines() {
        let wanted = squeezed(wanted);
        assert!(lines.any(|line| fits(&wanted, &line)), "{}: no {wanted:?} (any more) in:\n{text}", block.at);
    }
}

/// The project's documentation.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// One space for each run of white space, and none at the ends.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line is as a pattern says, in which `…` stands for anything.
fn fits(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else { return pattern == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    (0..=line.len()).filter_map(|from| line.get(from..)).any(|line| fits(rest, line))
}
