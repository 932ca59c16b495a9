//! What a connection between two processes begins with.
//!
//! `pinflow1`, the kind of the connection, who connects, and the numbers of processes and threads; the other process
//! answers with its own numbers when they differ. Numbers are 32 bits, little-endian.

use crate::options::Workers;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: [u8; 8] = *b"pinflow1";
const ACCEPTED: u8 = 0;
const REFUSED: u8 = 1;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Timely's.
    Data,
    /// The beat's.
    Beat,
}

impl Kind {
    pub(super) const ALL: [Kind; 2] = [Kind::Data, Kind::Beat];
}

/// What a process says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    kind: Kind,
    process: u32,
    processes: u32,
    threads: u32,
}

/// The numbers of processes and threads of a process of another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) processes: u32,
    pub(super) threads: u32,
}

/// Why a connection does not become one of the run's.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("a process of another run")]
    Refused(Refused),
}

impl Greeting {
    pub(super) fn of(workers: &Workers, kind: Kind) -> Greeting {
        // at most 4096 processes of 1024 threads
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Greeting {
            kind,
            process: number(workers.process),
            processes: number(workers.processes),
            threads: number(workers.threads),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(self.kind as u8);
        for number in [self.process, self.processes, self.threads] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Greets a process that is connected to, and waits for its answer.
    pub(super) async fn say<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Result<(), Error> {
        stream.write_all(&self.bytes()).await?;
        match stream.read_u8().await? {
            ACCEPTED => Ok(()),
            REFUSED => Err(Error::Refused(Refused {
                processes: stream.read_u32_le().await?,
                threads: stream.read_u32_le().await?,
            })),
            other => Err(unexpected(&format!("the answer {other}"))),
        }
    }

    /// Hears the greeting of a process that connects: its number, and what the connection is for. A process of another run
    /// has its answer then; one of this run waits for [`accept`].
    pub(super) async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
        stream: &mut S,
        workers: &Workers,
    ) -> Result<(usize, Kind), Error> {
        let mut magic = [0; MAGIC.len()];
        stream.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(unexpected("no greeting"));
        }
        let kind = stream.read_u8().await?;
        let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
        let kind = kind.ok_or_else(|| unexpected("an unknown kind"))?;
        let process = stream.read_u32_le().await?;
        let theirs = Refused {
            processes: stream.read_u32_le().await?,
            threads: stream.read_u32_le().await?,
        };
        let ours = Greeting::of(workers, kind);
        if (theirs.processes, theirs.threads) != (ours.processes, ours.threads) {
            let mut answer = vec![REFUSED];
            answer.extend_from_slice(&ours.processes.to_le_bytes());
            answer.extend_from_slice(&ours.threads.to_le_bytes());
            stream.write_all(&answer).await?;
            return Err(Error::Refused(theirs));
        }
        if !(ours.process + 1..ours.processes).contains(&process) {
            return Err(unexpected("the number of a process that does not connect to this one"));
        }
        Ok((process as usize, kind))
    }
}

/// Tells a process that its connection counts.
pub(super) async fn accept<S: AsyncWrite + Unpin>(stream: &mut S) -> Result<(), Error> {
    Ok(stream.write_all(&[ACCEPTED]).await?)
}

fn unexpected(what: &str) -> Error {
    Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, what))
}
