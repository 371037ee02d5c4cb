//! Numbers as the page has them.

pub(super) use crate::operate::status::cause::count;

/// `1.2 M`, for an axis.
pub(super) fn short(number: f64) -> String {
    scaled(number, &["", " k", " M", " G", " T", " P"])
}

/// `1.2 MB`, in powers of a thousand.
pub(super) fn bytes(number: f64) -> String {
    scaled(number, &[" B", " kB", " MB", " GB", " TB", " PB"])
}

fn scaled(number: f64, units: &[&str]) -> String {
    let mut number = number;
    let mut unit = 0;
    // From 999.5 on it would be written as 1000.
    while number.abs() >= 999.5 && unit + 1 < units.len() {
        number /= 1000.0;
        unit += 1;
    }
    let digits = if number.abs() >= 99.5 || number.fract() == 0.0 { 0 } else { 1 };
    format!("{number:.digits$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::{bytes, short};

    #[test]
    fn numbers_are_scaled() {
        let numbers = [0.0, 7.0, 999.0, 999.6, 1500.0, 1_000_000.0, 123_456_789.0];
        assert_eq!(numbers.map(short), ["0", "7", "999", "1.0 k", "1.5 k", "1 M", "123 M"]);
        assert_eq!(bytes(2_500_000.0), "2.5 MB");
    }
}
