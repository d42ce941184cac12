//! The container engine of this machine, Docker or Podman, as far as its network goes.
//!
//! It is asked over the socket that SAM uses as well: `DOCKER_HOST`, or else Docker's usual one.
//! Source: Docker Engine API, "SystemInfo" and "NetworkList". Podman answers the same requests.

use super::Subnet;
use serde_json::Value;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Where Docker listens unless told otherwise.
const USUAL_SOCKET: &str = "/var/run/docker.sock";
/// An engine that Podman's socket starts first takes a second or two.
const LIMIT: Duration = Duration::from_secs(20);
/// The answers have some kilobytes.
const MAX_ANSWER: u64 = 4 << 20;
/// Docker's name for its usual network, which Podman uses here, too, and Podman's own.
const USUAL_NETWORKS: [&str; 2] = ["bridge", "podman"];

/// The network that containers are in unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// This machine's address in it.
    pub gateway: Ipv4Addr,
    /// The addresses of its containers.
    pub containers: Subnet,
}

/// Why the bridge's address is not known, as one line for the person who asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers at the socket.
    #[error(
        "no container engine answers at {socket} ({found}): install Docker, or Podman with DOCKER_HOST=unix:///run/podman/podman.sock"
    )]
    NoEngine {
        /// The socket's path.
        socket: String,
        /// What happened there.
        found: String,
    },
    /// The engine is elsewhere, or spoken to in another way.
    #[error(
        "DOCKER_HOST names no socket of this machine: give the address at which its containers reach this machine, as --for-containers=ADDRESS"
    )]
    Elsewhere,
    /// The bridge of such an engine is in a network of its own, which this machine does not see.
    #[error(
        "the container engine runs without root, so its bridge is not on this machine: use one that runs as root, or give an address of this machine that its containers reach, as --for-containers=ADDRESS"
    )]
    Rootless,
    /// The engine's answer has no such network.
    #[error(
        "the container engine has no usual IPv4 network: give the address at which containers reach this machine, as --for-containers=ADDRESS"
    )]
    NoBridge,
}

/// Asks the engine for its usual network.
///
/// # Errors
/// [`Error`].
pub async fn bridge() -> Result<Bridge, Error> {
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    bridge_at(&socket(host.as_deref())?).await
}

fn socket(docker_host: Option<&str>) -> Result<PathBuf, Error> {
    match docker_host.map(|host| host.strip_prefix("unix://")) {
        None => Ok(USUAL_SOCKET.into()),
        Some(Some(path)) => Ok(path.into()),
        Some(None) => Err(Error::Elsewhere),
    }
}

async fn bridge_at(socket: &Path) -> Result<Bridge, Error> {
    let no_engine = |error: io::Error| {
        let found = match error.kind() {
            io::ErrorKind::PermissionDenied => "you may not use it".to_owned(),
            io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            _ => error.to_string(),
        };
        Error::NoEngine { socket: socket.display().to_string(), found }
    };
    if is_rootless(&get(socket, "/info").await.map_err(no_engine)?) {
        return Err(Error::Rootless);
    }
    usual_network(&get(socket, "/networks").await.map_err(no_engine)?).ok_or(Error::NoBridge)
}

fn is_rootless(info: &Value) -> bool {
    let options = info.get("SecurityOptions").and_then(Value::as_array);
    options.into_iter().flatten().any(|option| option.as_str().is_some_and(|option| option.contains("name=rootless")))
}

fn usual_network(networks: &Value) -> Option<Bridge> {
    let networks = networks.as_array()?;
    let named = |name: &&str| networks.iter().find(|network| network.get("Name").is_some_and(|it| it == *name));
    let network = USUAL_NETWORKS.iter().find_map(named)?;
    network.pointer("/IPAM/Config")?.as_array()?.iter().find_map(|range| {
        let text = |key: &str| range.get(key).and_then(Value::as_str);
        let containers: Subnet = text("Subnet")?.parse().ok()?;
        let gateway = match text("Gateway") {
            Some(gateway) => gateway.parse().ok()?,
            None => containers.usual_gateway(),
        };
        Some(Bridge { gateway, containers })
    })
}

/// What the engine answers. In HTTP/1.0, whose answers end with the connection.
async fn get(socket: &Path, path: &str) -> io::Result<Value> {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in 20 s");
    let answer = tokio::time::timeout(LIMIT, ask).await.map_err(late)??;
    body(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer cannot be read"))
}

/// The JSON of a good answer.
fn body(answer: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    (status == "200").then(|| serde_json::from_str(body).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::net::UnixListener;

    fn network(name: &str, config: &Value) -> Value {
        json!({"Name": name, "IPAM": {"Config": config}})
    }

    #[test]
    fn the_usual_network_is_found_under_both_names() {
        let other = network("mine", &json!([{"Subnet": "172.20.0.0/16", "Gateway": "172.20.0.1"}]));
        let docker = network("bridge", &json!([{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.9"}]));
        let podman = network("podman", &json!([{"Subnet": "fd00::/64"}, {"Subnet": "10.88.0.0/16"}]));
        let found = |networks: &[&Value]| usual_network(&json!(networks)).map(|it| it.gateway.to_string());
        assert_eq!(found(&[&other, &docker]).as_deref(), Some("172.17.0.9"));
        assert_eq!(found(&[&other, &podman]).as_deref(), Some("10.88.0.1"));
        assert_eq!(found(&[&other]), None);
        assert_eq!(found(&[&network("bridge", &json!([]))]), None);
    }

    #[test]
    fn only_a_socket_of_this_machine_is_asked() {
        assert_eq!(socket(None).unwrap(), Path::new(USUAL_SOCKET));
        assert_eq!(socket(Some("unix:///run/podman/podman.sock")).unwrap(), Path::new("/run/podman/podman.sock"));
        for host in ["tcp://10.0.0.1:2375", "ssh://me@there"] {
            assert!(matches!(socket(Some(host)), Err(Error::Elsewhere)), "{host}");
        }
    }

    /// An engine that answers `info`, and one network.
    async fn answer(info: Value) -> Result<Bridge, Error> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 256];
                let read = stream.read(&mut request).await.unwrap();
                let asked = String::from_utf8_lossy(&request[..read]).into_owned();
                let body = if asked.starts_with("GET /info ") {
                    info.clone()
                } else {
                    json!([network("bridge", &json!([{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]))])
                };
                let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        bridge_at(&socket).await
    }

    #[tokio::test]
    async fn an_engine_is_asked_over_its_socket() {
        let bridge = answer(json!({"SecurityOptions": ["name=seccomp,profile=default"]})).await.unwrap();
        assert_eq!((bridge.gateway, bridge.containers.to_string().as_str()), ([172, 17, 0, 1].into(), "172.17.0.0/16"));
        let rootless = answer(json!({"SecurityOptions": ["name=seccomp", "name=rootless"]})).await.unwrap_err();
        assert!(matches!(rootless, Error::Rootless));
    }

    #[tokio::test]
    async fn without_an_engine_one_line_says_what_to_install() {
        let directory = tempfile::tempdir().unwrap();
        let text = bridge_at(&directory.path().join("none.sock")).await.unwrap_err().to_string();
        assert!(text.contains("none.sock (there is no such socket): install Docker, or Podman"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
