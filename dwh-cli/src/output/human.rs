//! Numbers as people read them.

use dwh_core::Timestamp;
use dwh_core::watermark::Micros;
use indicatif::{DecimalBytes, HumanCount};

/// `1,234,567`.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `1 row`, `1,234 rows`.
pub fn rows(number: u64) -> String {
    format!("{} row{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1 table`, `2 tables`.
pub fn many(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `3 tables (`a`, `b`, `c`)`, no more than five of them by name.
pub fn tables(names: &[&str]) -> String {
    let first: Vec<String> = names.iter().take(5).map(|name| format!("`{name}`")).collect();
    let more =
        if names.len() > first.len() { format!(" and {} more", names.len() - first.len()) } else { String::new() };
    format!("{} ({}{more})", many(names.len(), "table"), first.join(", "))
}

/// `1.23 MB`, in powers of a thousand.
pub fn bytes(number: u64) -> String {
    DecimalBytes(number).to_string()
}

/// `0.4 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`.
pub fn seconds(seconds: f64) -> String {
    Micros::from_seconds(seconds).to_string()
}

/// The moment, without a fraction that is all zeros; `-` for none.
pub fn moment(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_string().replace(".000000Z", "Z"))
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, moment, seconds};

    #[test]
    fn spans_change_their_unit_where_they_should() {
        let spans = [0.0, 0.04, 59.94, 59.95, 61.0, 3599.0, 3600.0, 86_399.0, 86_400.0, 400_000.0, -5.0];
        assert_eq!(
            spans.map(seconds),
            [
                "0.0 s",
                "0.0 s",
                "59.9 s",
                "1 min 0 s",
                "1 min 1 s",
                "59 min 59 s",
                "1 h 0 min",
                "23 h 59 min",
                "1 d 0 h",
                "4 d 15 h",
                "-5.0 s"
            ]
        );
    }

    #[test]
    fn counts_bytes_and_moments() {
        assert_eq!(
            (count(1_234_567), bytes(0), bytes(1_234_567)),
            ("1,234,567".into(), "0 B".into(), "1.23 MB".into())
        );
        let at = |text: &str| moment(Some(text.parse().expect("a moment")));
        assert_eq!(at("2026-10-01T03:00:00+03"), "2026-10-01T00:00:00Z");
        assert_eq!(at("2026-10-01T00:00:00.000001Z"), "2026-10-01T00:00:00.000001Z");
        assert_eq!(moment(None), "-");
    }
}
