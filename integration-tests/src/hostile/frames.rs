//! The messages of both protocols, as far as one has to know where they begin.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A database's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PostgreSQL: a letter, a length that counts itself, a text.
    Postgres,
    /// MySQL and MariaDB: a length, a number, a text.
    MySql,
}

impl Protocol {
    /// How many bytes stand before the text.
    pub(super) fn head(self) -> usize {
        match self {
            Self::Postgres => 5,
            Self::MySql => 4,
        }
    }

    /// A message with this text. `first` is the letter or the number.
    pub(super) fn message(self, first: u8, text: &[u8]) -> Vec<u8> {
        self.message_that_says(first, text.len(), text)
    }

    /// The same with another length.
    pub(super) fn message_that_says(self, first: u8, length: usize, text: &[u8]) -> Vec<u8> {
        let length = |plus: usize| u32::try_from((length + plus).min(0xFFFF_FFFF)).unwrap_or(u32::MAX);
        let mut message = match self {
            Self::Postgres => [&[first][..], &length(4).to_be_bytes()].concat(),
            Self::MySql => [&length(0).to_le_bytes()[..3], &[first]].concat(),
        };
        message.extend_from_slice(text);
        message
    }

    /// A message's letter or number.
    pub(super) fn first(self, message: &[u8]) -> u8 {
        message[if self == Self::Postgres { 0 } else { 3 }]
    }

    /// Whether the login ends with this message of the server.
    pub(super) fn ends_login(self, message: &[u8]) -> bool {
        match self {
            Self::Postgres => message[0] == b'Z',
            // OK, with a number beyond the greeting's.
            Self::MySql => message.get(4) == Some(&0) && message[3] > 1,
        }
    }
}

/// Reads messages.
pub(super) struct Frames(Protocol);

impl Frames {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self(protocol)
    }

    /// The next message, with its head.
    pub(super) async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        read_more(stream, &mut message, self.0.head()).await?;
        let length = match self.0 {
            Protocol::Postgres => u32::from_be_bytes([message[1], message[2], message[3], message[4]]) as usize - 4,
            Protocol::MySql => u32::from_le_bytes([message[0], message[1], message[2], 0]) as usize,
        };
        read_more(stream, &mut message, length).await?;
        Ok(message)
    }
}

/// Reads exactly so many more bytes.
async fn read_more(stream: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let start = into.len();
    into.resize(start + length, 0);
    stream.read_exact(&mut into[start..]).await.map(drop)
}
