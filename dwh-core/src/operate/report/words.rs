//! Numbers as the page has them.

use crate::watermark::Micros;

pub(super) use crate::operate::status::cause::count;

/// `1.2 M`, for an axis.
pub(super) fn short(number: f64) -> String {
    scaled(number, &["", " k", " M", " G", " T", " P"])
}

/// `1.2 MB`, in powers of a thousand.
pub(super) fn bytes(number: f64) -> String {
    scaled(number, &[" B", " kB", " MB", " GB", " TB", " PB"])
}

/// How long something took: short ones in milliseconds.
pub(super) fn span(seconds: f64) -> String {
    if (0.0..0.9995).contains(&seconds) {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    Micros::from_seconds(seconds).to_string()
}

/// The same for an axis that ends at `top`: one unit for all of it, with digits that tell its steps apart.
pub(super) fn span_up_to(top: f64) -> impl Fn(f64) -> String {
    move |seconds| match top {
        top if top < 0.01 => format!("{:.1} ms", seconds * 1000.0),
        top if top < 2.0 => format!("{:.0} ms", seconds * 1000.0),
        top if top < 60.0 => format!("{seconds:.1} s"),
        _ => Micros::from_seconds(seconds).to_string(),
    }
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
    use super::{bytes, short, span, span_up_to};

    #[test]
    fn numbers_are_scaled() {
        let numbers = [0.0, 7.0, 999.0, 999.6, 1500.0, 1_000_000.0, 123_456_789.0];
        assert_eq!(numbers.map(short), ["0", "7", "999", "1.0 k", "1.5 k", "1 M", "123 M"]);
        assert_eq!(bytes(2_500_000.0), "2.5 MB");
    }

    #[test]
    fn an_axis_of_times_tells_its_steps_apart() {
        assert_eq!([0.0, 0.004, 0.25, 1.5, 75.0].map(span), ["0 ms", "4 ms", "250 ms", "1.5 s", "1 min 15 s"]);
        assert_eq!([0.0, 0.02, 0.04].map(span_up_to(0.08)), ["0 ms", "20 ms", "40 ms"]);
        assert_eq!([0.001, 0.0015].map(span_up_to(0.005)), ["1.0 ms", "1.5 ms"]);
        assert_eq!([2.5, 5.0].map(span_up_to(10.0)), ["2.5 s", "5.0 s"]);
        assert_eq!(span_up_to(300.0)(150.0), "2 min 30 s");
    }
}
