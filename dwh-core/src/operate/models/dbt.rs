//! The bronze tables as sources of dbt: where they are, how fresh they should be, and which keys they have.

use std::collections::BTreeMap;

use crate::config::TableConfig;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::run::RunKind;
use crate::schema::{quote_ident, quote_literal};

const HEAD: &str = "# Written by `dwh models dbt-sources`: the bronze tables, how fresh they should be, and their keys. For dbt-core 1.10.3
# or later; written again after a change of `dwh.toml`.
version: 2

sources:
";

impl Pipeline {
    /// The tables that match, all of them without globs, as the `sources.yml` of a dbt project: a source for each schema,
    /// freshness from the run log by the `max_lag` of each table, and tests of its key.
    ///
    /// # Errors
    /// `Config` for a glob that cannot be read or matches nothing; `Unreachable`, `Auth` of the target, if there are patterns.
    pub async fn dbt_sources(&self, globs: &[String]) -> Result<String> {
        let tables = self.tables(globs).await?;
        let mut schemas: BTreeMap<&str, Vec<&TableConfig>> = BTreeMap::new();
        for table in &tables {
            schemas.entry(&table.target.schema).or_default().push(table);
        }
        let mut text = HEAD.to_owned();
        for (schema, tables) in schemas {
            let name = quoted(schema);
            text.push_str(&format!("  - name: {name}\n    schema: {name}\n    tables:\n"));
            tables.iter().for_each(|table| self.dbt_table(&mut text, table));
        }
        Ok(text)
    }

    fn dbt_table(&self, text: &mut String, table: &TableConfig) {
        let kinds = RunKind::ALL.into_iter().filter(|kind| kind.moves_watermark());
        let kinds: Vec<String> = kinds.map(|kind| quote_literal(kind.as_str())).collect();
        let loaded = format!(
            "select max(run_finished_at) from {}.extract_runs where table_name = {} and status = 'loaded' and kind in ({})",
            quote_ident(&self.config.target.control_schema),
            quote_literal(&table.name),
            kinds.join(", ")
        );
        let minutes = (table.thresholds.max_lag.0 / 60_000_000).max(1);
        text.push_str(&format!(
            "      - name: {}\n        config:\n          loaded_at_query: {}\n          freshness:\n            \
             error_after: {{count: {minutes}, period: minute}}\n",
            quoted(&table.target.name),
            quoted(&loaded)
        ));
        // Where each version of a row stays, or rows are replaced as a whole, nothing makes a key unique.
        if !table.mode.is_keyed() || table.is_appended() || table.key.is_empty() {
            return;
        }
        let alone = table.key.len() == 1;
        if !alone {
            let row: Vec<String> = table.key.iter().map(|name| quote_ident(name)).collect();
            let row = quoted(&format!("({})", row.join(", ")));
            text.push_str(&format!("        data_tests:\n          - unique:\n              column_name: {row}\n"));
        }
        text.push_str("        columns:\n");
        for name in &table.key {
            let unique = if alone { "              - unique\n" } else { "" };
            text.push_str(&format!(
                "          - name: {}\n            quote: true\n            data_tests:\n              - not_null\n{unique}",
                quoted(name)
            ));
        }
    }
}

/// A string as YAML writes it: JSON's way is one of its ways.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
