//! What a type of a column takes: a value that does not fit is rejected, and never made to fit.

use jiff::civil;
use serde_json::value::RawValue;
use std::borrow::Cow;

use super::geojson::{self, Form};
use super::sound::{self, digits, fits_numeric};
use crate::schema::TypeName;

/// A value of a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    /// There is none, or it is null.
    Nothing,
    /// A JSON value as it is written.
    Json(&'a RawValue),
    /// A text out of a CSV.
    Text(&'a str),
}

/// What a type takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text {
        longest: Option<usize>,
    },
    Whole {
        min: i64,
        max: i64,
    },
    Numeric {
        whole: Option<i64>,
        scale: i64,
    },
    Float {
        single: bool,
    },
    Boolean,
    Date,
    Timestamp {
        zoned: bool,
        /// Of a second.
        decimals: usize,
    },
    Uuid,
    Json {
        binary: bool,
    },
    Geometry {
        form: Option<Form>,
        srid: Option<String>,
    },
    Array(Box<Kind>),
    /// A type whose text only the server knows.
    Other,
}

type Fits<'a> = Result<Cow<'a, str>, String>;

impl Kind {
    pub(super) fn of(name: &TypeName) -> Self {
        let bare = name.bare();
        if let Some(element) = bare.strip_suffix("[]") {
            let element = element.trim_end_matches("[]").parse().map_or(Self::Other, |name| Self::of(&name));
            return Self::Array(Box::new(element));
        }
        let modifiers = bare.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inner, _)| inner);
        let number = |at: usize| modifiers.and_then(|list| list.split(',').nth(at)?.trim().parse::<i64>().ok());
        match name.name() {
            "text" => Self::Text { longest: None },
            "character varying" => Self::Text { longest: number(0).and_then(|most| usize::try_from(most).ok()) },
            // Without a length it holds one letter.
            "character" => Self::Text { longest: usize::try_from(number(0).unwrap_or(1)).ok() },
            "smallint" => Self::Whole { min: i16::MIN.into(), max: i16::MAX.into() },
            "integer" => Self::Whole { min: i32::MIN.into(), max: i32::MAX.into() },
            "bigint" => Self::Whole { min: i64::MIN, max: i64::MAX },
            "numeric" => {
                let scale = number(1).unwrap_or(0);
                Self::Numeric { whole: number(0).map(|precision| precision - scale), scale }
            }
            "double precision" | "real" => Self::Float { single: name.name() == "real" },
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp {
                zoned: bare.ends_with("with time zone"),
                decimals: number(0).and_then(|most| usize::try_from(most).ok()).unwrap_or(6),
            },
            "uuid" => Self::Uuid,
            "json" => Self::Json { binary: false },
            "jsonb" => Self::Json { binary: true },
            "geometry" | "geography" => {
                let part = |at: usize| modifiers.and_then(|list| list.split(',').nth(at)).map(str::trim);
                Self::Geometry { form: part(0).and_then(Form::of), srid: part(1).map(str::to_owned) }
            }
            _ => Self::Other,
        }
    }

    /// The text that COPY takes; `None` for NULL. The error is the rule that is broken.
    pub(super) fn text<'a>(&self, field: Field<'a>) -> Result<Option<Cow<'a, str>>, String> {
        match field {
            Field::Nothing => Ok(None),
            Field::Json(raw) if raw.get() == "null" => Ok(None),
            Field::Json(raw) => self.of_json(raw.get()).map(Some),
            Field::Text(text) => self.of_text(text).map(Some),
        }
    }

    /// The text of a number out of a record, for a coordinate.
    pub(super) fn coordinate(field: Field<'_>) -> Result<Option<&str>, String> {
        let text = match field {
            Field::Nothing => return Ok(None),
            Field::Json(raw) if raw.get() == "null" => return Ok(None),
            Field::Json(raw) => raw.get(),
            Field::Text(text) => text.trim(),
        };
        let is_finite = text.parse::<f64>().is_ok_and(f64::is_finite);
        if is_finite && digits(text).is_some() { Ok(Some(text)) } else { Err("type number".to_owned()) }
    }

    fn of_json<'a>(&self, raw: &'a str) -> Fits<'a> {
        let first = raw.as_bytes().first().copied().unwrap_or_default();
        match self {
            Self::Json { binary: true } => sound::jsonb(raw).map(|()| raw.into()),
            Self::Json { .. } => Ok(raw.into()),
            Self::Geometry { form, srid } if first == b'{' => {
                geojson::ewkt(raw, form.as_ref(), srid.as_deref()).map(Into::into)
            }
            Self::Array(element) if first == b'[' => array(element, raw),
            Self::Boolean if matches!(raw, "true" | "false") => Ok(raw.into()),
            Self::Whole { .. } | Self::Numeric { .. } | Self::Float { .. }
                if first == b'-' || first.is_ascii_digit() =>
            {
                self.number(raw)
            }
            Self::Whole { .. } | Self::Numeric { .. } | Self::Float { .. } | Self::Boolean | Self::Array(_) => {
                Err(format!("type {}", self.word()))
            }
            _ if first == b'"' => {
                let text = sound::text(raw)?;
                self.string(&text)?;
                Ok(text.into())
            }
            _ => Err(format!("type {}", self.word())),
        }
    }

    fn of_text<'a>(&self, text: &'a str) -> Fits<'a> {
        let trimmed = text.trim();
        match self {
            Self::Whole { .. } | Self::Numeric { .. } | Self::Float { .. } => {
                // A sign in front is no JSON, and a number all the same.
                self.number(trimmed.strip_prefix('+').unwrap_or(trimmed))
            }
            Self::Boolean => {
                let known = ["true", "false", "t", "f", "yes", "no", "1", "0"];
                let lower = trimmed.to_ascii_lowercase();
                if known.contains(&lower.as_str()) { Ok(lower.into()) } else { Err("type boolean".to_owned()) }
            }
            Self::Json { .. } | Self::Array(_) => {
                let raw: &RawValue = serde_json::from_str(trimmed).map_err(|_| format!("type {}", self.word()))?;
                self.of_json(raw.get())
            }
            _ => self.string(text).map(|()| text.into()),
        }
    }

    /// Whether a text fits.
    fn string(&self, text: &str) -> Result<(), String> {
        sound::without_nul(text)?;
        let fits = match self {
            Self::Text { longest: Some(most) } if text.chars().count() > *most => {
                return Err(format!("maxLength {most}"));
            }
            Self::Date => text.len() == 10 && !is_year_0(text) && text.parse::<civil::Date>().is_ok(),
            Self::Timestamp { zoned, decimals } if moment(text, *zoned) => return fine(text, *decimals),
            Self::Timestamp { .. } => false,
            Self::Uuid => is_uuid(text),
            _ => true,
        };
        if fits { Ok(()) } else { Err(format!("type {}", self.word())) }
    }

    fn number<'a>(&self, text: &'a str) -> Fits<'a> {
        let wrong = || format!("type {}", self.word());
        let (point, places) = digits(text).ok_or_else(wrong)?;
        match self {
            Self::Whole { min, max } => {
                // `2.0` is a whole number to JSON.
                let whole = match text.split_once('.') {
                    Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
                    _ => text,
                };
                let value: i64 = whole.parse().map_err(|_| wrong())?;
                if (*min..=*max).contains(&value) { Ok(whole.into()) } else { Err(format!("range of {}", self.word())) }
            }
            Self::Numeric { whole: Some(whole), scale } => {
                if places > *scale {
                    return Err(format!("at most {scale} decimals"));
                }
                if point > *whole { Err(format!("at most {whole} digits before the point")) } else { Ok(text.into()) }
            }
            Self::Float { single } => {
                let value = if *single { text.parse().map(f32::into) } else { text.parse::<f64>() };
                let value = value.map_err(|_| wrong())?;
                let lost = value == 0.0 && (point, places) != (0, 0);
                if value.is_finite() && !lost { Ok(text.into()) } else { Err(format!("range of {}", self.word())) }
            }
            _ if !fits_numeric(text) => Err("range of numeric".to_owned()),
            _ => Ok(text.into()),
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Text { .. } => "string",
            Self::Whole { max, .. } => match *max {
                32_767 => "smallint",
                2_147_483_647 => "integer",
                _ => "bigint",
            },
            Self::Numeric { .. } => "number",
            Self::Float { single: true } => "real number",
            Self::Float { single: false } => "number",
            Self::Boolean => "boolean",
            Self::Date => "date (YYYY-MM-DD)",
            Self::Timestamp { zoned: true, .. } => "timestamp with a zone",
            Self::Timestamp { zoned: false, .. } => "timestamp without a zone",
            Self::Uuid => "uuid",
            Self::Json { .. } => "JSON",
            Self::Geometry { .. } => "geometry",
            Self::Array(_) => "array",
            Self::Other => "string",
        }
    }
}

