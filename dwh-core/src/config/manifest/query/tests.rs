use super::*;

const WINDOW: &str = "BETWEEN '__dwh_window_execution_date'::timestamp - interval '__dwh_window_hours hours' \
                      AND '__dwh_window_execution_date'::timestamp";

fn taken(text: &str) -> Taken {
    take(text, None, "public").unwrap_or_else(|message| panic!("{text}: {message}"))
}

fn refused(text: &str) -> String {
    take(text, None, "public").expect_err(text)
}

#[test]
fn a_query_over_one_relation_becomes_its_columns_and_a_condition() {
    let found = take(
        &format!(
            "SELECT id -- the key, WHERE it is\n, \"when\", time as spec_time, blob::VARCHAR, MD5(x), o.note, NULL AS gone \
             , CASE WHEN o.at > '2262-01-01' THEN NULL ELSE o.at END AS at FROM Orders o WHERE updated_at {WINDOW}"
        ),
        Some("AND created_at NOT IN ('0001-01-01 00:00:00+00', '1000-01-01 00:00:00+00')"),
        "public",
    );
    let found = found.expect("a query");
    assert_eq!(found.relation, Some(TableRef::new("public", "orders")));
    assert_eq!(found.query, None);
    let columns = ["id", "when", "spec_time", "blob", "md5", "note", "gone", "at"];
    assert_eq!(found.columns.as_deref().expect("a list"), columns);
    let select: Vec<(&str, &str)> = found.select.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    assert_eq!(
        select,
        [
            ("at", "CASE WHEN t.at > '2262-01-01' THEN NULL ELSE t.at END"),
            ("blob", "blob::VARCHAR"),
            ("gone", "NULL"),
            ("md5", "MD5(x)"),
            ("spec_time", "t.\"time\"")
        ]
    );
    assert_eq!(found.filter.as_deref(), Some("created_at NOT IN ('0001-01-01 00:00:00+00', '1000-01-01 00:00:00+00')"));
    assert_eq!(found.watermark.as_deref(), Some("updated_at"));
}

#[test]
fn a_column_without_a_name_is_called_as_the_server_calls_it() {
    let case = |last: &str| format!("SELECT id, CASE WHEN a THEN NULL{last} END FROM t");
    let elses = [
        ("", "case"),
        (" ELSE 'x'", "case"),
        (" ELSE NULL::text", "case"),
        (" ELSE -1", "case"),
        (" ELSE a + b", "case"),
        (" ELSE CASE WHEN b THEN 1 END", "case"),
        (" ELSE o", "o"),
        (" ELSE (t.o)", "o"),
        (" ELSE o::text", "o"),
        (" ELSE lower(o)", "lower"),
        (" ELSE coalesce(o, 'x')::varchar", "coalesce"),
        (" ELSE CASE WHEN b THEN 1 ELSE o END", "o"),
    ];
    for (last, name) in elses {
        let columns = taken(&case(last)).columns.expect(last);
        assert_eq!(columns, ["id", name], "{last}");
    }
    // The server is asked.
    for cast in ["(CASE WHEN a THEN 1 ELSE 0 END)::int", "'x'::text", "a + b", "CASE WHEN a THEN 1 ELSE (SELECT 1) END"]
    {
        let found = taken(&format!("SELECT id, {cast} FROM t"));
        assert!(found.columns.is_none() && found.query.is_some(), "{cast}: {found:?}");
    }
    assert!(refused("SELECT CASE WHEN a THEN 1 END, CASE WHEN b THEN 1 END FROM t").contains("two columns `case`"));
}

#[test]
fn a_filter_may_begin_with_where_or_and_whatever_stands_before_it() {
    for filter in ["WHERE a > 1", "AND a > 1", "a > 1", " -- why\n and a > 1;"] {
        for (query, whole) in
            [("SELECT id FROM t", "a > 1"), ("SELECT id FROM t WHERE b IN (1, 2);", "b IN (1, 2) AND a > 1")]
        {
            let found = take(query, Some(filter), "app").expect(filter);
            assert_eq!(found.filter.as_deref(), Some(whole), "{query} {filter}");
            assert_eq!(found.watermark, None);
        }
    }
    assert!(take("SELECT id FROM t", Some("AND"), "app").is_err());
    let found = take("SELECT id FROM t", Some("AND a = 'it''s' AND b = E'x\\n'"), "app").expect("a query");
    assert_eq!(found.filter.as_deref(), Some("a = 'it''s' AND b = E'x\\n'"));
    // An OR keeps its meaning.
    let found = take("SELECT id FROM t WHERE a OR b", Some("AND c"), "app").expect("a query");
    assert_eq!(found.filter.as_deref(), Some("(a OR b AND c)"));
}

