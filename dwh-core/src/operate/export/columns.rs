//! Which Parquet type holds every value of a PostgreSQL type exactly. Pure.

use std::fmt;

use crate::schema::{Column, TypeDef, TypeKind, TypeName, definition};

/// What a column is in Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    One(Scalar),
    /// A list of values; its elements may be NULL.
    List(Scalar),
    /// A geometry as WKB.
    Geometry {
        /// Whether its edges are those of a sphere.
        geography: bool,
        /// The SRID that its type names.
        srid: Option<u32>,
    },
}

/// What one value is in Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Boolean,
    Small,
    Integer,
    Big,
    Float,
    Double,
    Decimal(Digits),
    Text,
    Bytes,
    Date,
    Time,
    Timestamp { zone: bool },
}

/// The digits of a decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digits {
    /// All of them; 1 to 38.
    pub(super) precision: u8,
    /// Those behind the point; at most `precision`.
    pub(super) scale: u8,
}

/// The longest decimal that readers of Parquet take.
const DIGITS_MAX: i32 = 38;

impl Shape {
    /// What holds a column of this type; the reason if nothing does but text.
    ///
    /// A type that Parquet does not have at all is the text that PostgreSQL prints, from which PostgreSQL makes the same value.
    pub(super) fn of(column: &Column, types: &[TypeDef]) -> Result<Self, &'static str> {
        let name = underlying(&column.type_name, types);
        let array = name.as_str().ends_with("[]");
        if column.geometry && !array {
            let geography = name.name() == "geography";
            return Ok(Self::Geometry { geography, srid: srid(name, geography) });
        }
        match (scalar(name, types)?, array) {
            (Some(scalar), true) => Ok(Self::List(scalar)),
            (Some(scalar), false) => Ok(Self::One(scalar)),
            (None, _) => Ok(Self::One(Scalar::Text)),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(scalar) => scalar.fmt(f),
            Self::List(scalar) => write!(f, "list of {scalar}"),
            Self::Geometry { .. } => f.write_str("geometry"),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Small => "int16",
            Self::Integer => "int32",
            Self::Big => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::Decimal(Digits { precision, scale }) => return write!(f, "decimal({precision},{scale})"),
            Self::Text => "string",
            Self::Bytes => "binary",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp { zone: false } => "timestamp",
            Self::Timestamp { zone: true } => "timestamp in UTC",
        })
    }
}

/// The type under a domain, or one under that.
fn underlying<'a>(name: &'a TypeName, types: &'a [TypeDef]) -> &'a TypeName {
    let mut name = name;
    // Manifests come from outside: a domain over itself ends here too.
    for _ in 0..=types.len() {
        match definition(types, name).map(|def| &def.kind) {
            Some(TypeKind::Domain { base }) if !name.as_str().ends_with("[]") => name = base,
            _ => break,
        }
    }
    name
}

/// What holds a value, or an element, of this type; `None` if Parquet has no such type.
fn scalar(name: &TypeName, types: &[TypeDef]) -> Result<Option<Scalar>, &'static str> {
    if name.schema().is_some() {
        let Some(def) = definition(types, name) else { return Ok(None) };
        return match &def.kind {
            TypeKind::Enum { .. } => Ok(Some(Scalar::Text)),
            // An element: of a domain over an array there is no list.
            TypeKind::Domain { base } => {
                let base = underlying(base, types);
                let array = base.as_str().ends_with("[]");
                // Still a domain: one over itself, which no catalog has.
                let endless = definition(types, base).is_some_and(|def| matches!(def.kind, TypeKind::Domain { .. }));
                if array || endless { Ok(None) } else { scalar(base, types) }
            }
            _ => Ok(None),
        };
    }
    let zone = name.bare().trim_end_matches("[]").ends_with(" with time zone");
    Ok(Some(match name.name() {
        "boolean" => Scalar::Boolean,
        "smallint" => Scalar::Small,
        "integer" => Scalar::Integer,
        // Up to four billion, without a sign.
        "bigint" | "oid" => Scalar::Big,
        "real" => Scalar::Float,
        "double precision" => Scalar::Double,
        "numeric" => Scalar::Decimal(digits(name)?),
        "bytea" => Scalar::Bytes,
        "date" => Scalar::Date,
        "time" if !zone => Scalar::Time,
        "timestamp" => Scalar::Timestamp { zone },
        "text" | "character varying" | "character" | "name" | "uuid" | "json" | "jsonb" => Scalar::Text,
        _ => return Ok(None),
    }))
}

/// What stands between the parentheses of a type's name.
pub(super) fn modifiers(name: &TypeName) -> Vec<&str> {
    let list = name.bare().split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    list.map(|(list, _)| list.split(',').map(str::trim).collect()).unwrap_or_default()
}

