//! What a warm secret costs, here and with AWS's caching crate, and how much memory a secret takes.
//!
//! Both read the same value from the same Secrets Manager, a double on this machine that always answers the same.

use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_secretsmanager::{Client, Config};
use aws_secretsmanager_caching::SecretsManagerCachingClient;
use criterion::{Criterion, criterion_group, criterion_main};
use lockstep_secret::RotatingSecret;
use lockstep_secret::source::SecretsManager;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const VALUE: &str = r#"{\"engine\":\"postgres\",\"host\":\"app.cluster-c1x2y3.eu-west-1.rds.amazonaws.com\",\"port\":5432,\"username\":\"app\",\"password\":\"0123456789abcdef0123456789abcdef\",\"dbname\":\"app\"}"#;

/// Answers GetSecretValue and DescribeSecret.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer_all(stream));
        }
    });
    url
}

fn answer_all(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (mut length, mut describe) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().ok()?;
            }
            describe |= line.contains("describesecret");
            if line.is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        let id = "5767290c-d089-49ed-b97c-17086f8c9d79";
        let body = if describe {
            format!(r#"{{"ARN":"arn","Name":"app","VersionIdsToStages":{{"{id}":["AWSCURRENT"]}}}}"#)
        } else {
            format!(
                r#"{{"ARN":"arn","Name":"app","VersionId":"{id}","SecretString":"{VALUE}","VersionStages":["AWSCURRENT"],"CreatedDate":1569534789.0}}"#
            )
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    }
}

fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "bench"))
        .endpoint_url(url);
    Client::from_conf(config.build())
}

/// Runs a function in threads until this is dropped.
struct Threads(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Threads {
    fn start(number: usize, work: impl Fn() + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let (stop, work) = (Arc::clone(&stop), work.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work();
                }
            })
        };
        let threads = (0..number).map(start).collect();
        Self(stop, threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        for thread in self.1.drain(..) {
            let _ = thread.join();
        }
    }
}

fn current(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let url = service();
    let ours = runtime.block_on(RotatingSecret::builder(SecretsManager::new(client(&url), "app")).start());
    let ours = ours.expect("the secret is read");
    let size = NonZeroUsize::new(100).expect("not zero");
    let theirs = SecretsManagerCachingClient::new(client(&url), size, Duration::from_secs(300), false);
    let theirs = Arc::new(theirs.expect("a client"));
    let first = runtime.block_on(theirs.get_secret_value("app", None, None, false)).expect("the secret is read");
    let snapshot = ours.current().expect("it is fresh");
    assert_eq!(first.secret_string.as_deref(), Some(snapshot.text().expose()));

    let mut group = criterion.benchmark_group("a warm secret");
    group.bench_function("lockstep-secret: current()", |bencher| bencher.iter(|| black_box(ours.current())));
    group.bench_function("lockstep-secret: the password", |bencher| {
        bencher.iter(|| ours.current().expect("it is fresh").password().map(str::len));
    });
    let theirs_in_loop = |times: u64| {
        runtime.block_on(async {
            let began = Instant::now();
            for _ in 0..times {
                black_box(theirs.get_secret_value("app", None, None, false).await.expect("it is cached"));
            }
            began.elapsed()
        })
    };
    group.bench_function("aws_secretsmanager_caching: get_secret_value()", |bencher| {
        bencher.iter_custom(theirs_in_loop)
    });
    {
        let reading = ours.clone();
        let _readers = Threads::start(1, move || drop(black_box(reading.current())));
        group.bench_function("lockstep-secret: current(), and a thread that reads", |bencher| {
            bencher.iter(|| black_box(ours.current()));
        });
    }
    {
        let (reading, runtime_handle) = (Arc::clone(&theirs), runtime.handle().clone());
        let _readers = Threads::start(1, move || {
            let _ = black_box(runtime_handle.block_on(reading.get_secret_value("app", None, None, false)));
        });
        group.bench_function("aws_secretsmanager_caching: get_secret_value(), and a thread that reads", |bencher| {
            bencher.iter_custom(theirs_in_loop);
        });
    }
    group.finish();
    memory(&runtime, &url);
}

/// The growth of the process's memory by many secrets that share a client.
fn memory(runtime: &Runtime, url: &str) {
    const SECRETS: usize = 2000;
    let client = client(url);
    let start = async |client: Client| RotatingSecret::builder(SecretsManager::new(client, "app")).start().await;
    let mut secrets = Vec::with_capacity(SECRETS);
    // The first ones fill what all share.
    runtime.block_on(async {
        for _ in 0..100 {
            secrets.push(start(client.clone()).await.expect("the secret is read"));
        }
    });
    let before = resident();
    runtime.block_on(async {
        for _ in 100..SECRETS {
            secrets.push(start(client.clone()).await.expect("the secret is read"));
        }
    });
    let bytes = resident().saturating_sub(before) * 1024 / (SECRETS - 100);
    println!(
        "memory: {bytes} bytes for each secret with a value of {} bytes, its refresher included",
        secrets[0].current().expect("it is fresh").text().expose().len()
    );
}

/// Resident memory in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

criterion_group!(benches, current);
criterion_main!(benches);
