//! What a body is packed with, and unpacking it as it comes, in pieces of bounded size: a body
//! that unpacks to a thousand times its length costs time, not memory.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use futures::Stream;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

/// How a body is packed (RFC 9110 §8.4.1, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all, as kube-apiserver sends it.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard, with windows of at most 8 MiB.
    Zstd,
}

impl Encoding {
    /// Reads a `Content-Encoding`; `None` if it is another.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "zstd" => Some(Encoding::Zstd),
            _ => None,
        }
    }

    /// Unpacks a body.
    pub(crate) fn reader<'a>(
        self,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'a,
    ) -> Box<dyn AsyncRead + Send + Unpin + 'a> {
        /// `2^23` bytes, what RFC 8878 §3.1.1.1.2 asks every decoder to support.
        const WINDOW_LOG_MAX: u32 = 23;
        let reader = StreamReader::new(Box::pin(body));
        match self {
            Encoding::Identity => Box::new(reader),
            Encoding::Gzip => {
                let mut decoder = GzipDecoder::new(reader);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Encoding::Zstd => {
                let limit = async_compression::zstd::DParameter::window_log_max(WINDOW_LOG_MAX);
                let mut decoder = ZstdDecoder::with_params(reader, &[limit]);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
        }
    }
}
