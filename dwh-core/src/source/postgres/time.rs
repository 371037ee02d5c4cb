//! A `timestamptz` on the wire.

use std::error::Error;
use tokio_postgres::types::{FromSql, Type};

use crate::watermark::Timestamp;

/// A [`Timestamp`] as the driver reads it: 64 bits, never through a float.
pub(super) struct Instant(pub(super) Timestamp);

impl<'a> FromSql<'a> for Instant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Timestamp::from_pg_micros(i64::from_be_bytes(raw.try_into()?))))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}

/// The value of a column that may be NULL.
pub(super) fn optional(row: &tokio_postgres::Row, column: &str) -> Option<Timestamp> {
    row.get::<_, Option<Instant>>(column).map(|instant| instant.0)
}
