use proptest::prelude::*;

use super::TypeName;

fn read(text: &str) -> Option<TypeName> {
    text.parse().ok()
}

#[test]
fn what_postgresql_prints_comes_back_byte_by_byte() {
    for text in [
        "bigint",
        "double precision",
        "character varying(10)",
        "character varying",
        "character(3)",
        "bit(8)",
        "bit varying(8)",
        "bit varying",
        "numeric(10,-2)",
        "numeric(6,2)[]",
        "time without time zone",
        "time(0) with time zone",
        "timestamp(3) with time zone",
        "timestamp without time zone[]",
        "interval",
        "interval(3)",
        "interval year to month",
        "interval day to second(3)",
        "interval second(0)[]",
        "\"char\"",
        "\"bit\"",
        "\"char\"[]",
        "bpchar",
        "json",
        "jsonb[][][]",
        "text",
        "uuid",
        "int4range",
        "public.geometry(Point,4326)",
        "public.geometry(PointZM,4326)[]",
        "app.\"Mood\"",
        "app.\"integer\"",
        "\"App\".\"a \"\"b\"\".c(1)[]\"[]",
        "\"Ärger 🐘\".\"); drop table x; --\"",
        "_timescaledb.x1",
        "vector.vector(3)",
        "public.hll(11,5,-1,1)",
        "mobility.tgeompoint(Sequence, Point, 4326)",
    ] {
        let name = read(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(name.as_str(), text);
        let json = serde_json::to_string(&name).expect("json");
        assert_eq!(serde_json::from_str::<TypeName>(&json).expect("comes back"), name);
    }
    assert_eq!(read("timestamp with time zone"), Some(TypeName::timestamptz()));
}

#[test]
fn needless_quotes_go_and_needed_ones_come() {
    for (given, kept) in [
        ("\"text\"", "text"),
        ("\"app\".\"mood\"", "app.mood"),
        // A name there, a word of the grammar in a newer version.
        ("app.json_table", "app.\"json_table\""),
        ("app.integer", "app.\"integer\""),
        ("user.x", "\"user\".x"),
    ] {
        assert_eq!(read(given).expect(given).as_str(), kept);
    }
}

#[test]
fn everything_else_is_refused() {
    for text in [
        "",
        "-",
        "???",
        " text",
        "text ",
        "Text",
        "text); drop schema x cascade; --",
        "text not null default f()",
        "text default 1",
        "text collate \"C\"",
        "text,x int",
        "text/**/",
        "text--",
        "text\n",
        "integer[3]",
        "integer[",
        "integer[]]",
        "numeric()",
        "numeric(6,2",
        "numeric(6,2))",
        "numeric((6),2)",
        "numeric(6 , 2)",
        "numeric('6')",
        "numeric(f(1))",
        "numeric(\"a\")",
        "integer(3)",
        "timestamp",
        "timestamp with time zone(3)",
        "time(3)",
        "interval day to year",
        "interval(3) second",
        "double  precision",
        "character large object",
        "national character",
        "int",
        "select",
        "setof text",
        "serial",
        "app.bigserial",
        "\"serial\"",
        "a.b.c",
        "a.",
        ".a",
        "a..b",
        "\"\"",
        "\"a",
        "\"a\"\"",
        "\"a\"b",
        "\"a\"\"b",
        "\"a\0b\"",
        "a$b",
        "ä",
        "1a",
        "e'x'",
        "u&\"x\"",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn the_parts_are_told() {
    let parts = |text: &str| {
        let name = read(text).expect(text);
        (name.schema().map(str::to_owned), name.bare().to_owned(), name.name().to_owned())
    };
    let own =
        |schema: Option<&str>, bare: &str, name: &str| (schema.map(str::to_owned), bare.to_owned(), name.to_owned());
    assert_eq!(parts("numeric(6,2)[]"), own(None, "numeric(6,2)[]", "numeric"));
    assert_eq!(parts("timestamp(3) with time zone"), own(None, "timestamp(3) with time zone", "timestamp"));
    assert_eq!(parts("public.geometry(Point,4326)"), own(Some("public"), "geometry(Point,4326)", "geometry"));
    assert_eq!(parts("\"a.b\".\"c(d\"[]"), own(Some("\"a.b\""), "\"c(d\"[]", "\"c(d\""));
}

/// Pieces that a type's name, or an attack on one, is made of.
fn shredded() -> impl Strategy<Value = String> {
    let pieces = [
        "text",
        "numeric",
        "timestamp",
        " with time zone",
        "interval",
        " day to second",
        "geometry",
        "app",
        "\"",
        "\"\"",
        ".",
        "(",
        ")",
        ",",
        "3",
        "-2",
        "[]",
        " ",
        ";",
        "--",
        "/*",
        "'",
        "$$",
        "\\",
        "select",
        "\n",
        "\0",
        "Ä",
        "drop table x",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..9).prop_map(|pieces| pieces.concat())
}

/// What stands outside double quotes.
fn outside_quotes(text: &str) -> String {
    text.split('"').step_by(2).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn whatever_is_read_holds_nothing_but_names_and_modifiers(text in prop_oneof![shredded(), any::<String>()]) {
        if let Some(name) = read(&text) {
            let shown = name.as_str();
            prop_assert_eq!(shown.matches('"').count() % 2, 0, "{}", shown);
            let outside = outside_quotes(shown);
            prop_assert!(outside.chars().all(|c| c.is_ascii_alphanumeric() || "_ .(),-[]".contains(c)), "{}", shown);
            prop_assert!(!outside.contains("--"), "{}", shown);
            prop_assert_eq!(outside.matches('(').count(), outside.matches(')').count());
            prop_assert!(outside.matches('(').count() <= 1, "{}", shown);
            // What is shown is read as the same.
            prop_assert_eq!(read(shown), Some(name));
        }
    }

    #[test]
    fn any_names_come_back(schema in "[^\0]{1,12}", name in "[^\0]{1,12}", tail in "(\\([A-Za-z]{1,6}(,-?[0-9]{1,4})?\\))?(\\[\\]){0,2}") {
        let sql = format!("{}.{}{tail}", crate::schema::quote_ident(&schema), crate::schema::quote_ident(&name));
        let read_back = read(&sql).expect("is a name");
        prop_assert_eq!(read(read_back.as_str()), Some(read_back));
    }
}
