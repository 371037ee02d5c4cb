//! What is taken, what is refused, what would be lost.

use super::*;

#[test]
fn every_type_is_taken_with_its_dimensions() {
    use Dimensions::{Xy, Xym, Xyz, Xyzm};
    for (text, name, dimensions) in [
        ("POINT(1 2)", "POINT", Xy),
        ("point z (1 2 3)", "POINT", Xyz),
        ("POINTM(1 2 3)", "POINT", Xym),
        ("POINT(1 2 3 4)", "POINT", Xyzm),
        ("POINT ZM EMPTY", "POINT", Xyzm),
        ("LINESTRING(1 2 3, -1e3 .5 +2.)", "LINESTRING", Xyz),
        ("POLYGON((0 0,1 0,1 1,0 0),EMPTY)", "POLYGON", Xy),
        ("MULTIPOINT(1 2,(3 4),EMPTY)", "MULTIPOINT", Xy),
        ("MULTILINESTRING((1 2,3 4),EMPTY)", "MULTILINESTRING", Xy),
        ("MULTIPOLYGON(((0 0,1 0,1 1,0 0)),EMPTY)", "MULTIPOLYGON", Xy),
        ("GEOMETRYCOLLECTIONM(POINTM(1 2 3),GEOMETRYCOLLECTION EMPTY)", "GEOMETRYCOLLECTION", Xym),
        ("CIRCULARSTRING(0 0,1 1,2 0)", "CIRCULARSTRING", Xy),
        ("COMPOUNDCURVE((0 0,1 1),CIRCULARSTRING(1 1,2 2,3 1))", "COMPOUNDCURVE", Xy),
        ("CURVEPOLYGON(COMPOUNDCURVE((0 0,1 1),(1 1,0 0)),(0 0,1 1,0 0))", "CURVEPOLYGON", Xy),
        ("MULTICURVE((0 0,1 1),CIRCULARSTRING(1 1,2 2,3 1))", "MULTICURVE", Xy),
        ("MULTISURFACE(CURVEPOLYGON((0 0,1 1,0 0)),((0 0,1 0,1 1,0 0)))", "MULTISURFACE", Xy),
        ("POLYHEDRALSURFACE(((0 0 0,1 0 0,1 1 0,0 0 0)))", "POLYHEDRALSURFACE", Xyz),
        ("TIN(((0 0,1 0,1 1,0 0)))", "TIN", Xy),
        ("TRIANGLE((0 0,1 0,1 1,0 0))", "TRIANGLE", Xy),
    ] {
        let ewkt = Ewkt::parse(text).expect(text);
        assert_eq!((ewkt.geometry_type.name(), ewkt.dimensions), (name, dimensions), "{text}");
    }
}

#[test]
fn broken_text_is_refused() {
    let deep = format!("{}POINT(1 2){}", "GEOMETRYCOLLECTION(".repeat(100_000), ")".repeat(100_000));
    for text in [
        "",
        "POINT",
        "POINT(1 2) garbage",
        "POINT(1 2))",
        "POINT(1 2",
        "POINT(1)",
        "POINT(1 2 3 4 5)",
        "POINT(1 NaN)",
        "POINT(1 1e400)",
        "POINT(1 -inf)",
        "POINT(1,2)",
        "POINT Z (1 2)",
        "LINESTRING(1 2,3 4 5)",
        "POINT(1 2)\0",
        "POLYGON(0 0,1 1)",
        "MULTIPOINT(POINT(1 2))",
        "COMPOUNDCURVE(POINT(1 2))",
        "SPHERE(1 2)",
        "POINTZ Z(1 2 3)",
        "GEOMETRYCOLLECTION((1 2))",
        "GEOMETRYCOLLECTION(POINT(1 2),POINT Z(1 2 3))",
        "SRID=;POINT(1 2)",
        "Ä",
        "SRID=4326POINT(1 2)",
        "SRID=-1;POINT(1 2)",
        "SRID=1000000;POINT(1 2)",
        "LINESTRING()",
        "POINT(1-2 3)",
        &deep,
    ] {
        assert_eq!(Ewkt::parse(text).expect_err(text).kind(), ErrorKind::Data);
    }
}

#[test]
fn nothing_is_lost_without_a_word() {
    for (text, what) in [
        ("POINT(1 2 3)", "Z or M"),
        ("POINT EMPTY", "an empty point"),
        ("GEOMETRYCOLLECTION(POINT EMPTY)", "an empty point"),
        ("MULTIPOINT((1 2),EMPTY)", "an empty part"),
        ("MULTILINESTRING((1 2,3 4),EMPTY)", "an empty part"),
        ("MULTIPOLYGON(((0 0,1 0,1 1,0 0)),EMPTY)", "an empty part"),
        ("POLYGON((0 0,1 0,1 1,0 0),EMPTY)", "an empty ring"),
        ("POLYGON((0 0,1 0,1 1))", "not closed"),
        ("MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((0 0,1 0,1 1)))", "not closed"),
        ("GEOMETRYCOLLECTION(CIRCULARSTRING(0 0,1 1,2 0))", "a curve"),
    ] {
        let error = Ewkt::parse(text).expect(text).to_geometry().expect_err(text);
        assert!(error.to_string().contains(what), "{text}: {error}");
    }
}

#[test]
fn what_is_held_comes_back_the_same() {
    for text in [
        "SRID=4326;POINT(36.82194619999999 -0)",
        "LINESTRING(0.1 0.30000000000000004,1e-300 123456789012345680000)",
        "POLYGON((0 0,9 0,9 9,0 0),(1 1,2 1,2 2,1 1))",
        "MULTIPOINT((1 2),(3 4))",
        "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))",
        "GEOMETRYCOLLECTION(POINT(1 2),GEOMETRYCOLLECTION(LINESTRING(1 2,3 4)))",
        "LINESTRING EMPTY",
        "POLYGON EMPTY",
        "GEOMETRYCOLLECTION(LINESTRING EMPTY,POLYGON EMPTY)",
        "GEOMETRYCOLLECTION EMPTY",
    ] {
        let ewkt = Ewkt::parse(text).expect(text);
        let geometry = ewkt.to_geometry().expect(text);
        let written = to_ewkt(&geometry, ewkt.srid).expect(text);
        assert_eq!(Ewkt::parse(&written).expect("own text").to_geometry().expect("own text"), geometry, "{written}");
        assert_eq!(written.starts_with("SRID=4326;"), ewkt.srid.is_some());
    }
    let nan = Geometry::Point(geo_types::Point::new(f64::NAN, 1.0));
    assert!(to_ewkt(&nan, None).is_err());
}
