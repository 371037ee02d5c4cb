//! `dwh models`: SELECTs in files become tables and views, in their order; what is there is replaced whole, or not at all.

use serde_json::{Value, json};
use std::fs;

use crate::support::{Project, events, number, table};
use dwh_core::testing::TestDb;

const DAYS: &str = "-- Events by day\n-- kind: table\n-- key: day\n-- index: n\n\
     select recorded_at::date as day, count(*) as n, '${SHOP}'::text as shop from events group by 1;\n";
const TOTAL: &str = "-- kind: view\nselect sum(n) as n from marts.days";
const TOP: &str = "-- kind: materialized view\n-- key: n\nselect n from marts.total";

/// A loaded project with these models.
async fn with_models(test: &str, models: &[(&str, &str)]) -> (TestDb, Project) {
    let (db, project) = events(test).await;
    let project = project
        .config_with("[target]", "[models]\ndir = \"models\"\n[target]")
        .env("SHOP", "it's")
        .env("TZ", "UTC");
    project.ok(&["run", "events"]);
    models.iter().for_each(|(name, text)| write(&project, name, text));
    (db, project)
}

fn write(project: &Project, name: &str, text: &str) {
    let path = project.folder().join("models").join(format!("{}.sql", name.replace('.', "/")));
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text.replace("'${SHOP}'", "$$${SHOP}$$").replace("$$${", "$x$${")
        .replace("}$$", "}$x$")).expect("written");
}

/// Model, step and status of each.
fn told(report: &Value) -> Vec<[&str; 3]> {
    let models = report["models"].as_array().unwrap_or_else(|| panic!("no models: {report:#}"));
    let text = |model: &'_ Value, key: &str| -> &str { Box::leak(model[key].as_str().unwrap_or("-").to_owned().into_boxed_str()) };
    models.iter().map(|model| ["model", "step", "status"].map(|key| text(model, key))).collect()
}

async fn text(db: &TestDb, sql: &str) -> String {
    db.target().query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}
