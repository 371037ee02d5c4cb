//! Reads one table as a run does, through our stream into the spool, counted and hashed: `copy_out CONFIG TABLE`.
//! What is set beside it in the benchmark is `psql -c 'COPY …' > file`.

use std::io::Write;
use std::path::Path;

use dwh_core::config::{Config, Environment};
use dwh_core::source::ReadRequest;
use dwh_core::testing::internals::{Tally, spool};
use dwh_core::{Error, ErrorKind, PgSource, Plan, Result, Source, Timestamp};

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [config, table] = words.as_slice() else {
        return Err(Error::new(ErrorKind::Config, "usage: copy_out CONFIG TABLE"));
    };
    let environment = Environment::of_process();
    let config = Config::load(Path::new(config), environment.clone())?;
    let table = config.table(table)?;
    let source = PgSource::new(&table.source, &config.sources[&table.source], &environment)?;
    let plan = Plan::new(table, source.describe(table).await?)?;

    // no reader: the spool alone is set beside a file
    let (mut writer, _spool) = spool(&std::env::temp_dir())?;
    let mut tally = Tally::default();
    let mut reading = source.read(ReadRequest::whole(&plan, Timestamp::from_micros(0))).await?;
    while let Some(piece) = reading.next().await? {
        tally.push(&piece);
        writer.write(piece).await?;
    }
    writer.finish().await?;
    reading.finish().await?;
    writeln!(std::io::stdout(), "{} rows, {} bytes", tally.rows(), tally.bytes())
        .map_err(|error| Error::new(ErrorKind::Disk, "stdout").with_source(error))
}
