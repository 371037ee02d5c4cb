//! Micro benchmarks of the parts that every byte or every run goes through: spool, row counter, safe bound.

use futures_util::TryStreamExt;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use dwh_core::blob::Body;
use dwh_core::testing::internals::{Tally, spool};
use dwh_core::watermark::{Activity, Backend, Micros, Observation, Timestamp, safe_bound};
use dwh_core::{Error, Result};

const REPEATS: usize = 5;
const SPOOL_BYTES: usize = 256 << 20;
const SESSIONS: i32 = 200;
const BOUNDS: u32 = 1000;

/// A record as PostgreSQL writes it, with the quotes that make counting harder.
const RECORD: &[u8] =
    b"352093012345678,2020-01-01 00:00:00.000001+00,2020-01-01 00:00:00+00,SRID=4326;POINT(36.8 -1.29),\
    42.50,271,t,1650.5,\"Depot \"\"7\"\", gate 2\nEnterprise Rd\",\"{\"\"hdop\"\": 0.9, \"\"satellites\"\": 11}\"\n";

#[tokio::main]
async fn main() -> Result<()> {
    let mut lines = Vec::new();
    let block = RECORD.repeat((1 << 20) / RECORD.len());
    let mut spooled = Vec::new();
    let mut counted = Vec::new();
    for _ in 0..REPEATS {
        spooled.push(through_spool(&block).await?);
        counted.push(count(&block));
    }
    lines.push(format!("spool, written and read behind:  {}", rate(median(&mut spooled))));
    lines.push(format!("rows counted and bytes hashed:   {}", rate(median(&mut counted))));
    lines.push(format!("safe bound over {SESSIONS} sessions:   {:.1} µs", bound()?.as_secs_f64() * 1e6));
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").map_err(|error| Error::new(dwh_core::ErrorKind::Disk, "stdout").with_source(error))?;
    }
    Ok(())
}

/// Writes and reads at the same time, as an extract and its upload do.
async fn through_spool(block: &[u8]) -> Result<Duration> {
    let started = Instant::now();
    let (mut writer, reader) = spool(&std::env::temp_dir())?;
    let read = tokio::spawn(async move {
        let mut bytes = 0;
        let mut stream = reader.open();
        while let Some(piece) = stream.try_next().await? {
            bytes += piece.len();
        }
        Ok::<usize, Error>(bytes)
    });
    for _ in 0..SPOOL_BYTES / block.len() {
        writer.write(block.to_vec().into()).await?;
    }
    writer.finish().await?;
    black_box(read.await.expect("the reader does not panic")?);
    Ok(started.elapsed())
}

fn count(block: &[u8]) -> Duration {
    let started = Instant::now();
    let mut tally = Tally::default();
    for _ in 0..SPOOL_BYTES / block.len() {
        tally.push(block);
    }
    black_box(tally.totals());
    started.elapsed()
}

/// One judgement over many sessions, a tenth of them writing.
fn bound() -> Result<Duration> {
    let at = Timestamp::from_micros(1_700_000_000_000_000);
    let session = |pid: i32| Backend {
        pid,
        backend_start: Some(at.minus(Micros::seconds(3600))),
        backend_type: Some("client backend".to_owned()),
        state: Some(if pid % 10 == 0 { "idle in transaction" } else { "idle" }.to_owned()),
        xact_start: (pid % 10 == 0).then(|| at.minus(Micros::seconds(i64::from(pid)))),
        wait_event_type: Some("Client".to_owned()),
        ..Backend::default()
    };
    let look = Activity { at, backends: (1..=SESSIONS).map(session).collect() };
    let low = at.minus(Micros::seconds(10_000));
    let started = Instant::now();
    for _ in 0..BOUNDS {
        let seen = Observation { low, run_started_at: at, step: Micros(1), first: &look, second: &look, prepared: &[] };
        black_box(safe_bound(black_box(&seen))?);
    }
    Ok(started.elapsed() / BOUNDS)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[allow(clippy::cast_precision_loss)]
fn rate(time: Duration) -> String {
    format!("{:.0} MiB/s", SPOOL_BYTES as f64 / f64::from(1 << 20) / time.as_secs_f64())
}
