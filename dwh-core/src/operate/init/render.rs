//! The text of `dwh.toml`: every choice with its reason beside it. Pure.

use toml::Value;

use super::choose::Choice;
use super::{InitRequest, LeftOut, Taken};
use crate::config::{Environment, Mode, OnConflict};
use crate::schema::TableRef;
use crate::source::survey::ServerFacts;

/// The sections before the tables.
pub(super) fn header(request: &InitRequest, project: &str, environment: &Environment) -> String {
    let mut text = String::from(
        "# Written by `dwh init` from what the source said of itself. Read it once: every choice has its reason, and\n\
         # `doubtful` marks what nobody could know from outside. It runs as it is: `dwh migrate`, `dwh check`, `dwh run`.\n\n",
    );
    text.push_str(&format!("[project]\nname = {}  # first folder of every blob\n", quoted(project)));
    text.push_str(&format!("timezone = {}  # stamps the names of CSV files\n", quoted(&request.timezone)));
    text.push_str("cadence = \"3h\"  # how often it runs; a table is fresh while it is younger than twice this\n");
    text.push_str("# metadata = [\"_loaded_at\"]  # rows say when they were written into bronze, for whoever asks what is new\n\n");
    text.push_str("# Both addresses stand in `.env` beside this file, or in the environment.\n");
    text.push_str("[source.main]\nurl = \"${DWH_SOURCE_URL}\"\n\n[target]\nurl = \"${DWH_TARGET_URL}\"\n\n");
    text.push_str(&blob(&request.blob));
    if request.blob.starts_with("s3://") {
        text.push_str("# Access keys come from the environment, never from here.\n");
        for (key, names) in [
            ("endpoint", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
            ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"]),
        ] {
            match names.iter().find_map(|name| Some((name, environment.get(name)?))) {
                // An address may carry a password.
                Some((name, value)) if !value.contains('@') => text.push_str(&comment(
                    "",
                    &format!(
                        "{key} = {}  # as `{name}` says now; without this line it is asked each time",
                        quoted(value)
                    ),
                )),
                _ => text.push_str(&format!("# {key} = \"…\"  # or `{}` in the environment\n", names[1])),
            }
        }
    }
    text + RETENTION
}

/// What `dwh prune` may remove, for a store that would grow for ever.
pub(super) const RETENTION: &str = "
# What `dwh prune` and `dwh maintain` remove: only what is loaded. Without this section they keep everything.
[retention]
processed = \"365d\"  # each run of a snapshot leaves a whole CSV; `dwh rebuild` has no older rows than these files
exports = \"30d\"  # CSV files that were left beside their copy in `processed/`
runs = \"365d\"  # rows of the run log
";

/// `[blob]`: where the CSV files go, and how they are stored.
pub(super) fn blob(url: &str) -> String {
    format!(
        "[blob]\nurl = {}\ncompression = \"zstd\"  # most CSV files become several times smaller; `gzip` where a reader does not know it\n",
        quoted(url)
    )
}

/// The remarks on the source as a whole.
pub(super) fn source_remarks(server: &ServerFacts, warnings: &[String]) -> String {
    let mut text = comment("", &format!("The source, read as `{}`: database `{}`.", server.role, server.database));
    warnings.iter().for_each(|warning| text.push_str(&comment("warning: ", warning)));
    text
}

/// `[[table]]` of one table; of a source that is added it has the name that its relation gives it, where no other has it.
pub(super) fn table(taken: &Taken, added: Option<&str>) -> String {
    let choice = &taken.choice;
    let mut text = String::from("\n[[table]]\n");
    choice.reasons.iter().for_each(|reason| text.push_str(&comment("", reason)));
    choice.doubts.iter().for_each(|doubt| text.push_str(&comment("doubtful: ", doubt)));
    match added {
        None => text.push_str(&format!("name = {}\n", quoted(&taken.name))),
        Some(source) => {
            text.push_str(&format!("source = {}\n", quoted(source)));
            if taken.name != taken.table.name {
                text.push_str(&format!("name = {}\n", quoted(&format!("{source}.{}", taken.name))));
                text.push_str(&format!("target = {}\n", quoted(&crate::schema::quote_ident(&taken.name))));
            }
        }
    }
    text.push_str(&format!("relation = {}\n", quoted(&relation(&taken.table))));
    text.push_str(&format!("mode = \"{}\"\n", choice.mode.as_str()));
    if choice.mode == Mode::Incremental {
        incremental(&mut text, choice);
    }
    casts(&mut text, &taken.casts);
    text
}

fn incremental(text: &mut String, choice: &Choice) {
    if let Some(watermark) = &choice.watermark {
        line(text, "watermark", &quoted(&watermark.column), &watermark.reason);
        if let Some((zone, doubtful)) = &watermark.zone {
            let reason = if *doubtful { "doubtful: the server's own zone" } else { "the default says so" };
            line(text, "watermark_timezone", &quoted(zone), reason);
        }
    }
    let key = Value::Array(choice.key.iter().map(|column| Value::String(escaped(column))).collect());
    line(text, "key", &key.to_string(), &choice.key_reason);
    match choice.on_conflict {
        OnConflict::Nothing => line(text, "on_conflict", "\"nothing\"", "rows that are there stay as they are"),
        OnConflict::Update => line(text, "on_conflict", "\"update\"", "the newer row wins"),
        OnConflict::Append => line(text, "on_conflict", "\"append\"", "each version of a row is kept"),
    }
    if let Some((window, reason)) = &choice.window {
        line(text, "window", &format!("\"{window}\""), reason);
    }
}

/// Columns of which the text is copied, because their type means nothing in another database.
fn casts(text: &mut String, casts: &[(String, String)]) {
    if casts.is_empty() {
        return;
    }
    text.push_str("[table.select]\n");
    for (column, why) in casts {
        let expression = format!("t.{}::text", crate::schema::quote_ident(column));
        let entry = toml::Table::from_iter([(column.clone(), Value::String(escaped(&expression)))]);
        text.push_str(&comment("", &format!("`{column}` {why}")));
        text.push_str(&entry.to_string());
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
}

/// The tables that were left out, with what helps.
pub(super) fn left_out(left_out: &[LeftOut]) -> String {
    let mut text = String::new();
    if !left_out.is_empty() {
        text.push_str("\n# Left out:\n");
    }
    for table in left_out {
        text.push_str(&comment("", &format!("- {}: {}", table.relation, table.reason)));
        if let Some(remedy) = &table.remedy {
            text.push_str(&comment("    ", remedy));
        }
    }
    text
}

/// `schema.name` as the file wants it: parts with dots or quotes in quotes.
fn relation(table: &TableRef) -> String {
    let part = |text: &str| {
        if text.contains(['.', '"']) { crate::schema::quote_ident(text) } else { text.to_owned() }
    };
    format!("{}.{}", part(&table.schema), part(&table.name))
}

fn line(text: &mut String, key: &str, value: &str, reason: &str) {
    text.push_str(&format!("{key} = {value}  {}", comment("", reason)));
}

/// A comment on one line: what a catalog says must not end it.
pub(super) fn comment(mark: &str, text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("# {mark}{text}\n")
}

/// A key of TOML, in quotes where it needs them.
pub(super) fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if bare { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

/// A value of the file, in which `${` stands for itself.
pub(super) fn quoted(text: &str) -> String {
    Value::String(escaped(text)).to_string()
}

fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::{comment, quoted, relation};
    use crate::config::{Config, Environment};
    use crate::schema::TableRef;

    #[test]
    fn names_come_back_as_they_were() {
        for name in
            ["trips", "Trips", "a.b", "a\"b", "a'b", "${HOME}", "$${x}", "a\nb", "日本 語", "a\\b", "#no", "'''"]
        {
            let text = format!(
                "[project]\nname = \"p\"\n[source.main]\nurl = \"x\"\n[target]\nurl = \"x\"\n[blob]\nurl = \"file:///b\"\n\
                 [[table]]\nname = \"t\"\nmode = \"snapshot\"\nrelation = {}\n{}",
                quoted(&relation(&TableRef::new("fl.eet", name))),
                comment("", name)
            );
            let config = Config::parse(&text, "dwh.toml".as_ref(), Environment::default()).expect(&text);
            assert_eq!(config.tables[0].relation, Some(TableRef::new("fl.eet", name)), "{text}");
        }
    }
}
