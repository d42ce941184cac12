//! What is done to which message. A plan is one line of text, and repeats itself exactly.

use super::frames::Protocol;
use std::fmt;
use std::str::FromStr;

/// Stands in everything that a hostile server says. No output of a function may hold it.
pub const MARKER: &str = "mArKeR0fAhOsTiLeSeRvEr";
/// A piece of a flood.
const PIECE: usize = 64 << 10;

/// Which message of a connection is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Message number n of the login, from 0.
    Login(usize),
    /// Message number n after the login, from 0.
    Work(usize),
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What is done to a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// Some of its bytes are others.
    Bytes = "bytes",
    /// It is shorter, and says so.
    Shorter = "shorter",
    /// It is longer by a text, and says so.
    Longer = "longer",
    /// The connection ends in the middle of it.
    Cut = "cut",
    /// It says another length than it has, and the connection ends.
    Length = "length",
    /// It has another letter or number.
    First = "first",
    /// It comes several times.
    Repeated = "repeated",
    /// A message of another kind comes before it.
    Inserted = "inserted",
    /// Bytes that are no message take its place, and the connection ends.
    Noise = "noise",
    /// It is an error with a text and a state of the server's choice.
    Refusal = "refusal",
    /// It never comes.
    Missing = "missing",
    /// Messages without a text, without end.
    FloodOfTiny = "flood-of-tiny",
    /// Notices or further results, without end.
    FloodOfNotices = "flood-of-notices",
    /// Parameters, each with another name, or packets of the login, without end.
    FloodOfParameters = "flood-of-parameters",
    /// Rows without end, as short as a row can be.
    FloodOfRows = "flood-of-rows",
    /// Rows without end, of many NULLs.
    FloodOfNulls = "flood-of-nulls",
    /// Columns without end.
    FloodOfColumns = "flood-of-columns",
    /// Long rows without end.
    FloodOfText = "flood-of-text",
    /// A message that is as long as one can be.
    Giant = "giant",
    /// Every row after the login has a text of the server's choice in one column.
    Renamed = "renamed",
}

/// What is done to which message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The message.
    pub place: Place,
    /// What is done to it.
    pub kind: Kind,
    /// What decides the rest.
    pub seed: u64,
}

impl Plan {
    /// In each row after the login, this column has a text of the server's choice.
    pub fn renaming(column: usize) -> Self {
        Self { place: Place::Work(column), kind: Kind::Renamed, seed: 0 }
    }

    /// The plan that this number stands for.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let place = if dice.below(3) == 0 { Place::Login(dice.below(8)) } else { Place::Work(dice.below(24)) };
        // A flood takes longer than the other kinds, and tests try each by itself.
        let kinds = if dice.below(40) == 0 { Kind::ALL.len() - 1 } else { 10 };
        Self { place, kind: Kind::ALL[dice.below(kinds)], seed }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, number) = match self.place {
            Place::Login(number) => ("login", number),
            Place::Work(number) => ("work", number),
        };
        write!(f, "{phase} {number} {} {}", self.kind.as_str(), self.seed)
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [phase, number, kind, seed] = words[..] else { return Err(text.to_owned()) };
        let number = number.parse().map_err(|_| text.to_owned())?;
        let place = if phase == "login" { Place::Login(number) } else { Place::Work(number) };
        let kind = Kind::ALL.iter().find(|it| it.as_str() == kind).ok_or(text)?;
        Ok(Self { place, kind: *kind, seed: seed.parse().map_err(|_| text.to_owned())? })
    }
}

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap_or(1)).unwrap_or_default()
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// What is sent in a message's place.
pub(super) enum Act {
    Send(Vec<u8>),
    /// The next piece of what has no end.
    Flood(Box<dyn FnMut() -> Vec<u8> + Send>),
    Close,
}

/// A plan under way on one connection.
pub(super) struct Change {
    plan: Option<Plan>,
    protocol: Protocol,
    working: bool,
    number: usize,
    done: bool,
}

impl Change {
    pub(super) fn of(plan: Option<Plan>, protocol: Protocol) -> Self {
        Self { plan, protocol, working: false, number: 0, done: false }
    }

    /// Whether the last message was the one.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn of_frame(&mut self, frame: &[u8]) -> Vec<Act> {
        let place = if self.working { Place::Work(self.number) } else { Place::Login(self.number) };
        self.number += 1;
        if !self.working && self.protocol.ends_login(frame) {
            (self.working, self.number) = (true, 0);
        }
        self.done = false;
        match &self.plan {
            Some(Plan { place: Place::Work(column), kind: Kind::Renamed, .. }) if self.working => {
                let renamed = self.protocol.renamed(frame, *column, MARKER);
                self.done = renamed.is_some();
                vec![Act::Send(renamed.unwrap_or_else(|| frame.to_vec()))]
            }
            Some(plan) if plan.place == place => {
                self.done = true;
                acts(self.protocol, plan, frame)
            }
            _ => vec![Act::Send(frame.to_vec())],
        }
    }
}

