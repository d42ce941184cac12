//! A database server that means harm: a real one, and between it and the function somebody with the server's own certificate, who
//! changes what it says. So every phase of a conversation is reached, SCRAM with channel binding included.

mod frames;
mod plan;

pub use frames::Protocol;
pub use plan::{Kind, MARKER, Place, Plan};

use frames::Frames;
use lab::servers::certificates::Certificate;
use plan::{Act, Change};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// PostgreSQL's request for TLS (manual, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// A flood ends by itself after so many bytes: a client that reads on has no limit.
const FLOOD: usize = 1 << 30;
/// For how long a connection stays open after its last byte.
const LINGER: Duration = Duration::from_millis(50);

/// Somebody between a function and a server. Dropped, it is gone.
pub struct Hostile {
    /// Where it listens.
    pub port: u16,
    plan: Arc<Mutex<Option<Plan>>>,
    done: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Hostile {
    /// In front of a server that has this certificate.
    pub async fn start(server: u16, protocol: Protocol, certificate: &Certificate) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (plan, done) = (Arc::<Mutex<Option<Plan>>>::default(), Arc::<Mutex<usize>>::default());
        let (acceptor, connector) = tls(certificate);
        let (plans, count) = (Arc::clone(&plan), Arc::clone(&done));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let plan = plans.lock().expect("nobody panicked").clone();
                let connection = Connection {
                    protocol,
                    acceptor: acceptor.clone(),
                    connector: connector.clone(),
                    change: Change::of(plan, protocol),
                    done: Arc::clone(&count),
                };
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                        let _ = connection.carry(client, server).await;
                    }
                });
            }
        });
        Self { port, plan, done, task }
    }

    /// What happens to connections from now on; nothing without a plan.
    pub fn set(&self, plan: Option<Plan>) {
        *self.plan.lock().expect("nobody panicked") = plan;
    }

    /// How often a plan was carried out.
    pub fn done(&self) -> usize {
        *self.done.lock().expect("nobody panicked")
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    protocol: Protocol,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    change: Change,
    done: Arc<Mutex<usize>>,
}

impl Connection {
    async fn carry(mut self, mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
        let mut asked = [0; 8];
        match self.protocol {
            Protocol::Postgres => {
                client.read_exact(&mut asked).await?;
                server.write_all(&SSL_REQUEST).await?;
                let agreed = server.read_u8().await?;
                client.write_all(&[agreed]).await?;
            }
            Protocol::MySql => {
                let mut frames = Frames::new(self.protocol);
                let greeting = frames.next(&mut server).await?;
                self.pass(&mut client, greeting).await?;
                let asked = Frames::new(self.protocol).next(&mut client).await?;
                server.write_all(&asked).await?;
            }
        }
        let client = self.acceptor.accept(client).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let server = self.connector.connect(name, server).await?;
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let up = async {
            tokio::io::copy(&mut from_client, &mut to_server).await?;
            Err(io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        let mut frames = Frames::new(self.protocol);
        let down = async {
            loop {
                let frame = frames.next(&mut from_server).await?;
                self.pass(&mut to_client, frame).await?;
            }
        };
        // The server gets to know that the client is gone, and ends its locks.
        let ended = tokio::select! { ended = down => ended, ended = up => ended };
        tokio::time::sleep(LINGER).await;
        ended
    }

    /// Passes a frame of the server on, or what the plan makes of it.
    async fn pass(&mut self, client: &mut (impl AsyncWrite + Unpin), frame: Vec<u8>) -> io::Result<()> {
        let acts = self.change.of_frame(&frame);
        if self.change.is_done() {
            *self.done.lock().expect("nobody panicked") += 1;
        }
        for act in acts {
            match act {
                Act::Send(bytes) => {
                    client.write_all(&bytes).await?;
                    client.flush().await?;
                }
                Act::Flood(mut more) => {
                    let mut sent = 0;
                    while sent < FLOOD {
                        let bytes = more();
                        client.write_all(&bytes).await?;
                        sent += bytes.len();
                    }
                }
                Act::Close => return Err(io::Error::other("as planned")),
            }
        }
        Ok(())
    }
}

fn tls(certificate: &Certificate) -> (TlsAcceptor, TlsConnector) {
    let chain = CertificateDer::pem_slice_iter(certificate.cert_pem().as_bytes()).map(|it| it.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem().as_bytes()).expect("a key");
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(certificate.ca_pem().as_bytes()).flatten());
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)))
}
