//! A TCP relay in front of a database: counts connections and flights, and applies the rules of [`disturb`](crate::disturb).

use crate::disturb::{DATABASE, Disturb, Fault, Ticket};
use crate::port::Reserved;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// What happens to connections that are made from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Bytes pass both ways.
    #[default]
    Forward,
    /// The port is closed: connecting ends in "connection refused".
    Refuse,
    /// The connection is accepted and never answered.
    Silent,
    /// This many flights pass and are answered. The next one closes the connection and is not forwarded.
    CutAfter(usize),
    /// Each flight waits this long before it is forwarded.
    Delay(Duration),
}

/// A relay on its own loopback port. Dropping it closes all its connections.
pub struct Relay {
    port: u16,
    connections: Arc<AtomicUsize>,
    modes: mpsc::Sender<(Mode, oneshot::Sender<io::Result<()>>)>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Relays to `target_port` on the loopback interface.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start(target_port: u16, disturb: Disturb) -> io::Result<Self> {
        let reserved = Reserved::new()?;
        let port = reserved.number();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let connections = Arc::new(AtomicUsize::new(0));
        let (modes, changes) = mpsc::channel(1);
        let accept = Acceptor {
            port: reserved,
            target: (Ipv4Addr::LOCALHOST, target_port).into(),
            disturb,
            connections: Arc::clone(&connections),
            mode: Mode::default(),
            running: JoinSet::new(),
        };
        let task = tokio::spawn(accept.run(listener, changes));
        Ok(Self { port, connections, modes, task })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Sets what happens to new connections. The mode holds when this returns.
    ///
    /// # Errors
    /// The port could not be opened again after [`Mode::Refuse`].
    pub async fn set(&self, mode: Mode) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        let stopped = || io::Error::other("the relay has stopped");
        self.modes.send((mode, done)).await.map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())?
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Acceptor {
    /// Stays reserved while the relay refuses connections.
    port: Reserved,
    target: SocketAddr,
    disturb: Disturb,
    connections: Arc<AtomicUsize>,
    mode: Mode,
    /// Connections under way: dropped, and so closed, with the relay.
    running: JoinSet<()>,
}

impl Acceptor {
    async fn run(
        mut self,
        listener: TcpListener,
        mut changes: mpsc::Receiver<(Mode, oneshot::Sender<io::Result<()>>)>,
    ) {
        let mut listener = Some(listener);
        loop {
            tokio::select! {
                change = changes.recv() => {
                    let Some((mode, done)) = change else { return };
                    // The caller may be gone. The mode holds all the same.
                    match self.switch(listener, mode).await {
                        Ok(now) => {
                            listener = now;
                            let _ = done.send(Ok(()));
                        }
                        Err(error) => {
                            let _ = done.send(Err(error));
                            return;
                        }
                    }
                }
                client = accept(listener.as_ref()) => self.serve(client),
                Some(_) = self.running.join_next() => {}
            }
        }
    }

    /// Opens or closes the port.
    async fn switch(&mut self, listener: Option<TcpListener>, mode: Mode) -> io::Result<Option<TcpListener>> {
        self.mode = mode;
        match (listener, mode) {
            (_, Mode::Refuse) => Ok(None),
            (Some(listener), _) => Ok(Some(listener)),
            (None, _) => TcpListener::bind((Ipv4Addr::LOCALHOST, self.port.number())).await.map(Some),
        }
    }

