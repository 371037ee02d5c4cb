//! Numbers as the page has them.

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

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
    use super::{bytes, count, short};

    #[test]
    fn numbers_are_grouped_and_scaled() {
        assert_eq!([0, 12, 999, 1000, 1_234_567].map(count), ["0", "12", "999", "1,000", "1,234,567"]);
        let numbers = [0.0, 7.0, 999.0, 999.6, 1500.0, 1_000_000.0, 123_456_789.0];
        assert_eq!(numbers.map(short), ["0", "7", "999", "1.0 k", "1.5 k", "1 M", "123 M"]);
        assert_eq!(bytes(2_500_000.0), "2.5 MB");
    }
}