fn acts(protocol: Protocol, plan: &Plan, frame: &[u8]) -> Vec<Act> {
    let mut dice = Dice(plan.seed ^ 0xFEED);
    let (first, text) = (protocol.first(frame), &frame[protocol.head()..]);
    let same = || Act::Send(frame.to_vec());
    match plan.kind {
        Kind::Bytes => {
            let mut text = text.to_vec();
            for _ in 0..=dice.below(4) {
                let at = dice.below(text.len());
                if let Some(byte) = text.get_mut(at) {
                    *byte = dice.one_of(&[0, 1, 0x7F, 0x80, 0xFB, 0xFC, 0xFE, 0xFF, b'\'', *byte ^ 1, *byte ^ 0x80]);
                }
            }
            vec![Act::Send(protocol.message(first, &text))]
        }
        Kind::Shorter => vec![Act::Send(protocol.message(first, &text[..dice.below(text.len())]))],
        Kind::Longer => {
            let more = MARKER.repeat(dice.one_of(&[1, 2, 100, 10_000]));
            let at = dice.below(text.len() + 1);
            vec![Act::Send(protocol.message(first, &[&text[..at], more.as_bytes(), &text[at..]].concat()))]
        }
        Kind::Cut => vec![Act::Send(frame[..dice.below(frame.len())].to_vec()), Act::Close],
        Kind::Length => {
            let length =
                dice.one_of(&[0, 1, 3, text.len() + 1, text.len().saturating_sub(1), 0xFFFF, 0xFF_FFFF, 0x7FFF_FFF0]);
            let message = match dice.below(4) {
                // Less than a length has itself.
                0 if protocol == Protocol::Postgres => [&[first, 0, 0, 0, 3][..], text].concat(),
                _ => protocol.message_that_says(first, length, text),
            };
            vec![Act::Send(message), Act::Close]
        }
        Kind::First => {
            let letters = b"RKSZTDCENAGHIVWdcnst123\0\xFF";
            vec![Act::Send(protocol.message(dice.one_of(letters), text))]
        }
        Kind::Repeated => (0..dice.one_of(&[2, 3, 50])).map(|_| same()).collect(),
        Kind::Inserted => vec![Act::Send(stranger(protocol, first, &mut dice)), same()],
        Kind::Noise => {
            let noise = (0..dice.one_of(&[1, 7, 500])).map(|_| dice.next().to_le_bytes()[3]).collect();
            vec![Act::Send(noise), Act::Close]
        }
        Kind::Refusal => vec![Act::Send(refusal(protocol, first, &mut dice)), Act::Close],
        Kind::Missing => Vec::new(),
        // Of the rows that come later.
        Kind::Renamed => vec![same()],
        Kind::Giant => {
            let piece = vec![b'x'; PIECE];
            let length = if protocol == Protocol::Postgres { 0x7FFF_FFF0 } else { 0xFF_FFFF };
            vec![Act::Send(protocol.message_that_says(first, length, b"")), Act::Flood(Box::new(move || piece.clone()))]
        }
        flood => floods(protocol, flood, first),
    }
}

/// A message that does not belong here.
fn stranger(protocol: Protocol, first: u8, dice: &mut Dice) -> Vec<u8> {
    match protocol {
        Protocol::Postgres => {
            let marked = [MARKER.as_bytes(), b"\0", MARKER.as_bytes(), b"\0"].concat();
            let notice = [b"SNOTICE\0C00000\0M", MARKER.as_bytes(), b"\0\0"].concat();
            let kinds: [(u8, &[u8]); 8] = [
                (b'S', &marked),
                (b'N', &notice),
                (b'A', &[&[0, 0, 0, 1][..], &marked].concat()),
                (b'R', &[0, 0, 0, 0]),
                (b'R', &[0, 0, 0, 3]),
                (b'Z', b"I"),
                (b'D', &[0, 1, 0xFF, 0xFF, 0xFF, 0xFF]),
                (b'G', &[0, 0, 0]),
            ];
            let (letter, text) = dice.one_of(&kinds);
            protocol.message(letter, text)
        }
        Protocol::MySql => {
            let marked = [b"\xFE", MARKER.as_bytes(), b"\0", MARKER.as_bytes()].concat();
            let text: &[u8] = dice.one_of(&[
                &b"\0\0\0\x02\0\0\0"[..],
                b"\xFE\0\0\x02\0",
                &marked,
                b"\xFEmysql_clear_password\0",
                b"\xFEclient_ed25519\0short",
                b"\xFEcaching_sha2_password\0",
                b"\xFB/etc/passwd",
                b"\x01\x04",
                b"\xFF\xFF\xFF\x01\x01\0\0\0\x01x",
                b"",
            ]);
            protocol.message(first, text)
        }
    }
}

