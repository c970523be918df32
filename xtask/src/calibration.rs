//! What this machine can do, so that figures of different machines can be compared.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How long each of the two speeds is measured.
const MEASURED: Duration = Duration::from_secs(1);

const SYNCS: usize = 200;

/// It works on this much of a file of events.
const SAMPLE_BYTES: u64 = 8 << 20;

/// How fast the machine is.
pub(crate) struct Calibration {
    cores: usize,
    sha256_mb_per_s: f64,
    zstd_mb_per_s: f64,
    fdatasync: Duration,
}

impl Calibration {
    /// Measures with a file of events, and with another in `folder`.
    pub(crate) fn measure(file: &Path, folder: &Path) -> anyhow::Result<Calibration> {
        let mut events = Vec::new();
        File::open(file)?.take(SAMPLE_BYTES).read_to_end(&mut events)?;
        let events = &*events;
        let sha256 = speed(events, || Ok(Sha256::digest(events).len()))?;
        let zstd = speed(events, || Ok(zstd::bulk::compress(events, 3)?.len()))?;
        Ok(Calibration {
            cores: std::thread::available_parallelism()?.get(),
            sha256_mb_per_s: sha256,
            zstd_mb_per_s: zstd,
            fdatasync: fdatasync(&folder.join("synced"))?,
        })
    }
}

impl std::fmt::Display for Calibration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "machine: {} cores, SHA-256 {:.0} MB/s, zstd -3 {:.0} MB/s, fdatasync p50 {} µs",
            self.cores,
            self.sha256_mb_per_s,
            self.zstd_mb_per_s,
            self.fdatasync.as_micros()
        )
    }
}

/// How many megabytes a second one core does.
#[expect(clippy::cast_precision_loss, reason = "a speed for people")]
fn speed(events: &[u8], work: impl Fn() -> anyhow::Result<usize>) -> anyhow::Result<f64> {
    let (started, mut bytes) = (Instant::now(), 0);
    while started.elapsed() < MEASURED {
        std::hint::black_box(work()?);
        bytes += events.len();
    }
    Ok(bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
}

/// The time that half of the syncs of 4 KiB at the end of a file do not exceed.
fn fdatasync(path: &Path) -> anyhow::Result<Duration> {
    let mut file = File::create(path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[7; 4_096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times.get(SYNCS / 2).copied().unwrap_or_default())
}
