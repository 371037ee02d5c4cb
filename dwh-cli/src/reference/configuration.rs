//! The keys of `dwh.toml`, from its JSON Schema.

use serde_json::{Map, Value};

use super::cell;

pub fn page() -> String {
    let schema = dwh_core::config::json_schema();
    let schema = serde_json::to_value(&schema).expect("JSON");
    let mut page = format!(
        "# Every key of `dwh.toml`\n\n{}\n\nHow to choose: [Configuration](../configuration.md).\n",
        text(&schema)
    );
    let properties = schema["properties"].as_object().expect("sections");
    let order = ["project", "source", "target", "blob", "retention", "thresholds", "alert", "table"];
    let rest = properties.keys().map(String::as_str).filter(|name| !order.contains(name));
    for name in order.into_iter().filter(|name| properties.contains_key(*name)).chain(rest) {
        section(&mut page, &schema, name, &properties[name]);
    }
    page
}

fn section(page: &mut String, schema: &Value, name: &str, value: &Value) {
    let (title, inner) = match value {
        _ if !value["items"].is_null() => (format!("[[{name}]]"), &value["items"]),
        _ if value["additionalProperties"].is_object() => (format!("[{name}.NAME]"), &value["additionalProperties"]),
        _ => (format!("[{name}]"), value),
    };
    let object = resolved(schema, inner);
    page.push_str(&format!(
        "\n## `{title}`\n{}\n\n| key | type | default | meaning |\n|---|---|---|---|\n",
        text(value)
    ));
    let empty = Map::new();
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut keys: Vec<_> = object["properties"].as_object().unwrap_or(&empty).iter().collect();
    keys.sort_by_key(|(key, _)| !required.contains(&key.as_str()));
    for (key, about) in keys {
        let default = match &about["default"] {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            default => format!("`{}`", default.to_string().trim_matches('"')),
        };
        let (kind, words) = kind(schema, about);
        page.push_str(&format!("| `{key}` | {kind} | {default} | {} |\n", cell(&format!("{} {words}", text(about)))));
    }
}

/// The type, and what each of its words means where it has words.
fn kind(schema: &Value, about: &Value) -> (String, String) {
    let about = resolved(schema, about);
    if let Some(words) = about["oneOf"].as_array() {
        let told = words.iter().map(|word| format!("`{}`: {}", word["const"].as_str().unwrap_or_default(), text(word)));
        return ("word".to_owned(), told.collect::<Vec<_>>().join(" "));
    }
    let name = match &about["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    let name = match name {
        Some("array") => "list of strings",
        Some("object") if about["properties"].is_object() => "section",
        Some("object") => "table of strings",
        Some(name) => name,
        None => "",
    };
    (name.to_owned(), String::new())
}

/// Behind references and "or null".
fn resolved<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    let option = value["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["type"] != "null"));
    let value = option.unwrap_or(value);
    match value["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        Some(path) => schema.pointer(path).expect("a reference leads somewhere"),
        None => value,
    }
}

fn text(value: &Value) -> &str {
    value["description"].as_str().unwrap_or_default()
}