fn refusal(protocol: Protocol, first: u8, dice: &mut Dice) -> Vec<u8> {
    let long = MARKER.repeat(3000);
    let said =
        dice.one_of(&[MARKER, long.as_str(), "mArKeR0fAhOsTiLeSeRvEr\n{\"level\":\"ERROR\"}\u{1b}[2J", ""]).as_bytes();
    match protocol {
        Protocol::Postgres => {
            let state = dice.one_of(&[
                "28P01",
                "28000",
                "42501",
                "57014",
                "55P03",
                "53300",
                "25006",
                "0A000",
                "XX000",
                "",
                "mArKeR0fAhOsTiLeSeRvEr",
                "08",
                "é",
            ]);
            let fields: &[&[u8]] =
                &[b"SFATAL\0C", state.as_bytes(), b"\0M", said, b"\0D", said, b"\0H", said, b"\0R", said, b"\0\0"];
            let mut text = fields.concat();
            if dice.below(4) == 0 {
                text.truncate(dice.below(text.len()));
            }
            if dice.below(4) == 0 {
                text.insert(dice.below(text.len() + 1), 0xFF);
            }
            protocol.message(b'E', &text)
        }
        Protocol::MySql => {
            let numbers = [1045_u16, 1044, 1049, 1064, 1205, 1227, 1290, 1396, 1819, 3159, 3638, 3955, 0, 0xFFFF];
            let number = dice.one_of(&numbers).to_le_bytes();
            let state = dice.one_of(&["#28000", "#HY000", "#42000", "#mArKe", "", "#"]).as_bytes();
            protocol.message(first, &[b"\xFF", &number[..], state, said].concat())
        }
    }
}

/// A head, and then the same without end.
fn floods(protocol: Protocol, kind: Kind, first: u8) -> Vec<Act> {
    match protocol {
        Protocol::Postgres => {
            let column = |name: &str| [name.as_bytes(), &[0; 19]].concat();
            let columns = |count: u16| {
                let all = column("").repeat(usize::from(count));
                protocol.message(b'T', &[&count.to_be_bytes()[..], &all].concat())
            };
            let row = |count: u16| {
                protocol.message(b'D', &[&count.to_be_bytes()[..], &vec![0xFF; usize::from(count) * 4]].concat())
            };
            let head = match kind {
                Kind::FloodOfRows => Some(columns(0)),
                Kind::FloodOfNulls => Some(columns(1000)),
                Kind::FloodOfText => Some(columns(1)),
                _ => None,
            };
            let message = match kind {
                Kind::FloodOfNotices => protocol.message(b'N', b"\0"),
                Kind::FloodOfRows => row(0),
                Kind::FloodOfNulls => row(1000),
                Kind::FloodOfColumns => columns(1000),
                Kind::FloodOfText => protocol
                    .message(b'D', &[&[0, 1, 0, 0, 0x40, 0][..], &MARKER.repeat(800).as_bytes()[..0x4000]].concat()),
                _ => protocol.message(b'C', b"\0"),
            };
            let mut number = 0_u64;
            let more = move || {
                if kind == Kind::FloodOfParameters {
                    let next =
                        (number..number + 4000).map(|it| protocol.message(b'S', format!("{it:x}\0\0").as_bytes()));
                    number += 4000;
                    return next.collect::<Vec<_>>().concat();
                }
                message.repeat((PIECE / message.len()).max(1))
            };
            head.map(Act::Send).into_iter().chain([Act::Flood(Box::new(more))]).collect()
        }
        Protocol::MySql => {
            // `def`, five empty names, and thirteen bytes of what a column is (manual, "Protocol::ColumnDefinition41").
            let column = b"\x03def\0\0\0\0\0\x0c\x2d\0\0\0\0\0\xFD\0\0\0\0\0".to_vec();
            let (mut head, text): (Vec<Vec<u8>>, Vec<u8>) = match kind {
                Kind::FloodOfNotices => (vec![], b"\0\0\0\x0A\0\0\0".to_vec()),
                Kind::FloodOfParameters => (vec![], b"\x01\x03".to_vec()),
                Kind::FloodOfRows => (vec![vec![1], column], vec![0]),
                Kind::FloodOfNulls => {
                    (vec![vec![0xFC, 0xE8, 3]].into_iter().chain(vec![column; 1000]).collect(), vec![0xFB; 1000])
                }
                Kind::FloodOfColumns => (vec![vec![0xFD, 0xFF, 0xFF, 0xFF]], column),
                Kind::FloodOfText => (vec![vec![1], column], [&[0xFD, 0, 0, 8][..], &vec![b'x'; 8 << 16]].concat()),
                _ => (vec![], vec![]),
            };
            let mut number = first;
            let mut numbered = move |text: &[u8]| {
                let message = protocol.message(number, text);
                number = number.wrapping_add(1);
                message
            };
            let head = head.drain(..).flat_map(|text| numbered(&text)).collect();
            let more = move || (0..(PIECE / (text.len() + 4)).max(1)).flat_map(|_| numbered(&text)).collect();
            vec![Act::Send(head), Act::Flood(Box::new(more))]
        }
    }
}
