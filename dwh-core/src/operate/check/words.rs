//! The stable words of `check`: the type keeps any other from being told, and a test finds each in `docs/check.md`.

macro_rules! words {
    ($($name:ident $text:literal)*) => {
        /// What a finding is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Word { $($name),* }

        impl Word {
            /// Every word.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in JSON.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

words! {
    Connection "connection"
    Tls "tls"
    Version "version"
    Encoding "encoding"
    Timeouts "timeouts"
    Connections "connections"
    Clock "clock"
    Secrets "secrets"
    Login "login"
    Writable "writable"
    Role "role"
    Reader "reader"
    ControlSchema "control_schema"
    ReadOnly "read_only"
    Activity "activity"
    Standby "standby"
    Source "source"
    Patterns "patterns"
    NotCopied "not_copied"
    Configuration "configuration"
    Models "models"
    Catalog "catalog"
    Watermark "watermark"
    WatermarkNull "watermark_null"
    WatermarkIndex "watermark_index"
    WatermarkDefault "watermark_default"
    WatermarkPrecision "watermark_precision"
    WatermarkTimezone "watermark_timezone"
    WatermarkRows "watermark_rows"
    WatermarkFuture "watermark_future"
    Subscription "subscription"
    Bound "bound"
    Sweep "sweep"
    Window "window"
    SourceKey "source_key"
    Type "type"
    Bronze "bronze"
    Drift "drift"
    Key "key"
    Design "design"
    OtherUnique "other_unique"
    Constraint "constraint"
    Rights "rights"
    Rehearsal "rehearsal"
    RowSecurity "row_security"
    Trigger "trigger"
    Rule "rule"
    WatermarkRow "watermark_row"
    Origin "origin"
    BronzeTable "bronze_table"
    Lease "lease"
    Unfinished "unfinished"
    Write "write"
    ConditionalPut "conditional_put"
    ServerCopy "server_copy"
    Paging "paging"
    Multipart "multipart"
    Uploads "uploads"
    Space "space"
    Files "files"
    JsonSchema "json_schema"
    StrayFiles "stray_files"
    ManualRun "manual_run"
    LoadedRun "loaded_run"
    RowCount "row_count"
    Geometry "geometry"
    Exports "exports"
    Processed "processed"
    History "history"
    Fresh "fresh"
    RecentFailures "recent_failures"
    Growth "growth"
}

#[cfg(test)]
mod tests {
    use super::Word;
    use std::collections::BTreeSet;

    #[test]
    fn the_page_has_every_word_and_no_other() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/check.md");
        let page = std::fs::read_to_string(path).expect("docs/check.md");
        let on_page: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .filter(|word| !word.starts_with('-'))
            .collect();
        let told: BTreeSet<&str> = Word::ALL.iter().map(|word| word.as_str()).collect();
        assert_eq!(told, on_page);
        assert_eq!(told.len(), Word::ALL.len(), "a word stands twice");
    }
}
