//! How a value of one type becomes one of another: the `using` of a remedy, and the cast that keeps bronze's type.
//!
//! A pasted statement runs in a session of unknown settings, and must not cut a value that the new type cannot hold.

use crate::schema::TypeName;

/// What PostgreSQL's own types have in common when they are converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// With its bytes.
    Integer(u8),
    Numeric,
    /// With its bytes.
    Float(u8),
    Money,
    Bool,
    Text,
    Date,
    Timestamp,
    Timestamptz,
    Time,
    Timetz,
    Interval,
    Json,
    Jsonb,
    Uuid,
    Bytea,
    Array,
    Other,
}

use Class::*;

impl Class {
    fn of(name: &TypeName) -> Self {
        let bare = name.bare();
        if bare.ends_with("[]") {
            return Array;
        }
        // A type of another schema may be called like one of PostgreSQL's.
        if name.schema().is_some() {
            return Other;
        }
        let zoned = bare.ends_with("with time zone");
        match name.name() {
            "smallint" => Integer(2),
            "integer" => Integer(4),
            "bigint" => Integer(8),
            "numeric" => Numeric,
            "real" => Float(4),
            "double precision" => Float(8),
            "money" => Money,
            "boolean" => Bool,
            "text" | "character varying" | "character" | "name" => Text,
            "date" => Date,
            "timestamp" if zoned => Timestamptz,
            "timestamp" => Timestamp,
            "time" if zoned => Timetz,
            "time" => Time,
            "interval" => Interval,
            "json" => Json,
            "jsonb" => Jsonb,
            "uuid" => Uuid,
            "bytea" => Bytea,
            _ => Other,
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Integer(_) | Numeric | Float(_))
    }

    const fn is_moment(self) -> bool {
        matches!(self, Date | Timestamp | Timestamptz)
    }

    /// Whether its text is the same under all settings.
    const fn has_one_text(self) -> bool {
        matches!(self, Integer(_) | Numeric | Bool | Text | Uuid | Json | Jsonb)
    }
}

/// The conversion of a column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conversion {
    /// The expression; `None` where the server's own assignment is exact or fails.
    pub using: Option<String>,
    /// Whether it means the same under pinned settings only.
    pub pinned: bool,
}

/// The value `v` of type `from` as one of type `to`, or an error of the server where `to` cannot hold it; `None` if there
/// is no such expression.
pub(super) fn convert(v: &str, from: &TypeName, to: &TypeName) -> Option<Conversion> {
    // What is too long for a name is cut, whatever one does.
    if to.name() == "name" {
        return None;
    }
    let (old, new) = (Class::of(from), Class::of(to));
    let forward = expression(v, from, to)?;
    let moments = old.is_moment() && new.is_moment();
    let numbers = old.is_number() && new.is_number();
    // Between these two a number goes by its text.
    let by_text = matches!((old, new), (Float(_), Numeric) | (Numeric, Float(_)));
    let pinned = !(moments || (numbers && !by_text) || (old.has_one_text() && new.has_one_text()));
    let assigned = (numbers && !by_text)
        || (old == Text && new == Text)
        || (old == Other && from.name() == to.name() && forward == v);
    let using = match back(v, &forward, from, to) {
        Some(survives) => Some(format!("case when {survives} then {forward} else {} end", refusal(v, new, to))),
        None if assigned => None,
        None => Some(forward),
    };
    Some(Conversion { using, pinned })
}

/// An expression of the new type that always fails, and says why: no value is cut in silence.
fn refusal(v: &str, new: Class, to: &TypeName) -> String {
    if new == Text {
        // Longer than the type allows, whatever its last letters are: an assignment refuses it.
        return format!("{v}::text || pg_catalog.repeat('!', 10485761 - pg_catalog.length({v}::text))");
    }
    format!("('does not fit: ' || {v}::text)::{to}")
}

