//! The check of a geometry in text, and the same geometry as WKB.

use super::writer::Writer;
use super::{Content, Dimensions, GeometryType, MAX_DEPTH, wrong};
use crate::error::Result;

/// What the check found.
pub(super) struct Found {
    pub geometry_type: GeometryType,
    pub dimensions: Dimensions,
    pub loses: Option<&'static str>,
}

pub(super) fn scan(text: &str) -> Result<Found> {
    let mut scanner = Scanner { text, at: 0, dimensions: None, loses: None, out: None };
    let geometry_type = scanner.geometry(0)?;
    if scanner.peek().is_some() {
        return scanner.fail("the end");
    }
    Ok(Found { geometry_type, dimensions: scanner.dimensions.unwrap_or(Dimensions::Xy), loses: scanner.loses })
}

/// The bytes of a geometry that was checked; `dimensions` are those that the check found, which may stand behind the first
/// empty part.
pub(super) fn bytes(text: &str, dimensions: Dimensions) -> Result<Vec<u8>> {
    let mut scanner =
        Scanner { text, at: 0, dimensions: Some(dimensions), loses: None, out: Some(Writer::new(dimensions)) };
    scanner.geometry(0)?;
    Ok(scanner.out.map(Writer::finish).unwrap_or_default())
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Set by the first tag or coordinate; all later ones must agree.
    dimensions: Option<Dimensions>,
    loses: Option<&'static str>,
    /// Where the bytes go, if they are asked for.
    out: Option<Writer>,
}

impl<'a> Scanner<'a> {
    /// The beginning of a geometry.
    fn begin(&mut self, kind: GeometryType) {
        if let Some(out) = &mut self.out {
            out.begin(kind);
        }
    }

    /// The content of an empty one.
    fn nothing(&mut self, content: &Content) {
        if let Some(out) = &mut self.out {
            out.nothing(content);
        }
    }

