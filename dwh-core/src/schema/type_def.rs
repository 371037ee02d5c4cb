//! [`TypeDef`]: what a catalog says of a type that PostgreSQL itself does not bring. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

use super::{TableRef, TypeName};

/// A type, collation or operator class by schema and name.
pub type ObjectName = TableRef;

/// A type that PostgreSQL itself does not bring, by schema and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeDef {
    /// Schema and name.
    #[serde(flatten)]
    pub name: ObjectName,
    /// What it is.
    #[serde(flatten)]
    pub kind: TypeKind,
}

/// What a type is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TypeKind {
    /// An extension brings it: it is the same type wherever the extension lives.
    Extension {
        /// The extension.
        extension: String,
    },
    /// An enumeration.
    Enum {
        /// Its labels, in order.
        labels: Vec<String>,
    },
    /// A domain. Its checks, default and collation belong to the database that it is in.
    Domain {
        /// The type under it.
        base: TypeName,
    },
    /// A composite, or the row type of a table.
    Composite {
        /// Its attributes, in order.
        attributes: Vec<Attribute>,
    },
    /// A range, with its multirange.
    Range {
        /// The type of its bounds.
        subtype: TypeName,
        /// Its multirange; `None` before PostgreSQL 14.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        multirange: Option<ObjectName>,
        /// How its bounds are compared, if not by the default of their type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        collation: Option<ObjectName>,
        /// How its bounds are ordered, if not by the default of their type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator_class: Option<ObjectName>,
    },
    /// A type in C that no extension owns.
    Base,
}

/// An attribute of a composite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: TypeName,
}

impl TypeKind {
    /// Whether a value is the same by either definition.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (
            Self::Range { subtype, multirange, collation, operator_class },
            Self::Range { subtype: s, multirange: m, collation: c, operator_class: o },
        ) = (self, other)
        else {
            return self == other;
        };
        // Before PostgreSQL 14 there is no multirange, and from then on every range has one.
        let named = multirange.is_none() || m.is_none() || multirange == m;
        subtype == s && collation == c && operator_class == o && named
    }
}

impl TypeDef {
    /// Whether it is the type of that name, or brings it as its multirange.
    #[must_use]
    pub fn is(&self, name: &ObjectName) -> bool {
        let multirange = match &self.kind {
            TypeKind::Range { multirange, .. } => multirange.as_ref(),
            _ => None,
        };
        self.name == *name || multirange == Some(name)
    }

    /// The types that it is made of.
    #[must_use]
    pub fn parts(&self) -> Vec<&TypeName> {
        match &self.kind {
            TypeKind::Domain { base } => vec![base],
            TypeKind::Composite { attributes } => attributes.iter().map(|one| &one.type_name).collect(),
            TypeKind::Range { subtype, .. } => vec![subtype],
            TypeKind::Extension { .. } | TypeKind::Enum { .. } | TypeKind::Base => Vec::new(),
        }
    }

    /// The same type, with other names for what it is made of.
    #[must_use]
    pub fn with_parts(&self, renamed: impl Fn(&TypeName) -> TypeName) -> Self {
        let mut def = self.clone();
        match &mut def.kind {
            TypeKind::Domain { base } => *base = renamed(base),
            TypeKind::Composite { attributes } => {
                attributes.iter_mut().for_each(|one| one.type_name = renamed(&one.type_name));
            }
            TypeKind::Range { subtype, .. } => *subtype = renamed(subtype),
            TypeKind::Extension { .. } | TypeKind::Enum { .. } | TypeKind::Base => {}
        }
        def
    }
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extension { extension } => write!(f, "a type of extension `{extension}`"),
            Self::Enum { labels } => {
                let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
                write!(f, "enum ({})", labels.join(", "))
            }
            Self::Domain { base } => write!(f, "domain over {base}"),
            Self::Composite { attributes } => {
                let list: Vec<String> =
                    attributes.iter().map(|one| format!("{} {}", one.name, one.type_name)).collect();
                write!(f, "composite ({})", list.join(", "))
            }
            Self::Range { subtype, collation, operator_class, .. } => {
                write!(f, "range of {subtype}")?;
                collation.iter().try_for_each(|name| write!(f, ", collation {name}"))?;
                operator_class.iter().try_for_each(|name| write!(f, ", operator class {name}"))
            }
            Self::Base => f.write_str("a type in C that no extension owns"),
        }
    }
}

/// The definition behind a type's name; `None` for the types of PostgreSQL itself, and for one that is not described.
#[must_use]
pub fn definition<'a>(types: &'a [TypeDef], name: &TypeName) -> Option<&'a TypeDef> {
    let name = name.object()?;
    types.iter().find(|def| def.is(&name))
}

/// Those of `types` that `names` need, each behind those that it is made of.
#[must_use]
pub fn needed<'a>(names: impl IntoIterator<Item = &'a TypeName>, types: &'a [TypeDef]) -> Vec<TypeDef> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for name in names {
        add(name, types, &mut seen, &mut found);
    }
    found
}

fn add<'a>(name: &TypeName, types: &'a [TypeDef], seen: &mut BTreeSet<&'a ObjectName>, found: &mut Vec<TypeDef>) {
    let Some(def) = definition(types, name).filter(|def| seen.insert(&def.name)) else { return };
    for part in def.parts() {
        add(part, types, seen, found);
    }
    found.push(def.clone());
}

/// The name that a type of `types` has where `there` is what a database has: a type of an extension is the same
/// wherever the extension lives.
#[must_use]
pub fn named_there(name: &TypeName, types: &[TypeDef], there: &[TypeDef]) -> TypeName {
    let same = |other: &&TypeDef, def: &TypeDef| {
        matches!(def.kind, TypeKind::Extension { .. }) && other.kind == def.kind && other.name.name == def.name.name
    };
    let found = definition(types, name).and_then(|def| there.iter().find(|other| same(other, def)));
    found.map_or_else(|| name.clone(), |other| name.moved(Some(&other.name.schema)))
}

#[cfg(test)]
mod tests;
