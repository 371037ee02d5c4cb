//! The JSON Schema of a table: read, compiled, and what it says of columns.

use jsonschema::ReferencingError;
use jsonschema::error::ValidationErrorKind::Referencing;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::fs;
use std::path::Path;

use super::problem::Problem;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::TypeName;

/// What to do about one that cannot be used.
const HINT: &str = "`json_schema` is a path from the folder of `dwh.toml`; drafts 4 to 2020-12 are known, by `$schema`";

/// What to do about a reference that leads out of the file.
const ELSEWHERE: &str =
    "put what it refers to into the same file, under `$defs`, and let `$ref` lead there: `#/$defs/name`";

/// A compiled JSON Schema.
pub(super) struct JsonSchema {
    /// As the configuration names it.
    pub name: String,
    validator: jsonschema::Validator,
    properties: Vec<(String, Value)>,
}

impl JsonSchema {
    /// Reads and compiles it. No network: a reference leads into the file itself.
    ///
    /// # Errors
    /// `Config` if it cannot be read, is no JSON, or no JSON Schema.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let refused =
            |what: &str| Error::new(ErrorKind::Config, format!("JSON Schema `{name}` {what}")).with_hint(HINT);
        let text = fs::read_to_string(path).map_err(|error| refused("cannot be read").with_source(error))?;
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
        let value: Value = serde_json::from_str(text).map_err(|error| refused("is no JSON").with_source(error))?;
        let ordered: Properties = serde_json::from_str(text).unwrap_or_default();
        let validator = jsonschema::options().should_validate_formats(true).build(&value).map_err(|error| {
            if let Referencing(ReferencingError::Unretrievable { uri, .. }) = error.kind() {
                return refused(&format!("refers to `{uri}`, and nothing but the file itself is read"))
                    .with_hint(ELSEWHERE);
            }
            let at = error.instance_path().as_str().to_owned();
            let at = if at.is_empty() { String::new() } else { format!(" at `{at}`") };
            refused(&format!("is none{at}: {}", error.masked()))
        })?;
        Ok(Self { name, validator, properties: ordered.properties.0 })
    }

    /// What of a value is not valid.
    pub(super) fn problems(&self, value: &Value) -> Vec<Problem> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        self.validator.iter_errors(value).map(|error| Problem::of_schema(&error)).collect()
    }

    /// The names of its properties, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().map(|(name, _)| name.as_str())
    }

    /// The type that a column of this property has; `None` if the schema does not say it.
    pub(super) fn type_of(&self, property: &str) -> Option<TypeName> {
        let (_, schema) = self.properties.iter().find(|(name, _)| name == property)?;
        let types = words(schema);
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        let name = match types.iter().filter(|word| **word != "null").copied().collect::<Vec<_>>()[..] {
            ["string"] => match format {
                "date-time" => "timestamp with time zone",
                "date" => "date",
                "uuid" => "uuid",
                _ => "text",
            },
            ["integer"] => "bigint",
            ["number"] | ["integer", "number"] | ["number", "integer"] => "numeric",
            ["boolean"] => "boolean",
            [] => return None,
            _ => "jsonb",
        };
        name.parse().ok()
    }

    /// The text of a CSV as the JSON value that the schema asks for.
    pub(super) fn value_of(&self, property: &str, text: &str) -> Value {
        let schema = self.properties.iter().find(|(name, _)| name == property).map(|(_, schema)| schema);
        let types = schema.map(words).unwrap_or_default();
        let is = |word: &str| types.contains(&word);
        let parsed = serde_json::from_str::<Value>(text.trim()).ok();
        match parsed {
            Some(value @ Value::Number(_)) if is("number") || is("integer") => value,
            Some(value @ Value::Bool(_)) if is("boolean") => value,
            Some(value @ Value::Array(_)) if is("array") => value,
            Some(value @ Value::Object(_)) if is("object") => value,
            _ => Value::String(text.to_owned()),
        }
    }
}

/// The words of `type`.
fn words(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        // A list of texts says it too.
        _ => match schema.get("enum").and_then(Value::as_array) {
            Some(options) if options.iter().all(Value::is_string) => vec!["string"],
            _ => Vec::new(),
        },
    }
}

/// What of the document is read a second time, for the order of its members.
#[derive(Default, Deserialize)]
struct Properties {
    #[serde(default)]
    properties: Ordered,
}

#[derive(Default)]
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Ordered, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