fn expression(v: &str, from: &TypeName, to: &TypeName) -> Option<String> {
    let utc = "at time zone 'UTC'";
    let cast = |value: &str| format!("{value}::{to}");
    let made = match (Class::of(from), Class::of(to)) {
        // Lengths are checked by the assignment; a cast would cut.
        (_, Text) => format!("{v}::text"),
        (Text, _) => cast(v),
        (Timestamptz, Timestamp) | (Timestamp, Timestamptz) => cast(&format!("({v} {utc})")),
        (Timestamptz, Date) => cast(&format!("({v} {utc})")),
        (Date, Timestamptz) => cast(&format!("({v}::timestamp {utc})")),
        (Bool, new) if new.is_number() => cast(&format!("{v}::integer")),
        (old, Bool) if old.is_number() => format!("{v}::integer::boolean"),
        (Float(_), Numeric) => cast(&format!("{v}::text")),
        (Float(_), Money) => format!("{v}::text::numeric::money"),
        (old, Money) if old.is_number() => format!("{v}::numeric::money"),
        (Money, new) if new.is_number() => cast(&format!("{v}::numeric")),
        (old, new) if old.is_number() && new.is_number() => cast(v),
        (Array, Array) => array(v, from, to),
        (Json, Jsonb) | (Jsonb, Json) => cast(v),
        (Other, Array) | (Array, Other) => cast(&format!("{v}::text")),
        (Json | Jsonb, Array) => return None,
        (Json | Jsonb, _) => cast(&text_of(v, from)),
        (_, Jsonb) => format!("pg_catalog.to_jsonb({v})"),
        (_, Json) => format!("pg_catalog.to_json({v})"),
        (Uuid, Bytea) => format!("pg_catalog.decode(pg_catalog.replace({v}::text, '-', ''), 'hex')"),
        (Bytea, Uuid) => format!("pg_catalog.encode({v}, 'hex')::uuid"),
        // The same type with other modifiers: its own assignment knows whether the value fits.
        (Other, Other) if from.name() == to.name() => transformed(v, from, to).unwrap_or_else(|| v.to_owned()),
        (Other, _) | (_, Other) => cast(&format!("{v}::text")),
        (old, new) if old == new => cast(v),
        (Date, Timestamp) | (Timestamp, Date) | (Time, Timetz | Interval) | (Timetz | Interval, Time) => cast(v),
        _ => return None,
    };
    Some(made)
}

/// The text that is parsed where there is no other way.
fn text_of(v: &str, from: &TypeName) -> String {
    match Class::of(from) {
        Json | Jsonb => format!("({v} #>> '{{}}')"),
        Text => v.to_owned(),
        _ => format!("{v}::text"),
    }
}

/// What the elements are.
fn element(name: &TypeName) -> Class {
    element_name(name).map_or(Other, |element| Class::of(&element))
}

fn element_name(name: &TypeName) -> Option<TypeName> {
    name.as_str().trim_end_matches("[]").parse().ok()
}

/// Element by element where such a cast is the same as for a single value, else by the text.
fn array(v: &str, from: &TypeName, to: &TypeName) -> String {
    let (old, new) = (element(from), element(to));
    let plain = old == new && old != Other || old.is_number() && new.is_number() || old == Text || new == Text;
    if plain { format!("{v}::{to}") } else { format!("{v}::text::{to}") }
}

/// Geometry in another reference system, which a cast would refuse.
fn transformed(v: &str, from: &TypeName, to: &TypeName) -> Option<String> {
    let srid = |name: &TypeName| -> Option<u32> {
        let (_, rest) = name.bare().split_once('(')?;
        rest.trim_end_matches(')').rsplit_once(',')?.1.parse().ok()
    };
    if to.name() != "geometry" {
        return None;
    }
    let (old, new) = (srid(from)?, srid(to)?);
    let schema = to.schema().map(|schema| format!("{schema}.")).unwrap_or_default();
    (old != new && old > 0).then(|| format!("{schema}st_transform({v}, {new})"))
}

