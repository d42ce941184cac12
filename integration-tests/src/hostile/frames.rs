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

    /// A row with this text in this column; `None` if the message is no row, or has no text there.
    pub(super) fn renamed(self, message: &[u8], column: usize, text: &str) -> Option<Vec<u8>> {
        let row = &message[self.head()..];
        let mut columns = match self {
            Self::Postgres if message[0] == b'D' => columns_of_postgres(row)?,
            Self::MySql => columns_of_mysql(row)?,
            Self::Postgres => return None,
        };
        *columns.get_mut(column)?.as_mut()? = text.into();
        let mut row = match self {
            Self::Postgres => u16::try_from(columns.len()).ok()?.to_be_bytes().to_vec(),
            Self::MySql => Vec::new(),
        };
        for column in columns {
            match (self, column) {
                (Self::Postgres, None) => row.extend([0xFF; 4]),
                (Self::Postgres, Some(column)) => {
                    row.extend(u32::try_from(column.len()).ok()?.to_be_bytes());
                    row.extend(column);
                }
                (Self::MySql, None) => row.push(0xFB),
                (Self::MySql, Some(column)) => {
                    row.push(0xFC);
                    row.extend(u16::try_from(column.len()).ok()?.to_le_bytes());
                    row.extend(column);
                }
            }
        }
        Some(self.message(self.first(message), &row))
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

type Columns = Vec<Option<Vec<u8>>>;

fn columns_of_postgres(row: &[u8]) -> Option<Columns> {
    let (mut columns, mut rest) = (Vec::new(), row.get(2..)?);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (column, after) = after.split_at_checked(length.unwrap_or_default())?;
        columns.push(length.map(|_| column.to_vec()));
        rest = after;
    }
    Some(columns)
}

/// Nothing says that a message is a row: it consists of texts, each with its length, and is neither OK nor the description of a column.
fn columns_of_mysql(row: &[u8]) -> Option<Columns> {
    let (mut columns, mut rest) = (Vec::new(), row);
    if row.is_empty() || row.starts_with(b"\x03def") || row.starts_with(&[0, 0]) || (row[0] == 0xFE && row.len() < 9) {
        return None;
    }
    while let Some((first, after)) = rest.split_first() {
        let (length, after) = match first {
            0xFB => (None, after),
            0xFC => (Some(usize::from(u16::from_le_bytes([*after.first()?, *after.get(1)?]))), after.get(2..)?),
            0xFD..=0xFF => return None,
            short => (Some(usize::from(*short)), after),
        };
        let (column, after) = after.split_at_checked(length.unwrap_or_default())?;
        columns.push(length.map(|_| column.to_vec()));
        rest = after;
    }
    // One number alone is the number of columns that follow.
    (row.len() > 1).then_some(columns)
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
