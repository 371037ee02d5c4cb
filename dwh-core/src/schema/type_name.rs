//! [`TypeName`]: the name of a column's type, in the only shapes that PostgreSQL prints. Pure.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::{ObjectName, quote_ident};
use crate::error::{Error, ErrorKind, Result};

/// Types with a spelling of their own in the grammar of SQL; the longer one of two that begin alike comes first.
const SPELLED: [(&str, Behind); 15] = [
    ("bigint", Behind::Nothing),
    ("bit varying", Behind::Modifiers),
    ("bit", Behind::Modifiers),
    ("boolean", Behind::Nothing),
    ("character varying", Behind::Modifiers),
    ("character", Behind::Modifiers),
    ("double precision", Behind::Nothing),
    ("integer", Behind::Nothing),
    ("interval", Behind::Fields),
    ("json", Behind::Nothing),
    ("numeric", Behind::Modifiers),
    ("real", Behind::Nothing),
    ("smallint", Behind::Nothing),
    ("time", Behind::Zone),
    ("timestamp", Behind::Zone),
];
const ZONES: [&str; 2] = [" with time zone", " without time zone"];
const FIELDS: [&str; 13] = [
    " year to month",
    " day to hour",
    " day to minute",
    " day to second",
    " hour to minute",
    " hour to second",
    " minute to second",
    " year",
    " month",
    " day",
    " hour",
    " minute",
    " second",
];

/// Names that `create table` takes for an order to make a sequence. No type has them unless somebody set a trap.
const SEQUENCES: [&str; 6] = ["bigserial", "serial", "serial2", "serial4", "serial8", "smallserial"];

/// What `pg_get_keywords()` does not call unreserved, in any version from 13 to 18: quoted where it is a name.
const KEYWORDS: &str = " all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean \
    both case cast char character check coalesce collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec decimal \
    default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full \
    grant greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull \
    join json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize \
    json_table json_value lateral leading least left like limit localtime localtimestamp merge_action national natural \
    nchar none normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay placing \
    position precision primary real references returning right row select session_user setof similar smallint some \
    substring symmetric system_user table tablesample then time timestamp to trailing treat trim true union unique user \
    using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest \
    xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable ";

/// What may stand behind a spelling, before the `[]` of an array.
#[derive(Clone, Copy)]
enum Behind {
    Nothing,
    Modifiers,
    Fields,
    Zone,
}

/// The name of a type as `format_type` prints it with an empty `search_path`: `numeric(6,2)`, `app."Mood"[]`,
/// `timestamp(3) with time zone`, `public.geometry(Point,4326)`.
///
/// A manifest comes from a bucket, and this text goes into DDL: a value can only hold one name of a type, quoted where
/// it must be, with modifiers that are numbers and words.
///
/// ```
/// use dwh_core::schema::TypeName;
/// let point: TypeName = "public.geometry(Point,4326)".parse()?;
/// assert_eq!((point.bare(), point.name(), point.schema()), ("geometry(Point,4326)", "geometry", Some("public")));
/// assert!("text); drop schema bronze cascade; --".parse::<TypeName>().is_err());
/// # Ok::<(), dwh_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TypeName {
    text: String,
    /// Where the name without its schema begins.
    bare_at: usize,
    /// Where the name without its modifiers ends.
    name_end: usize,
}

impl TypeName {
    /// `timestamp with time zone`.
    pub(crate) fn timestamptz() -> Self {
        Self { text: "timestamp with time zone".to_owned(), bare_at: 0, name_end: "timestamp".len() }
    }

    /// `bigint`.
    pub(crate) fn bigint() -> Self {
        Self { text: "bigint".to_owned(), bare_at: 0, name_end: "bigint".len() }
    }

    /// `text`.
    pub(crate) fn text() -> Self {
        Self { text: "text".to_owned(), bare_at: 0, name_end: "text".len() }
    }

    /// The name as SQL takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name without its schema: extensions live in different schemas at the two ends, the rest must agree.
    #[must_use]
    pub fn bare(&self) -> &str {
        &self.text[self.bare_at..]
    }