#[test]
fn windows_are_told_in_every_form() {
    for window in [
        "created_at >= '__dwh_window_begin_timestamp'::timestamp AND created_at < '__dwh_window_end_timestamp'::timestamp",
        "(created_at BETWEEN '__dwh_window_begin_timestamp' AND '__dwh_window_end_timestamp')",
        "'__dwh_window_begin_timestamp' <= t.created_at",
        "x = 'a' AND created_at > __dwh_window_begin_timestamp",
    ] {
        assert_eq!(
            taken(&format!("SELECT * FROM t WHERE {window}")).watermark.as_deref(),
            Some("created_at"),
            "{window}"
        );
    }
    for (query, word) in [
        ("SELECT 1 FROM t WHERE a > '__dwh_window_hours' OR b > '__dwh_window_hours'", "plain column"),
        ("SELECT a FROM t WHERE a > '__dwh_window_hours' AND b > '__dwh_window_hours'", "two columns"),
        ("SELECT a FROM t WHERE date(a) > '__dwh_window_hours'", "plain column"),
        ("SELECT '__dwh_window_hours' AS h FROM t", "where none can be cut"),
        ("SELECT a FROM t WHERE a > '__dwh_window_hours' UNION SELECT a FROM u", "where none can be cut"),
        ("DELETE FROM t", "no SELECT"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT FROM WHERE", "no SQL"),
        ("SELECT upper(a) AS a FROM t WHERE a > '__dwh_window_hours'", "computes `a`"),
        ("SELECT a, b AS a FROM t", "two columns `a`"),
        ("SELECT b FROM t JOIN u USING (i) WHERE a > '__dwh_window_hours'", "add it to the SELECT list"),
    ] {
        assert!(refused(query).contains(word), "{query}: {}", refused(query));
        assert!(!refused(query).contains("__dwh"), "{query}: {}", refused(query));
    }
}

#[test]
fn any_other_query_stays_one_with_its_relations_named_in_full() {
    for (query, whole) in [
        ("SELECT DISTINCT a FROM t", "SELECT DISTINCT a FROM \"app\".t"),
        ("SELECT count(*) FROM t", "SELECT count(*) FROM \"app\".t"),
        ("SELECT a FROM t LIMIT 5", "SELECT a FROM \"app\".t LIMIT 5"),
        (
            "WITH w AS (SELECT a FROM t) SELECT w.a FROM w JOIN x.y ON w.a = y.a",
            "WITH w AS (SELECT a FROM \"app\".t) SELECT w.a FROM w JOIN x.y ON w.a = y.a",
        ),
        (
            "SELECT a FROM t WHERE a IN (SELECT a FROM u)",
            "SELECT a FROM \"app\".t WHERE a IN (SELECT a FROM \"app\".u)",
        ),
        (
            "SELECT a FROM t WHERE a > 1 UNION SELECT a FROM u",
            "SELECT a FROM \"app\".t WHERE a > 1 UNION SELECT a FROM \"app\".u",
        ),
    ] {
        let found = take(query, None, "app").expect(query);
        assert_eq!((found.query.as_deref(), found.relation), (Some(whole), None), "{query}");
    }
    let found =
        take("SELECT t.a AS b, t.at FROM t JOIN u USING (i) WHERE t.at > '__dwh_window_hours' AND u.x", None, "app");
    let found = found.expect("a join");
    assert_eq!(found.watermark.as_deref(), Some("at"));
    assert_eq!(found.query.as_deref(), Some("SELECT t.a AS b, t.at FROM \"app\".t JOIN \"app\".u USING(i) WHERE u.x"));
}

#[test]
fn a_key_may_be_an_expression() {
    let found = taken("SELECT CONCAT(a,'_', b) AS id, a, b AS c, d FROM t");
    let key = |text: &str| found.key(text).expect("SQL");
    assert_eq!(key("d"), Some(vec!["d".to_owned()]));
    assert_eq!(key("CONCAT(a, '_', b)"), Some(vec!["id".to_owned()]));
    assert_eq!(key("CONCAT(b,a)"), Some(vec!["c".to_owned(), "a".to_owned()]));
    assert_eq!(key("e"), None);
    assert!(found.key("a b c").is_err());
    assert_eq!(taken("SELECT * FROM t").key("z").expect("SQL"), Some(vec!["z".to_owned()]));
}

#[test]
fn a_string_with_quotes_in_a_row_stays_what_it_is() {
    let found = taken(
        r"SELECT id, replace(name, '''''', '''') AS name, a || 'it''s' AS b, '\''$text0$' AS c FROM t WHERE x <> 'a''''b'",
    );
    let select: Vec<(&str, &str)> = found.select.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    assert_eq!(
        select,
        [("b", "a || 'it''s'"), ("c", r"$text1$\'$text0$$text1$"), ("name", "replace(name, $text0$''$text0$, '''')")]
    );
    assert_eq!(found.filter.as_deref(), Some("x <> $text0$a''b$text0$"));
    // The key is found among the columns all the same.
    assert_eq!(found.key("replace(name, '''''', '''')"), Ok(Some(vec!["name".to_owned()])));
    let whole = taken("SELECT t.id FROM t JOIN u USING (id) WHERE t.x <> ''''''").query.expect("a query");
    assert!(whole.ends_with("WHERE t.x <> $text0$''$text0$"), "{whole}");
}
