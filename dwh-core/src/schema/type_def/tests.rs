use super::*;

fn name(text: &str) -> TypeName {
    text.parse().expect("a type")
}

fn def(schema: &str, called: &str, kind: TypeKind) -> TypeDef {
    TypeDef { name: ObjectName::new(schema, called), kind }
}

fn extension(schema: &str, called: &str, extension: &str) -> TypeDef {
    def(schema, called, TypeKind::Extension { extension: extension.to_owned() })
}

fn zoo() -> Vec<TypeDef> {
    let attribute = |called: &str, of: &str| Attribute { name: called.to_owned(), type_name: name(of) };
    let attributes =
        vec![attribute("m", "app.\"Mood\"[]"), attribute("s", "app.spans"), attribute("g", "public.geometry")];
    let multirange = Some(ObjectName::new("app", "spans"));
    let span = TypeKind::Range { subtype: name("b.price"), multirange, collation: None, operator_class: None };
    vec![
        def("app", "pair", TypeKind::Composite { attributes }),
        def("app", "span", span),
        def("app", "price", TypeKind::Domain { base: name("numeric(10,2)") }),
        def("b", "price", TypeKind::Domain { base: name("numeric(10,4)") }),
        def("app", "Mood", TypeKind::Enum { labels: vec!["it's".to_owned(), "🐘".to_owned()] }),
        extension("public", "geometry", "postgis"),
        extension("public", "box", "postgis"),
    ]
}

#[test]
fn types_stand_behind_those_that_they_are_made_of_and_others_stay_out() {
    let list =
        |of: &str| -> Vec<String> { needed([&name(of)], &zoo()).iter().map(|def| def.name.to_string()).collect() };
    assert_eq!(list("app.pair[]"), ["app.Mood", "b.price", "app.span", "public.geometry", "app.pair"]);
    assert_eq!(list("app.spans"), ["b.price", "app.span"]);
    assert_eq!(list("app.price"), ["app.price"]);
    assert!(list("price").is_empty() && list("integer[]").is_empty());
    // A definition that was tampered with may be made of itself.
    let round =
        [def("a", "x", TypeKind::Domain { base: name("a.y") }), def("a", "y", TypeKind::Domain { base: name("a.x") })];
    assert_eq!(needed([&name("a.x")], &round).len(), 2);
}

#[test]
fn a_type_of_an_extension_is_the_same_wherever_the_extension_lives() {
    let there =
        [extension("gis Ä", "geometry", "postgis"), extension("x", "box", "other"), def("c", "price", TypeKind::Base)];
    let told = |text: &str| named_there(&name(text), &zoo(), &there).to_string();
    assert_eq!(told("public.geometry(Point,4326)[]"), "\"gis Ä\".geometry(Point,4326)[]");
    assert_eq!(told("public.box"), "public.box", "another extension's type of that name");
    assert_eq!(told("b.price"), "b.price");
    assert_eq!(told("numeric(6,2)"), "numeric(6,2)");
}

#[test]
fn a_definition_comes_back_from_json() {
    for def in zoo() {
        let json = serde_json::to_value(&def).expect("json");
        assert_eq!(serde_json::from_value::<TypeDef>(json).expect("comes back"), def);
    }
    let json = serde_json::to_value(&zoo()[4]).expect("json");
    assert_eq!(json, serde_json::json!({ "schema": "app", "name": "Mood", "kind": "enum", "labels": ["it's", "🐘"] }));
}
