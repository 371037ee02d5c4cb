//! Watermark and run log in the target: functions over an open transaction, so that they cannot commit on their own.

mod alerts;
mod bronze;
mod discovered;
mod history;
mod log;
mod models;
mod others;
mod overview;
mod rehearsal;
mod runs;
mod watermark;

use gethostname::gethostname;
use std::sync::{Arc, OnceLock};
use tokio_postgres::types::{Json, ToSql, Type};
use tokio_postgres::{GenericClient, Row};

use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::quote_ident;

pub(crate) use bronze::Alone;
pub(crate) use overview::IS_LEASE;
pub(crate) use watermark::{Brought, Held};

type Params<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// The control schema of a target.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    schema: String,
    host: String,
    /// Whether the role may ask for the cluster's own number.
    may_identify: Arc<OnceLock<bool>>,
}

impl Control {
    /// The control schema of that name.
    pub(crate) fn new(schema: &str) -> Self {
        let host = format!("{} pid {}", gethostname().to_string_lossy(), std::process::id());
        Self { schema: schema.to_owned(), host, may_identify: Arc::default() }
    }

    /// The tables that a run writes to, quoted.
    pub(crate) fn tables(&self) -> [String; 2] {
        [self.watermarks(), self.log()]
    }

    fn watermarks(&self) -> String {
        format!("{}.extract_watermarks", quote_ident(&self.schema))
    }

    fn log(&self) -> String {
        format!("{}.extract_runs", quote_ident(&self.schema))
    }

    async fn ask(&self, client: &impl GenericClient, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        client.query_typed(sql, params).await.map_err(|error| self.sort(error))
    }

    fn sort(&self, error: tokio_postgres::Error) -> Error {
        // A table that came with a later migration.
        let newer = error.as_db_error().is_some_and(|error| error.message().contains("alerts_sent"));
        // A kind of run that a later migration allows.
        let kind = error.as_db_error().is_some_and(|error| error.constraint() == Some("extract_runs_kind_check"));
        match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("3F000" | "42P01") if !newer => {
                Error::new(ErrorKind::Contract, format!("target: no control schema `{}`", self.schema))
                    .with_hint("run `dwh migrate`; it makes the control schema")
            }
            Some(code) if matches!(code, "42P01" | "42703") || kind => Error::new(
                ErrorKind::Contract,
                format!("target: control schema `{}` is of an older version", self.schema),
            )
            .with_hint("run `dwh migrate`; it brings the control schema up to date"),
            _ => sort(error),
        }
    }
}

/// A value of a row, or an error that names the column: the row may have been written by other programs.
fn value<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: &str) -> Result<T> {
    row.try_get(column).map_err(|error| {
        Error::new(ErrorKind::Data, format!("control schema: column `{column}` cannot be read")).with_source(error)
    })
}

/// The place in a list that was asked for, which the server counts from 1.
fn place(row: &Row) -> Result<usize> {
    Ok(usize::try_from(value::<i64>(row, "place")? - 1).unwrap_or(usize::MAX))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>> {
    Ok(value::<Option<Json<T>>>(row, column)?.map(|Json(inner)| inner))
}
