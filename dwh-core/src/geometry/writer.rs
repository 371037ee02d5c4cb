//! The bytes of WKB.

use super::{Content, Dimensions, GeometryType};

/// Writes a geometry piece by piece.
pub(super) struct Writer {
    dimensions: Dimensions,
    out: Vec<u8>,
}

impl Writer {
    pub(super) fn new(dimensions: Dimensions) -> Self {
        Self { dimensions, out: Vec::new() }
    }

    /// Byte order, type and dimensions.
    pub(super) fn begin(&mut self, kind: GeometryType) {
        let dimensions = match self.dimensions {
            Dimensions::Xy => 0,
            Dimensions::Xyz => 1_000,
            Dimensions::Xym => 2_000,
            Dimensions::Xyzm => 3_000,
        };
        self.out.push(1);
        self.number(kind.code() + dimensions);
    }

    /// The content of an empty geometry.
    pub(super) fn nothing(&mut self, content: &Content) {
        match content {
            Content::Coordinate => self.numbers(&[f64::NAN; 4][..self.dimensions.count()]),
            Content::Coordinates | Content::Rings | Content::Parts(_) => self.number(0),
        }
    }

    pub(super) fn numbers(&mut self, numbers: &[f64]) {
        numbers.iter().for_each(|number| self.out.extend_from_slice(&number.to_le_bytes()));
    }

    pub(super) fn number(&mut self, number: u32) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    /// A place for a count that is not known yet.
    pub(super) fn count_here(&mut self) -> usize {
        self.number(0);
        self.out.len() - 4
    }

    /// Puts the count into its place.
    pub(super) fn counted(&mut self, at: usize, count: u32) {
        self.out[at..at + 4].copy_from_slice(&count.to_le_bytes());
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }
}