/// The condition under which a value that is converted is not cut; `None` where it never is, or the server refuses it.
fn back(v: &str, forward: &str, from: &TypeName, to: &TypeName) -> Option<String> {
    if keeps_all(from, to) {
        return None;
    }
    let (old, new) = (Class::of(from), Class::of(to));
    let (narrow, wide) = (to.as_str(), without_modifiers(to));
    let text = text_of(v, from);
    match (old, new) {
        (_, Text) => Some(format!("{v}::text::{narrow}::text = {v}::text")),
        // A date is read from the text of a moment, too.
        (Text | Json | Jsonb, Date) => Some(format!("{text}::timestamp = {text}::date")),
        // Types that have no equality, or none that is known here, go by a text that is parsed.
        (Array, Array) if matches!(element(from), Json | Other) => None,
        (Array, Array) => Some(format!("({forward})::{from} = {v}")),
        (Text | Other | Json | Jsonb, _) | (_, Array | Other | Json | Jsonb) => {
            let parsed = forward == format!("{text}::{narrow}");
            (parsed && wide != narrow && new != Array && new != Other)
                .then(|| format!("{text}::{wide} = {text}::{narrow}"))
        }
        _ => expression(&format!("({forward}{})", typed(to)), to, from).map(|again| format!("{again} = {v}")),
    }
}

/// The modifiers are part of what must not cut.
fn typed(to: &TypeName) -> String {
    if without_modifiers(to) == to.as_str() { String::new() } else { format!("::{to}") }
}

/// The name of the type without `(…)`.
fn without_modifiers(name: &TypeName) -> String {
    match (name.as_str().split_once('('), name.as_str().split_once(')')) {
        (Some((before, _)), Some((_, behind))) => format!("{before}{behind}"),
        _ => name.as_str().to_owned(),
    }
}

/// The numbers in `(…)`.
fn modifiers(name: &TypeName) -> Vec<i32> {
    let inner = name.as_str().split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inner, _)| inner);
    inner.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

/// Whether every value of `from` is one of `to`, with all that it says.
pub(super) fn keeps_all(from: &TypeName, to: &TypeName) -> bool {
    let (room, needs) = (modifiers(to), modifiers(from));
    let wider = || match (&needs[..], &room[..]) {
        (_, []) => true,
        ([], _) => false,
        ([digits, scale], [more_digits, more_scale]) => {
            more_scale >= scale && more_digits - more_scale >= digits - scale
        }
        ([size], [more]) => more >= size,
        _ => needs == room,
    };
    match (Class::of(from), Class::of(to)) {
        (Integer(old), Integer(new)) | (Float(old), Float(new)) => new >= old,
        (Integer(_), Numeric) | (Money, Numeric) | (Float(_), Numeric) => room.is_empty(),
        (Integer(bytes), Float(room)) => bytes < room,
        // Blanks at the end of a `character` mean nothing.
        (Text, Text) if to.name() == "character" => from == to,
        (Text, Text) => to.name() != "name" && wider(),
        (_, Text) => room.is_empty() && to.name() != "name" && to.name() != "character",
        (Numeric, Numeric) | (Timestamp | Timestamptz, Timestamp | Timestamptz) => wider(),
        (Time, Time) | (Timetz, Timetz) => wider(),
        (Interval | Time, Interval) => to.as_str() == "interval" || from == to,
        (Bool, new) if new.is_number() => room.is_empty(),
        (Date, Timestamp | Timestamptz) | (Uuid, Bytea) | (Json, Json) | (Jsonb, Json | Jsonb) => true,
        (Json, Jsonb) => false,
        (Bool | Uuid | Integer(_) | Numeric, Json | Jsonb) => true,
        (Array, Array) => element_name(from).zip(element_name(to)).is_some_and(|(from, to)| keeps_all(&from, &to)),
        (Other | Array, _) | (_, Other | Array) => from == to,
        (old, new) => old == new && wider(),
    }
}

/// Whether a column may get the type without a person's word: every value stays exactly what it is.
pub(super) fn widens(from: &TypeName, to: &TypeName) -> bool {
    let same_family = match (Class::of(from), Class::of(to)) {
        (Integer(_), Integer(_) | Numeric) | (Float(_), Float(_)) | (Numeric, Numeric) => true,
        (Text, Text) => from.name() != "character" && to.name() != "character",
        (Timestamp, Timestamp) | (Timestamptz, Timestamptz) | (Time, Time) | (Interval, Interval) => true,
        _ => false,
    };
    same_family && keeps_all(from, to)
}