    /// The name without schema, modifiers and `[]`, still in quotes if it needs them.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[self.bare_at..self.name_end]
    }

    /// The schema, in quotes if it needs them; `None` for the types of PostgreSQL itself.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.text[..self.bare_at].strip_suffix('.')
    }

    /// Schema and name out of their quotes; `None` for the types of PostgreSQL itself.
    #[must_use]
    pub fn object(&self) -> Option<ObjectName> {
        let (schema, (name, _)) = (identifier(self.schema()?)?.0, identifier(self.name())?);
        Some(ObjectName { schema, name })
    }

    /// The type of that name in another schema, or without one.
    #[must_use]
    pub fn moved(&self, schema: Option<&str>) -> Self {
        let before = schema.map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
        let (bare_at, name_end) = (before.len(), before.len() + self.name_end - self.bare_at);
        Self { text: before + self.bare(), bare_at, name_end }
    }

    /// The parsed name; `None` if `format_type` prints no such text.
    fn read(text: &str) -> Option<Self> {
        let (head, rest) = spelled(text).or_else(|| named(text))?;
        let modified = rest.trim_end_matches("[]");
        let left = match head.behind {
            Behind::Nothing => modified,
            Behind::Modifiers => modifiers(modified)?,
            Behind::Fields => {
                let behind_field = FIELDS.iter().find_map(|field| modified.strip_prefix(field));
                modifiers(behind_field.unwrap_or(modified))?
            }
            Behind::Zone => {
                let zone = modifiers(modified)?;
                ZONES.iter().find_map(|known| zone.strip_prefix(known))?
            }
        };
        let (bare_at, name_end) = (head.bare_at, head.text.len());
        left.is_empty().then(|| Self { text: head.text + rest, bare_at, name_end })
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TypeName {
    type Err = Error;

    /// # Errors
    /// `Data` for a text that `format_type` never prints.
    fn from_str(text: &str) -> Result<Self> {
        Self::read(text).ok_or_else(|| {
            Error::new(ErrorKind::Data, format!("`{}` is not the name of a type", text.escape_debug())).with_hint(
                "write it as PostgreSQL prints it with an empty search_path: select format_type(atttypid, atttypmod) from pg_attribute",
            )
        })
    }
}

impl TryFrom<String> for TypeName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TypeName> for String {
    fn from(name: TypeName) -> Self {
        name.text
    }
}

/// The beginning of a type's name, and what may stand behind it.
struct Head {
    text: String,
    bare_at: usize,
    behind: Behind,
}

/// A type that the grammar of SQL spells in words, and the rest of the text.
fn spelled(text: &str) -> Option<(Head, &str)> {
    SPELLED.iter().find_map(|(words, behind)| {
        // `bit_count` and `time.x` begin with such a word and are names.
        let rest = text.strip_prefix(words).filter(|rest| !rest.starts_with(|next| next == '.' || is_plain(next)))?;
        Some((Head { text: (*words).to_owned(), bare_at: 0, behind: *behind }, rest))
    })
}

/// A name, with or without a schema, and the rest of the text.
fn named(text: &str) -> Option<(Head, &str)> {
    let (first, rest) = identifier(text)?;
    let (schema, (name, rest)) = match rest.strip_prefix('.') {
        Some(second) => (format!("{}.", quoted(&first)), identifier(second)?),
        // Without quotes this would be a word of the grammar and no name.
        None if !text.starts_with('"') && is_keyword(&first) => return None,
        None => (String::new(), (first, rest)),
    };
    let bare_at = schema.len();
    let head = || Head { text: schema + &quoted(&name), bare_at, behind: Behind::Modifiers };
    (!SEQUENCES.contains(&name.as_str())).then(head).map(|head| (head, rest))
}

/// One identifier, out of its quotes, and the rest of the text.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (name, rest) = text.split_at(text.find(|next| !is_plain(next)).unwrap_or(text.len()));
        return begins_plain(name).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (piece, behind) = rest.split_once('"')?;
        name.push_str(piece);
        let Some(more) = behind.strip_prefix('"') else {
            return (!name.is_empty() && !name.contains('\0')).then_some((name, behind));
        };
        name.push('"');
        rest = more;
    }
}

/// What stands behind `(10,-2)` or `(Point,4326)`; the text itself if it does not begin with a parenthesis.
fn modifiers(text: &str) -> Option<&str> {
    let Some(rest) = text.strip_prefix('(') else { return Some(text) };
    let (list, behind) = rest.split_once(')')?;
    let fine = |one: &str| {
        let word = one.strip_prefix(' ').unwrap_or(one);
        let word = word.strip_prefix('-').unwrap_or(word);
        !word.is_empty() && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
    };
    list.split(',').all(fine).then_some(behind)
}

/// A name by the rule of the server's own `quote_ident()`: in quotes where the grammar asks for them, and only there.
fn quoted(name: &str) -> String {
    let plain = begins_plain(name) && name.chars().all(is_plain) && !is_keyword(name);
    if plain { name.to_owned() } else { quote_ident(name) }
}

fn begins_plain(name: &str) -> bool {
    name.starts_with(|first: char| first == '_' || first.is_ascii_lowercase())
}

const fn is_plain(letter: char) -> bool {
    letter == '_' || letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&format!(" {word} "))
}

#[cfg(test)]
mod tests;
