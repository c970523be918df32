//! The cluster the events are of: its clock, its names and addresses, and the values one request
//! takes from them.

use std::io::Write;
use std::ops::Range;

use super::random::{Random, whole};
use super::template::{Form, Kind, SUFFIX, Template};

const SECOND_MICROS: i64 = 1_000_000;

/// What changes from event to event, and the values of the current request.
#[derive(Debug)]
pub(super) struct Cluster {
    /// When the current request was received, in microseconds since 1970.
    now: f64,
    resource_version: u64,
    pools: Pools,
    /// The values of the current request one after the other, and where each stands.
    values: Vec<u8>,
    spans: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Pools {
    namespaces: Vec<String>,
    people: Vec<String>,
    nodes: Vec<String>,
    addresses: Vec<String>,
    replica_sets: Vec<String>,
    pods: Vec<String>,
    uids: Vec<String>,
    sums: Vec<String>,
    /// How long an answer takes, in microseconds.
    latencies: Vec<i64>,
}

impl Cluster {
    pub(super) fn new(random: &mut Random, start_micros: i64) -> Cluster {
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 2255")]
        let now = start_micros as f64;
        let pools = Pools::new(random);
        let (values, spans) = (Vec::new(), Vec::new());
        Cluster { now, resource_version: 1_000_000, pools, values, spans }
    }

    /// Lets time pass until the next request, and draws its values.
    pub(super) fn next_request(&mut self, random: &mut Random, per_second: f64, of: &Template) {
        self.now += random.exponential() / per_second * 1e6;
        self.values.clear();
        self.spans.clear();
        for kind in &of.slots {
            let start = self.values.len();
            self.draw(random, *kind);
            self.spans.push(start..self.values.len());
        }
    }

    /// Writes an event of the current request.
    pub(super) fn write(&self, form: &Form, out: &mut Vec<u8>) {
        for piece in &form.pieces {
            out.extend_from_slice(&form.text.as_bytes()[piece.text.clone()]);
            out.extend_from_slice(&self.values[self.spans[piece.slot].clone()]);
        }
        out.extend_from_slice(&form.text.as_bytes()[form.tail.clone()]);
    }

    /// Replaces a few pods and objects by new ones.
    pub(super) fn churn(&mut self, random: &mut Random) {
        let pools = &mut self.pools;
        for _ in 0..20 {
            let (pod, uid) = (random.below(pools.pods.len()), random.below(pools.uids.len()));
            pools.pods[pod] = new_pod(random, &pools.replica_sets);
            pools.uids[uid] = new_uuid(random);
        }
    }

    fn draw(&mut self, random: &mut Random, kind: Kind) {
        let (pools, now) = (&self.pools, whole(self.now));
        let fresh;
        let value = match kind {
            Kind::AuditId => {
                fresh = new_uuid(random);
                &fresh
            }
            Kind::ResourceVersion => {
                self.resource_version += 1 + random.next() % 3;
                return write!(self.values, "{}", self.resource_version).expect("it is memory");
            }
            Kind::Received => return write_instant(&mut self.values, now, true),
            Kind::Reached => {
                let reached = now + random.choose(&pools.latencies);
                return write_instant(&mut self.values, reached, true);
            }
            Kind::Earlier { fraction } => {
                let age = i64::try_from(random.below(41)).expect("it is small");
                return write_instant(&mut self.values, now - age * SECOND_MICROS, fraction);
            }
            Kind::Uid => random.choose(&pools.uids),
            Kind::Pod => random.choose(&pools.pods),
            Kind::Node => random.choose(&pools.nodes),
            Kind::Address => random.choose(&pools.addresses),
            Kind::Sha256 => random.choose(&pools.sums),
            Kind::Namespace => random.choose_popular(&pools.namespaces),
            Kind::Person => random.choose_popular(&pools.people),
        };
        self.values.extend_from_slice(value.as_bytes());
    }
}

impl Pools {
    fn new(random: &mut Random) -> Pools {
        const TEAMS: &str = "shop pay data ml web core edge auth ops batch";
        const PLACES: &str = "prod staging dev qa eu us";
        const PEOPLE: &str = "alice bob carol dave erin frank grace heidi ivan judy karl laura \
            mike nina oscar peggy quinn rita sam trent uma victor wendy xavier yann zoe amir bela \
            chen dara emre fola gita hugo ines jana kofi lior mara niko";
        let places = |team| PLACES.split(' ').map(move |place| format!("{team}-{place}"));
        let replica_sets = many(900, || new_suffix(random, 9));
        Pools {
            namespaces: TEAMS.split(' ').flat_map(places).collect(),
            people: PEOPLE.split_whitespace().map(|name| format!("{name}@example.com")).collect(),
            nodes: (1..=120).map(|number| format!("node-{number}")).collect(),
            addresses: many(400, || {
                let (a, b, c) = (random.below(61), random.below(256), 1 + random.below(254));
                format!("10.{a}.{b}.{c}")
            }),
            pods: many(6_000, || new_pod(random, &replica_sets)),
            replica_sets,
            uids: many(9_000, || new_uuid(random)),
            sums: many(300, || new_sum(random)),
            // Logarithmically normal, 4 ms in the middle.
            latencies: many(4_096, || whole((8.3 + random.normal()).exp())),
        }
    }
}

fn many<T>(count: usize, make: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(make).take(count).collect()
}

fn new_suffix(random: &mut Random, length: usize) -> String {
    (0..length).map(|_| char::from(*random.choose(SUFFIX))).collect()
}

fn new_pod(random: &mut Random, replica_sets: &[String]) -> String {
    format!("-{}-{}", random.choose(replica_sets), new_suffix(random, 5))
}

/// A UUID of version 4 (RFC 9562).
fn new_uuid(random: &mut Random) -> String {
    let (high, low) = (random.next(), random.next());
    let (first, second, third) = (high >> 32, (high >> 16) & 0xffff, high & 0xfff);
    let (fourth, fifth) = (0x8000 | ((low >> 48) & 0x3fff), low & 0xffff_ffff_ffff);
    format!("{first:08x}-{second:04x}-4{third:03x}-{fourth:04x}-{fifth:012x}")
}

/// A SHA-256 of nothing in particular.
fn new_sum(random: &mut Random) -> String {
    let [a, b, c, d] = [0; 4].map(|_| random.next());
    format!("{a:016x}{b:016x}{c:016x}{d:016x}")
}

/// Writes an instant as RFC 3339 in UTC.
fn write_instant(out: &mut Vec<u8>, micros: i64, fraction: bool) {
    const DAY_SECONDS: i64 = 86_400;
    let (seconds, micros) = (micros.div_euclid(SECOND_MICROS), micros.rem_euclid(SECOND_MICROS));
    let (days, seconds) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
        .and_then(|()| if fraction { write!(out, ".{micros:06}Z") } else { write!(out, "Z") })
        .expect("it is memory");
}

/// The date of a day, counted from 1970 (Hinnant, `civil_from_days`).
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months counted from March.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, over) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + over, month, day)
}