/// A moment as ISO 8601 writes it, and PostgreSQL reads it: that would pass over a zone that has no place, and knows neither a
/// comma before the decimals nor hours alone.
fn moment(text: &str, zoned: bool) -> bool {
    let clock = text.split(['T', 't', ' ']).nth(1).map(|time| time.split(['Z', 'z', '+', '-']).next().unwrap_or(time));
    let hours_alone = clock.is_some_and(|clock| clock.len() < 4);
    if text.contains(['[', ',']) || text.starts_with(['+', '-']) || is_year_0(text) || hours_alone {
        return false;
    }
    let has_zone = text.parse::<jiff::Timestamp>().is_ok();
    let is_civil = text.parse::<civil::DateTime>().is_ok();
    zoned == has_zone && (zoned || is_civil)
}

/// Refuses what PostgreSQL would round.
fn fine(text: &str, most: usize) -> Result<(), String> {
    let decimals = text.split_once('.').map_or("", |(_, rest)| rest);
    let decimals = decimals.bytes().take_while(u8::is_ascii_digit).count();
    if decimals > most { Err(format!("at most {most} decimals of a second")) } else { Ok(()) }
}

/// The year before 1, which PostgreSQL calls 1 BC.
fn is_year_0(text: &str) -> bool {
    text.starts_with("0000")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A JSON array as PostgreSQL writes one.
fn array<'a>(element: &Kind, raw: &str) -> Fits<'a> {
    let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| "JSON".to_owned())?;
    let mut text = String::from("{");
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match element.text(Field::Json(item))? {
            None => text.push_str("NULL"),
            Some(value) => {
                text.push('"');
                text.push_str(&value.replace('\\', "\\\\").replace('"', "\\\""));
                text.push('"');
            }
        }
    }
    text.push('}');
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(type_name: &str, json: &str) -> Result<Option<String>, String> {
        let kind = Kind::of(&type_name.parse().expect("a type"));
        let raw: &RawValue = serde_json::from_str(json).expect("JSON");
        kind.text(Field::Json(raw)).map(|text| text.map(Cow::into_owned))
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (type_name, json, text) in [
            ("numeric", "0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
            ("numeric", "1e400", "1e400"),
            ("numeric(6,2)", "1234.50", "1234.50"),
            ("numeric(6,2)", "1.2300", "1.2300"),
            ("bigint", "9007199254740993", "9007199254740993"),
            (
                "numeric",
                "123456789012345678901234567890.123456789012345678901234567890",
                "123456789012345678901234567890.123456789012345678901234567890",
            ),
            ("double precision", "1e300", "1e300"),
            ("integer", "2.0", "2"),
            ("double precision", "1.5e3", "1.5e3"),
        ] {
            assert_eq!(fit(type_name, json), Ok(Some(text.to_owned())), "{type_name} {json}");
        }
    }

    #[test]
    fn what_does_not_fit_is_rejected_and_not_cast() {
        for (type_name, json) in [
            ("text", "5"),
            ("text", "true"),
            ("text", "{}"),
            ("text", "\"a\\u0000b\""),
            ("character varying(2)", "\"abc\""),
            ("integer", "\"5\""),
            ("integer", "2.5"),
            ("integer", "2147483648"),
            ("bigint", "9223372036854775808"),
            ("numeric(6,2)", "1.239"),
            ("numeric(6,2)", "12345.6"),
            ("numeric", "\"5\""),
            ("numeric", "1e200000"),
            ("numeric", "1e-20000"),
            ("double precision", "1e400"),
            ("double precision", "1e-400"),
            ("real", "1e39"),
            ("text", "\"\\ud800\""),
            ("jsonb", "{\"a\": 1, \"a\": 2}"),
            ("geometry(Point,4326)", "{\"type\":\"Point\",\"coordinates\":[1,2,3]}"),
            ("boolean", "1"),
            ("boolean", "\"true\""),
            ("date", "\"2024-02-30\""),
            ("date", "\"2024-02-03T10:00:00\""),
            ("date", "20240203"),
            ("timestamp with time zone", "\"2024-02-03T10:00:00\""),
            ("timestamp without time zone", "\"2024-02-03T10:00:00Z\""),
            ("timestamp with time zone", "\"2024-02-03T10:00:00.1234567Z\""),
            ("timestamp(3) with time zone", "\"2024-02-03T10:00:00.1234Z\""),
            ("timestamp(0) without time zone", "\"2024-02-03T10:00:00.5\""),
            ("timestamp with time zone", "\"2024-02-03T10:00:00,5Z\""),
            ("timestamp with time zone", "\"2024-02-03T10Z\""),
            ("timestamp with time zone", "\"2024-02-03T10+03:00\""),
            ("timestamp with time zone", "\"0000-02-03T10:00:00Z\""),
            ("date", "\"0000-01-01\""),
            ("character(2)", "\"abc\""),
            ("character(2)", "\"ab \""),
            ("uuid", "\"x\""),
            ("jsonb", "\"a\\u0000b\""),
            ("text[]", "\"a\""),
            ("integer[]", "[\"1\"]"),
            ("geometry(Point,4326)", "[1,2]"),
        ] {
            assert!(fit(type_name, json).is_err(), "{type_name} {json}");
        }
    }

    #[test]
    fn what_fits_is_passed_on_as_text() {
        for (type_name, json, text) in [
            ("text", "\"Ärger \\u2192\"", "Ärger →"),
            ("text", "\"\"", ""),
            ("boolean", "false", "false"),
            ("date", "\"2024-02-29\"", "2024-02-29"),
            ("timestamp with time zone", "\"2025-10-30T22:56:51Z\"", "2025-10-30T22:56:51Z"),
            ("timestamp with time zone", "\"2025-10-30T22:56:51.123456+03:00\"", "2025-10-30T22:56:51.123456+03:00"),
            ("timestamp without time zone", "\"2025-10-30 22:56:51\"", "2025-10-30 22:56:51"),
            ("timestamp(3) with time zone", "\"2025-10-30T22:56:51.123Z\"", "2025-10-30T22:56:51.123Z"),
            ("timestamp with time zone", "\"20251030T225651Z\"", "20251030T225651Z"),
            ("timestamp without time zone", "\"2025-10-30T22:56\"", "2025-10-30T22:56"),
            ("timestamp without time zone", "\"2025-10-30\"", "2025-10-30"),
            ("character(2)", "\"ab\"", "ab"),
            ("jsonb", "{\"a\": [1.10]}", "{\"a\": [1.10]}"),
            ("jsonb", "\"a\\\\u0000\"", "\"a\\\\u0000\""),
            ("text[]", "[\"a\", \"b\\\"\\\\\", null]", "{\"a\",\"b\\\"\\\\\",NULL}"),
            ("geometry(Point,4326)", "{\"type\":\"Point\",\"coordinates\":[1.50,2]}", "SRID=4326;POINT(1.50 2)"),
        ] {
            assert_eq!(fit(type_name, json), Ok(Some(text.to_owned())), "{type_name} {json}");
        }
        assert_eq!(fit("integer", "null"), Ok(None));
    }

    #[test]
    fn texts_of_a_csv_are_read_by_the_type() {
        let fit = |type_name: &str, text: &str| {
            let kind = Kind::of(&type_name.parse().expect("a type"));
            kind.text(Field::Text(text)).map(|text| text.map(Cow::into_owned))
        };
        assert_eq!(fit("integer", " 5 "), Ok(Some("5".to_owned())));
        assert_eq!(fit("numeric", "+1.50"), Ok(Some("1.50".to_owned())));
        assert_eq!(fit("boolean", "TRUE"), Ok(Some("true".to_owned())));
        assert_eq!(fit("text[]", "[\"a\"]"), Ok(Some("{\"a\"}".to_owned())));
        for (type_name, text) in
            [("integer", "5x"), ("numeric", "NaN"), ("boolean", "ja"), ("date", "30.10.2025"), ("jsonb", "{")]
        {
            assert!(fit(type_name, text).is_err(), "{type_name} {text}");
        }
    }
}