    fn fail<V>(&self, expected: &str) -> Result<V> {
        Err(wrong(format!("EWKT, byte {}: expected {expected}", self.at + 1)))
    }

    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { self.fail(&format!("`{}`", char::from(byte))) }
    }

    /// The next characters of one class, which may be none.
    fn take(&mut self, class: fn(&u8) -> bool) -> &'a str {
        self.peek();
        let length = self.text.as_bytes()[self.at..].iter().take_while(|byte| class(byte)).count();
        self.at += length;
        &self.text[self.at - length..self.at]
    }

    /// `name [Z|M|ZM] (…)` or `… EMPTY`; the tag may stick to the name.
    fn geometry(&mut self, depth: usize) -> Result<GeometryType> {
        if depth > MAX_DEPTH {
            return self.fail("no more than 64 levels");
        }
        let word = self.take(u8::is_ascii_alphabetic).to_ascii_uppercase();
        let known = GeometryType::ALL.iter().find_map(|(kind, name)| {
            let tag = word.strip_prefix(name)?;
            matches!(tag, "" | "Z" | "M" | "ZM").then_some((*kind, tag))
        });
        let Some((kind, glued)) = known else { return self.fail("the name of a geometry before this") };
        let before = self.at;
        let next = self.take(u8::is_ascii_alphabetic).to_ascii_uppercase();
        let tag = match next.as_str() {
            "Z" | "M" | "ZM" if glued.is_empty() => next.as_str(),
            _ => {
                self.at = before;
                glued
            }
        };
        match tag {
            "Z" => self.agree(Dimensions::Xyz)?,
            "M" => self.agree(Dimensions::Xym)?,
            "ZM" => self.agree(Dimensions::Xyzm)?,
            _ => {}
        }
        if !kind.fits_geo_types() {
            self.loses = Some("a curve or surface");
        }
        self.begin(kind);
        self.body(kind, depth)?;
        Ok(kind)
    }

    fn agree(&mut self, dimensions: Dimensions) -> Result<()> {
        if *self.dimensions.get_or_insert(dimensions) == dimensions {
            Ok(())
        } else {
            self.fail("the same dimensions as before")
        }
    }

    fn is_empty(&mut self) -> Result<bool> {
        match self.take(u8::is_ascii_alphabetic) {
            "" => Ok(false),
            word if word.eq_ignore_ascii_case("EMPTY") => Ok(true),
            _ => self.fail("`(` or `EMPTY` before this"),
        }
    }

    fn body(&mut self, kind: GeometryType, depth: usize) -> Result<()> {
        if self.is_empty()? {
            if kind == GeometryType::Point {
                self.loses = Some("an empty point");
            }
            self.nothing(&kind.content());
            return Ok(());
        }
        match kind.content() {
            Content::Coordinate => {
                self.expect(b'(')?;
                self.coordinate()?;
                self.expect(b')')
            }
            Content::Coordinates => self.coordinates().map(drop),
            Content::Rings => self.list(|scanner| {
                if scanner.is_empty()? {
                    scanner.loses = Some("an empty ring");
                    scanner.nothing(&Content::Coordinates);
                } else if !scanner.coordinates()? {
                    scanner.loses = Some("a ring that is not closed");
                }
                Ok(())
            }),
            Content::Parts(parts) => self.list(|scanner| scanner.part(kind, parts, depth)),
        }
    }

    fn part(&mut self, kind: GeometryType, parts: &[GeometryType], depth: usize) -> Result<()> {
        let start = self.peek();
        if !parts.is_empty() && matches!(start, Some(b'E' | b'e')) {
            self.loses = Some("an empty part");
            self.is_empty()?;
            self.begin(parts[0]);
            self.nothing(&parts[0].content());
            return Ok(());
        }
        match parts {
            [] => self.geometry(depth + 1).map(drop),
            // `MULTIPOINT(1 2,3 4)`
            [GeometryType::Point] if start != Some(b'(') => {
                self.begin(GeometryType::Point);
                self.coordinate().map(drop)
            }
            [_, _, ..] if start.is_some_and(|byte| byte.is_ascii_alphabetic()) => {
                let found = self.geometry(depth + 1)?;
                if parts.contains(&found) { Ok(()) } else { self.fail(&format!("another type in {}", kind.name())) }
            }
            [first, ..] => {
                self.begin(*first);
                self.body(*first, depth + 1)
            }
        }
    }

    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.expect(b'(')?;
        let counter = self.out.as_mut().map(Writer::count_here);
        let mut count = 0;
        loop {
            item(self)?;
            count += 1;
            if !self.eat(b',') {
                if let (Some(out), Some(at)) = (&mut self.out, counter) {
                    out.counted(at, count);
                }
                return self.expect(b')');
            }
        }
    }

    /// A list of coordinates; whether the last is the first again.
    fn coordinates(&mut self) -> Result<bool> {
        let (mut first, mut last) = (None, None);
        self.list(|scanner| {
            last = Some(scanner.coordinate()?);
            first = first.or(last);
            Ok(())
        })?;
        Ok(first == last)
    }

    fn coordinate(&mut self) -> Result<[f64; 4]> {
        let mut numbers = [0.0; 4];
        let mut count = 0;
        while !matches!(self.peek(), Some(b',' | b')') | None) {
            let text = self.take(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() && count < 4 => numbers[count] = number,
                _ => return self.fail("2 to 4 finite numbers"),
            }
            count += 1;
        }
        match (count, self.dimensions) {
            (_, Some(known)) if known.count() == count => {}
            (2, None) => self.dimensions = Some(Dimensions::Xy),
            (3, None) => self.dimensions = Some(Dimensions::Xyz),
            (4, None) => self.dimensions = Some(Dimensions::Xyzm),
            (_, None) => return self.fail("2 to 4 finite numbers"),
            (_, Some(known)) => return self.fail(&format!("{} numbers, as before", known.count())),
        }
        if let Some(out) = &mut self.out {
            out.numbers(&numbers[..count]);
        }
        Ok(numbers)
    }
}
