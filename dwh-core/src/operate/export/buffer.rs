//! The values of a column until there are enough of them for a row group.

use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type,
};
use parquet::errors::Result as Written;
use parquet::file::writer::SerializedColumnWriter;

use super::columns::{Scalar, Shape};
use super::geo::Seen;
use super::value::{self, Reason};

/// What a value takes in memory beside its own bytes.
const OVERHEAD: usize = 48;

/// Values of one physical type.
enum Values {
    Booleans(Vec<bool>),
    Integers(Vec<i32>),
    Bigs(Vec<i64>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

impl Values {
    fn of(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Boolean => Self::Booleans(Vec::new()),
            Scalar::Small | Scalar::Integer | Scalar::Date => Self::Integers(Vec::new()),
            Scalar::Big | Scalar::Time | Scalar::Timestamp { .. } => Self::Bigs(Vec::new()),
            Scalar::Decimal(digits) if digits.precision <= 9 => Self::Integers(Vec::new()),
            Scalar::Decimal(digits) if digits.precision <= 18 => Self::Bigs(Vec::new()),
            Scalar::Decimal(_) => Self::Fixed(Vec::new()),
            Scalar::Float => Self::Floats(Vec::new()),
            Scalar::Double => Self::Doubles(Vec::new()),
            Scalar::Text | Scalar::Bytes => Self::Bytes(Vec::new()),
        }
    }

    fn push(&mut self, scalar: Scalar, text: &str) -> Result<(), Reason> {
        match (self, scalar) {
            (Self::Booleans(values), _) => values.push(value::boolean(text)?),
            (Self::Integers(values), Scalar::Small) => values.push(i32::from(value::number::<i16>(text)?)),
            (Self::Integers(values), Scalar::Date) => values.push(value::date(text)?),
            (Self::Integers(values), Scalar::Decimal(digits)) => {
                values.push(i32::try_from(value::decimal(text, digits)?).map_err(|_| value::LONG)?);
            }
            (Self::Integers(values), _) => values.push(value::number(text)?),
            (Self::Bigs(values), Scalar::Time) => values.push(value::time(text)?),
            (Self::Bigs(values), Scalar::Timestamp { zone }) => values.push(value::timestamp(text, zone)?),
            (Self::Bigs(values), Scalar::Decimal(digits)) => {
                values.push(i64::try_from(value::decimal(text, digits)?).map_err(|_| value::LONG)?);
            }
            (Self::Bigs(values), _) => values.push(value::number(text)?),
            (Self::Floats(values), _) => values.push(value::number(text)?),
            (Self::Doubles(values), _) => values.push(value::number(text)?),
            (Self::Fixed(values), Scalar::Decimal(digits)) => {
                let bytes = value::decimal(text, digits)?.to_be_bytes();
                values.push(ByteArray::from(bytes.to_vec()).into());
            }
            (Self::Bytes(values), Scalar::Bytes) => values.push(ByteArray::from(value::bytes(text)?)),
            (Self::Bytes(values), _) => values.push(ByteArray::from(text.as_bytes().to_vec())),
            (Self::Fixed(_), _) => return Err(value::BROKEN),
        }
        Ok(())
    }

    fn clear(&mut self) {
        match self {
            Self::Booleans(values) => values.clear(),
            Self::Integers(values) => values.clear(),
            Self::Bigs(values) => values.clear(),
            Self::Floats(values) => values.clear(),
            Self::Doubles(values) => values.clear(),
            Self::Bytes(values) => values.clear(),
            Self::Fixed(values) => values.clear(),
        }
    }
}

/// A column of the row group that comes next.
pub(super) struct Buffer {
    shape: Shape,
    values: Values,
    /// For each value, or NULL or empty list in the place of one, how much of it there is.
    defined: Vec<i16>,
    /// For each of those of a list, whether it goes on (1) or begins (0).
    repeated: Vec<i16>,
    /// What was seen of geometries.
    pub(super) seen: Seen,
}

impl Buffer {
    /// `srid` is that of the geometries in the files before this one.
    pub(super) fn new(shape: Shape, srid: Option<u32>) -> Self {
        let values = match shape {
            Shape::One(scalar) | Shape::List(scalar) => Values::of(scalar),
            Shape::Geometry { .. } => Values::Bytes(Vec::new()),
        };
        Self { shape, values, defined: Vec::new(), repeated: Vec::new(), seen: Seen::of(shape, srid) }
    }

    /// Whether it holds geometries.
    pub(super) const fn is_geometry(&self) -> bool {
        matches!(self.shape, Shape::Geometry { .. })
    }

    /// Takes the value of the next row; says what it takes in memory.
    pub(super) fn push(&mut self, text: Option<&str>) -> Result<usize, Reason> {
        let size = text.map_or(0, str::len) + OVERHEAD;
        match (self.shape, text) {
            (Shape::One(_) | Shape::Geometry { .. }, None) => self.defined.push(0),
            (Shape::One(scalar), Some(text)) => {
                self.values.push(scalar, text)?;
                self.defined.push(1);
            }
            (Shape::Geometry { .. }, Some(text)) => {
                let bytes = self.seen.bytes(text)?;
                if let Values::Bytes(values) = &mut self.values {
                    values.push(ByteArray::from(bytes));
                }
                self.defined.push(1);
            }
            (Shape::List(_), None) => self.place(0, false),
            (Shape::List(scalar), Some(text)) => {
                return self.list(scalar, text).map(|elements| size + elements * OVERHEAD);
            }
        }
        Ok(size)
    }

    fn list(&mut self, scalar: Scalar, text: &str) -> Result<usize, Reason> {
        let elements = value::elements(text)?;
        if elements.is_empty() {
            self.place(1, false);
        }
        for (at, element) in elements.iter().enumerate() {
            match element {
                None => self.place(2, at > 0),
                Some(element) => {
                    self.values.push(scalar, element)?;
                    self.place(3, at > 0);
                }
            }
        }
        Ok(elements.len())
    }

    fn place(&mut self, defined: i16, goes_on: bool) {
        self.defined.push(defined);
        self.repeated.push(i16::from(goes_on));
    }

    /// Writes all that was taken, and begins anew.
    pub(super) fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Written<()> {
        let defined = Some(self.defined.as_slice());
        let repeated = matches!(self.shape, Shape::List(_)).then_some(self.repeated.as_slice());
        match &self.values {
            Values::Booleans(values) => column.typed::<BoolType>().write_batch(values, defined, repeated),
            Values::Integers(values) => column.typed::<Int32Type>().write_batch(values, defined, repeated),
            Values::Bigs(values) => column.typed::<Int64Type>().write_batch(values, defined, repeated),
            Values::Floats(values) => column.typed::<FloatType>().write_batch(values, defined, repeated),
            Values::Doubles(values) => column.typed::<DoubleType>().write_batch(values, defined, repeated),
            Values::Bytes(values) => column.typed::<ByteArrayType>().write_batch(values, defined, repeated),
            Values::Fixed(values) => column.typed::<FixedLenByteArrayType>().write_batch(values, defined, repeated),
        }?;
        self.values.clear();
        self.defined.clear();
        self.repeated.clear();
        Ok(())
    }
}