    fn serve(&mut self, client: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let (target, mode, disturb) = (self.target, self.mode, self.disturb.clone());
        self.running.spawn(async move {
            if mode == Mode::Silent {
                return swallow(client).await;
            }
            let Ok(server) = TcpStream::connect(target).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            Connection { client, server, mode, disturb, number, flights: 0, flight: None, asking: false }.carry().await;
        });
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    if let Some(listener) = listener {
        loop {
            match listener.accept().await {
                Ok((client, _)) => return client,
                // Probably out of file descriptors, which is temporary.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
    std::future::pending().await
}

async fn swallow(mut client: TcpStream) {
    let mut buffer = [0; 1024];
    while matches!(client.read(&mut buffer).await, Ok(length) if length > 0) {}
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    mode: Mode,
    disturb: Disturb,
    number: usize,
    flights: usize,
    /// The flight that the server has not yet answered.
    flight: Option<Ticket>,
    /// Whether the last bytes came from the client.
    asking: bool,
}

/// The connection is over.
struct Closed;

impl Connection {
    async fn carry(mut self) {
        let mut up = vec![0; 16 * 1024];
        let mut down = vec![0; 16 * 1024];
        loop {
            let step = tokio::select! {
                read = self.client.read(&mut up) => match read {
                    Ok(length) if length > 0 => self.pass_up(up.get(..length).unwrap_or_default()).await,
                    _ => Err(Closed),
                },
                read = self.server.read(&mut down) => match read {
                    Ok(length) if length > 0 => self.pass_down(down.get(..length).unwrap_or_default()).await,
                    _ => Err(Closed),
                },
            };
            if step.is_err() {
                break;
            }
        }
        // A flight that gets no answer, such as PostgreSQL's Terminate, has been acted on when the connection ends.
        if let Some(Fault::KillAfter) = self.flight.as_ref().and_then(|flight| flight.fault) {
            self.disturb.kill(None).await;
        }
    }

    async fn pass_up(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        if !self.asking {
            self.asking = true;
            self.take_off().await?;
        }
        self.server.write_all(bytes).await.map_err(|_| Closed)
    }

    /// The first bytes of a flight: applies what must happen before the server sees them.
    async fn take_off(&mut self) -> Result<(), Closed> {
        self.flights += 1;
        let ticket = self.disturb.begin(DATABASE, Some((self.number, self.flights)));
        let fault = ticket.fault;
        self.flight = Some(ticket);
        match self.mode {
            Mode::CutAfter(flights) if self.flights > flights => return Err(Closed),
            Mode::Delay(time) => tokio::time::sleep(time).await,
            _ => {}
        }
        match fault {
            Some(Fault::KillBefore) => {
                self.disturb.kill(None).await;
                Err(Closed)
            }
            Some(Fault::Throttle | Fault::Fail(_)) => Err(Closed),
            Some(Fault::Delay(_) | Fault::Hold) => {
                if let Some(flight) = &self.flight {
                    flight.wait().await;
                }
                Ok(())
            }
            Some(Fault::KillAfter | Fault::LoseReply | Fault::StaleRead) | None => Ok(()),
        }
    }

    async fn pass_down(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        if let Some(Fault::KillAfter | Fault::LoseReply) = self.flight.as_ref().and_then(|flight| flight.fault) {
            return Err(Closed);
        }
        self.asking = false;
        self.client.write_all(bytes).await.map_err(|_| Closed)?;
        self.flight = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// A server that answers every chunk with the same bytes.
    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        stream.write_all(&buffer[..length]).await.unwrap();
                    }
                });
            }
        });
        port
    }

    async fn relay() -> (Relay, Disturb) {
        let disturb = Disturb::new();
        (Relay::start(echo().await, disturb.clone()).await.unwrap(), disturb)
    }

    async fn connect(relay: &Relay) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).await.unwrap()
    }

    /// Sends one flight and returns how many bytes came back; 0 if the connection closed.
    async fn ask(stream: &mut TcpStream) -> usize {
        stream.write_all(b"ping").await.unwrap();
        stream.read(&mut [0; 64]).await.unwrap_or(0)
    }

    #[tokio::test]
    async fn flights_and_connections_are_counted() {
        let (relay, disturb) = relay().await;
        let mut first = connect(&relay).await;
        assert_eq!((ask(&mut first).await, ask(&mut first).await), (4, 4));
        let mut second = connect(&relay).await;
        assert_eq!(ask(&mut second).await, 4);
        let flights: Vec<_> = disturb.calls().iter().map(|call| call.flight.unwrap()).collect();
        assert_eq!(flights, [(1, 1), (1, 2), (2, 1)]);
        assert_eq!(relay.connections(), 2);
    }

    #[tokio::test]
    async fn refuse_closes_the_port_and_forward_opens_it() {
        let (relay, _) = relay().await;
        relay.set(Mode::Refuse).await.unwrap();
        let error = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        relay.set(Mode::Forward).await.unwrap();
        assert_eq!(ask(&mut connect(&relay).await).await, 4);
    }

    #[tokio::test]
    async fn silent_accepts_and_says_nothing() {
        let (relay, _) = relay().await;
        relay.set(Mode::Silent).await.unwrap();
        let mut stream = connect(&relay).await;
        let answer = tokio::time::timeout(Duration::from_millis(100), ask(&mut stream)).await;
        assert!(answer.is_err(), "{answer:?}");
    }

    #[tokio::test]
    async fn cut_after_closes_at_the_next_flight() {
        let (relay, _) = relay().await;
        relay.set(Mode::CutAfter(1)).await.unwrap();
        let mut stream = connect(&relay).await;
        assert_eq!((ask(&mut stream).await, ask(&mut stream).await), (4, 0));
    }

    #[tokio::test]
    async fn a_lost_reply_was_acted_on_and_a_failed_flight_was_not() {
        for (fault, forwarded) in [(Fault::LoseReply, true), (Fault::Fail(500), false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let disturb = Disturb::new();
            let relay = Relay::start(listener.local_addr().unwrap().port(), disturb.clone()).await.unwrap();
            disturb.on_call(1, fault);
            let mut client = connect(&relay).await;
            let (mut server, _) = listener.accept().await.unwrap();
            client.write_all(b"ping").await.unwrap();
            let arrived = server.read(&mut [0; 64]).await.unwrap_or(0);
            assert_eq!(arrived > 0, forwarded, "{fault:?}");
            let _ = server.write_all(b"pong").await;
            assert_eq!(client.read(&mut [0; 64]).await.unwrap_or(0), 0, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_kill_comes_before_the_connection_closes() {
        for fault in [Fault::KillBefore, Fault::KillAfter] {
            let (relay, disturb) = relay().await;
            let killed = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&killed);
            disturb.set_killer(move |_| {
                let killed = Arc::clone(&killed);
                async move { killed.store(true, Ordering::SeqCst) }
            });
            disturb.on_call(2, fault);
            let mut stream = connect(&relay).await;
            assert_eq!(ask(&mut stream).await, 4);
            assert!(!seen.load(Ordering::SeqCst));
            assert_eq!(ask(&mut stream).await, 0);
            assert!(seen.load(Ordering::SeqCst), "{fault:?}");
        }
    }
}
