//! How much a run would read, as the planner of the source sees it: no row is counted.

use serde_json::Value;

use crate::config::TableConfig;
use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::source::survey::Survey;

/// What a dry run knows of the amount.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    pub(super) rows: u64,
    /// As the server counts them in memory, which a CSV is near to.
    pub(super) bytes: u64,
}

impl Pipeline {
    /// Asks the source of the table what it expects of the statement. One that does not say it keeps no run from being planned.
    pub(super) async fn expected(&self, table: &TableConfig, select: &str) -> Option<Expected> {
        let source = self.config.sources.get(&table.source)?;
        let asked = async {
            let survey = Survey::open(&table.source, &source.url, &self.config.environment).await?;
            let row = survey.row(&format!("explain (format json) {select}"), &[]).await?;
            Ok::<_, Error>(of_tree(&row.get::<_, Value>(0)))
        };
        asked.await.unwrap_or_else(|error| {
            tracing::debug!(table = table.name, error = %error.chain(), "the source does not say how many rows there are");
            None
        })
    }
}

fn of_tree(tree: &Value) -> Option<Expected> {
    let top = tree.get(0)?.get("Plan")?;
    let number = |name: &str| top.get(name)?.as_f64();
    let (rows, width) = (number("Plan Rows")?, number("Plan Width")?);
    Some(Expected { rows: rows as u64, bytes: (rows * width) as u64 })
}

#[cfg(test)]
mod tests {
    use super::{Expected, of_tree};
    use serde_json::json;

    #[test]
    fn the_top_of_the_tree_says_it() {
        let tree = json!([{ "Plan": { "Node Type": "Seq Scan", "Plan Rows": 1200, "Plan Width": 10 } }]);
        assert_eq!(of_tree(&tree), Some(Expected { rows: 1200, bytes: 12_000 }));
        assert_eq!(of_tree(&json!({})), None);
    }
}
