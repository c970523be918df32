//! Whole items of a log on their way: their bytes as they stand in the file, and how far the file
//! is taken in with them. They can be sent as often as need be.

use std::io::{self, Read};

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;
use whodid_store::SourcePosition;

use crate::source::{READ_BYTES, Source};

/// Bytes of a log, cut between items.
#[derive(Clone, Debug)]
pub struct Portion {
    pub(super) content: Content,
    /// How far its file is taken in with it; a record of a gap has none.
    pub position: Option<SourcePosition>,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Memory(Bytes),
    /// An item that is too long to be held in memory.
    File {
        source: Source,
        from: u64,
        length: u64,
    },
}

impl Portion {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File { length, .. } => *length,
        }
    }

    /// The bytes.
    pub fn body(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        match self.content.clone() {
            Content::Memory(bytes) => stream::iter([Ok(bytes)]).left_stream(),
            Content::File { source, from, length } => {
                let (pieces, receiver) = mpsc::channel(1);
                tokio::task::spawn_blocking(move || read(&source, from, length, &pieces));
                stream::unfold(receiver, async |mut receiver| {
                    receiver.recv().await.map(|piece| (piece, receiver))
                })
                .right_stream()
            }
        }
    }
}

/// Reads a part of a file, until the end or until nobody wants it any more.
fn read(source: &Source, from: u64, length: u64, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    let mut reader = match source.reader(from) {
        Ok(reader) => reader.take(length),
        Err(error) => {
            let _gone = pieces.blocking_send(Err(error));
            return;
        }
    };
    loop {
        let mut buffer = vec![0; READ_BYTES];
        let piece = reader.read(&mut buffer).map(|count| {
            buffer.truncate(count);
            Bytes::from(buffer)
        });
        let is_last = piece.as_ref().map_or(true, Bytes::is_empty);
        if piece.as_ref().is_ok_and(Bytes::is_empty) {
            return;
        }
        if pieces.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}