fn digits(name: &TypeName) -> Result<Digits, &'static str> {
    let numbers: Vec<i32> = modifiers(name).iter().filter_map(|number| number.parse().ok()).collect();
    let (precision, scale) = match numbers[..] {
        [precision] => (precision, 0),
        [precision, scale] => (precision, scale),
        _ => return Err("has no precision, and a Parquet decimal has one"),
    };
    // Zeros before the point, and behind it, that the type leaves out.
    let (precision, scale) = (precision.max(scale) - scale.min(0), scale.max(0));
    let fits = (1..=DIGITS_MAX).contains(&precision);
    let too_long = "has more digits than the 38 of a Parquet decimal";
    let byte = |number: i32| u8::try_from(number).map_err(|_| too_long);
    if fits { Ok(Digits { precision: byte(precision)?, scale: byte(scale)? }) } else { Err(too_long) }
}

/// The SRID of `geometry(Point,4326)`; that of a geography is 4326 if none is named.
fn srid(name: &TypeName, geography: bool) -> Option<u32> {
    let named = modifiers(name).last().and_then(|number| number.parse().ok()).filter(|srid| *srid != 0);
    named.or(geography.then_some(4326))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ObjectName;

    fn shape(type_name: &str, geometry: bool, types: &[TypeDef]) -> Result<Shape, &'static str> {
        let column = Column { geometry, ..Column::new("c", type_name.parse().expect("a type")) };
        Shape::of(&column, types)
    }

    #[test]
    fn each_type_is_held_exactly_or_as_text() {
        use Scalar::{Big, Boolean, Bytes, Date, Decimal, Double, Float, Integer, Small, Text, Time, Timestamp};
        let decimal = |precision, scale| Decimal(Digits { precision, scale });
        for (name, scalar) in [
            ("boolean", Boolean),
            ("smallint", Small),
            ("integer", Integer),
            ("bigint", Big),
            ("oid", Big),
            ("real", Float),
            ("double precision", Double),
            ("numeric(6,2)", decimal(6, 2)),
            ("numeric(38,0)", decimal(38, 0)),
            ("numeric(3,-2)", decimal(5, 0)),
            ("numeric(2,5)", decimal(5, 5)),
            ("text", Text),
            ("character varying(10)", Text),
            ("character(3)", Text),
            ("uuid", Text),
            ("json", Text),
            ("jsonb", Text),
            ("bytea", Bytes),
            ("date", Date),
            ("time(3) without time zone", Time),
            ("timestamp(3) without time zone", Timestamp { zone: false }),
            ("timestamp with time zone", Timestamp { zone: true }),
        ] {
            assert_eq!(shape(name, false, &[]), Ok(Shape::One(scalar)), "{name}");
            assert_eq!(shape(&format!("{name}[]"), false, &[]), Ok(Shape::List(scalar)), "{name}[]");
        }
        for name in ["interval", "interval[]", "time with time zone", "inet", "int4range", "money", "xml", "bit(3)[]"] {
            assert_eq!(shape(name, false, &[]), Ok(Shape::One(Text)), "{name}");
        }
        for name in ["numeric", "numeric[]", "numeric(39,2)", "numeric(1000,0)"] {
            assert!(shape(name, false, &[]).is_err(), "{name}");
        }
    }

    #[test]
    fn domains_enums_and_geometry() {
        let def = |name: &str, kind| TypeDef { name: ObjectName::new("app", name), kind };
        let base = |base: &str| TypeKind::Domain { base: base.parse().expect("a type") };
        let types = [
            def("mood", TypeKind::Enum { labels: vec!["good".to_owned()] }),
            def("price", base("numeric(6,2)")),
            def("prices", base("numeric(6,2)[]")),
            def("place", base("public.geometry(Point,4326)")),
            def("itself", base("app.itself")),
            def("pair", TypeKind::Composite { attributes: Vec::new() }),
        ];
        let decimal = Scalar::Decimal(Digits { precision: 6, scale: 2 });
        let shape = |name, geometry| super::tests::shape(name, geometry, &types);
        assert_eq!(shape("app.mood", false), Ok(Shape::One(Scalar::Text)));
        assert_eq!(shape("app.mood[]", false), Ok(Shape::List(Scalar::Text)));
        assert_eq!(shape("app.price", false), Ok(Shape::One(decimal)));
        assert_eq!(shape("app.price[]", false), Ok(Shape::List(decimal)));
        assert_eq!(shape("app.prices", false), Ok(Shape::List(decimal)));
        for text in ["app.prices[]", "app.pair", "app.pair[]", "app.itself", "app.itself[]", "app.unknown"] {
            assert_eq!(shape(text, false), Ok(Shape::One(Scalar::Text)), "{text}");
        }
        let geometry = |geography, srid| Ok(Shape::Geometry { geography, srid });
        assert_eq!(shape("app.place", true), geometry(false, Some(4326)));
        assert_eq!(shape("public.geometry", true), geometry(false, None));
        assert_eq!(shape("public.geography", true), geometry(true, Some(4326)));
        assert_eq!(shape("public.geometry(Point,0)", true), geometry(false, None));
        assert_eq!(shape("public.geometry[]", false), Ok(Shape::One(Scalar::Text)));
    }
}
