//! Values as PostgreSQL prints them under the settings of an extract, read exactly. Pure; no reason quotes a value.

use super::columns::Digits;

/// Why a value has no place in the type of its column.
pub(super) type Reason = &'static str;

const DAY: i64 = 86_400_000_000;
const INFINITE: Reason = "holds an infinite date or time, which Parquet does not have";
pub(super) const BROKEN: Reason = "holds a value that is not written as PostgreSQL prints it";
const FAR: Reason = "holds a date or time that is too far away for Parquet";

/// `t` or `f`.
pub(super) fn boolean(text: &str) -> Result<bool, Reason> {
    match text {
        "t" => Ok(true),
        "f" => Ok(false),
        _ => Err(BROKEN),
    }
}

/// A number of any type that Rust reads as PostgreSQL prints it, `NaN` and `Infinity` of floats included.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, Reason> {
    text.parse().map_err(|_| BROKEN)
}

/// A decimal without its point.
pub(super) fn decimal(text: &str, digits: Digits) -> Result<i128, Reason> {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return Err("holds NaN or Infinity, which no Parquet decimal is");
    }
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let scale = usize::from(digits.scale);
    let figures = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !figures().all(|figure| figure.is_ascii_digit()) {
        return Err(BROKEN);
    }
    let zeros =
        scale.checked_sub(fraction.len()).ok_or("holds a number with more digits behind the point than its type")?;
    let mut value = 0_i128;
    for figure in figures().chain(std::iter::repeat_n(b'0', zeros)) {
        value = value.checked_mul(10).and_then(|value| value.checked_add(i128::from(figure - b'0'))).ok_or(LONG)?;
    }
    if value >= 10_i128.pow(u32::from(digits.precision)) {
        return Err(LONG);
    }
    Ok(if negative { -value } else { value })
}

pub(super) const LONG: Reason = "holds a number with more digits than its type";

/// `\x0123`.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Reason> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    };
    let digits = text.strip_prefix("\\x").ok_or(BROKEN)?;
    digits.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or(BROKEN)
}

/// Days since 1970, of `2026-10-01` or `0044-03-15 BC`.
pub(super) fn date(text: &str) -> Result<i32, Reason> {
    if matches!(text, "infinity" | "-infinity") {
        return Err(INFINITE);
    }
    let (text, before) = era(text);
    i32::try_from(days(text, before)?).map_err(|_| FAR)
}

/// Microseconds since midnight, of `12:30:00.5`.
pub(super) fn time(text: &str) -> Result<i64, Reason> {
    let micros = clock(text)?;
    if micros < DAY { Ok(micros) } else { Err("holds 24:00:00, which no Parquet time is") }
}

/// Microseconds since 1970, of `2026-10-01 12:30:00.5`, with an offset such as `+00` if the type has a zone.
pub(super) fn timestamp(text: &str, zone: bool) -> Result<i64, Reason> {
    if matches!(text, "infinity" | "-infinity") {
        return Err(INFINITE);
    }
    let (text, before) = era(text);
    let (date, rest) = text.split_once(' ').ok_or(BROKEN)?;
    let (time, offset) = match (zone, rest.find(['+', '-'])) {
        (true, Some(at)) => (&rest[..at], offset(&rest[at..])?),
        (false, None) => (rest, 0),
        _ => return Err(BROKEN),
    };
    let of_day = clock(time)? - offset;
    let micros = days(date, before)?.checked_mul(DAY).and_then(|micros| micros.checked_add(of_day));
    // DuckDB takes the largest number for infinity.
    micros.filter(|micros| *micros != i64::MAX).ok_or(FAR)
}

fn era(text: &str) -> (&str, bool) {
    text.strip_suffix(" BC").map_or((text, false), |text| (text, true))
}

/// Digits alone: no sign, no space.
fn figures(text: &str) -> Result<i64, Reason> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().map_err(|_| BROKEN) } else { Err(BROKEN) }
}

/// Days since 1970 of a date of the proleptic Gregorian calendar.
fn days(text: &str, before: bool) -> Result<i64, Reason> {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return Err(BROKEN) };
    let (year, month, day) = (figures(year)?, figures(month)?, figures(day)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year > 10_000_000 {
        return Err(BROKEN);
    }
    // There is no year 0: before 1 comes 1 BC.
    let year = if before { 1 - year } else { year };
    // The year begins in March, so that its last day is the one that some years lack.
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Ok(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Microseconds of `12:30:00` or `12:30:00.123456`.
fn clock(text: &str) -> Result<i64, Reason> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<&str> = whole.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else { return Err(BROKEN) };
    if fraction.len() > 6 {
        return Err(BROKEN);
    }
    let micros = figures(&format!("{fraction:0<6}"))?;
    Ok(((figures(hours)? * 60 + figures(minutes)?) * 60 + figures(seconds)?) * 1_000_000 + micros)
}

/// Microseconds of `+00`, `-03:30` or `+01:02:03`.
fn offset(text: &str) -> Result<i64, Reason> {
    let (sign, text) = text.split_at(1);
    let mut micros = 0;
    for (part, unit) in text.split(':').zip([3_600, 60, 1]) {
        micros += figures(part)? * unit * 1_000_000;
    }
    Ok(if sign == "-" { -micros } else { micros })
}

/// The elements of an array of one dimension that begins at 1; `None` is NULL.
pub(super) fn elements(text: &str) -> Result<Vec<Option<String>>, Reason> {
    if text.starts_with('[') {
        return Err("holds an array that does not begin at 1");
    }
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or(BROKEN)?;
    let (mut found, mut letters) = (Vec::new(), inner.chars());
    if inner.is_empty() {
        return Ok(found);
    }
    loop {
        let mut element = String::new();
        let (mut quoted, mut open, mut more) = (false, false, false);
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => element.push(letters.next().ok_or(BROKEN)?),
                '"' => (quoted, open) = (true, !open),
                ',' if !open => {
                    more = true;
                    break;
                }
                '{' | '}' if !open => return Err("holds an array of several dimensions"),
                other => element.push(other),
            }
        }
        if open {
            return Err(BROKEN);
        }
        found.push((quoted || element != "NULL").then_some(element));
        if !more {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2026-10-01", 20_727),
            ("0001-01-01", -719_162),
            ("0001-12-31 BC", -719_163),
            ("4714-11-24 BC", -2_440_588),
            ("5874897-12-31", 2_145_042_905),
        ] {
            assert_eq!(date(text), Ok(days), "{text}");
        }
        for (text, zone, micros) in [
            ("1970-01-01 00:00:00+00", true, 0),
            ("1970-01-01 00:00:00", false, 0),
            ("1969-12-31 23:59:59.5", false, -500_000),
            ("2026-10-01 12:30:00.000001+00", true, 1_790_857_800_000_001),
            ("2026-10-01 12:30:00-03:30", true, 1_790_870_400_000_000),
            ("0001-12-31 00:00:00 BC", false, -62_135_683_200_000_000),
            ("0001-12-31 00:00:00+00 BC", true, -62_135_683_200_000_000),
        ] {
            assert_eq!(timestamp(text, zone), Ok(micros), "{text}");
        }
        assert_eq!((time("23:59:59.999999"), time("00:00:00")), (Ok(86_399_999_999), Ok(0)));
        for text in ["infinity", "-infinity", "294276-12-31 00:00:00", "2026-10-01", "2026-10-01 00:00:00+00", "x"] {
            assert!(timestamp(text, false).is_err(), "{text}");
        }
        for text in ["infinity", "-infinity", "2026-13-01", "2026-10", "+2026-10-01", ""] {
            assert!(date(text).is_err(), "{text}");
        }
        assert_eq!(timestamp("294247-01-10 04:00:54.775806", false), Ok(i64::MAX - 1));
        assert_eq!(timestamp("294247-01-10 04:00:54.775807", false), Err(FAR));
        assert!(time("24:00:00").is_err());
    }

    #[test]
    fn decimals_keep_every_digit() {
        let of = |text, precision, scale| decimal(text, Digits { precision, scale });
        assert_eq!(of("123.45", 6, 2), Ok(12_345));
        assert_eq!(of("-0.50", 6, 2), Ok(-50));
        assert_eq!(of("7", 6, 2), Ok(700));
        assert_eq!(of("99999999999999999999999999999999999999", 38, 0), Ok(10_i128.pow(38) - 1));
        for text in ["NaN", "Infinity", "-Infinity", "10000.00", "1.234", "1e3", "", "-", ".5", "1,5"] {
            assert!(of(text, 6, 2).is_err(), "{text}");
        }
    }

    #[test]
    fn arrays_of_one_dimension() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(elements("{}"), Ok(vec![]));
        assert_eq!(elements("{1,NULL,3}"), Ok(vec![some("1"), None, some("3")]));
        let odd = r#"{"","NULL","a\"b\\c","x,y","{z}",Ä 1}"#;
        let read = ["", "NULL", "a\"b\\c", "x,y", "{z}", "Ä 1"].map(some);
        assert_eq!(elements(odd), Ok(read.to_vec()));
        for text in ["{{1,2},{3,4}}", "[0:1]={1,2}", "1,2", "{\"a}", "{a\\}"] {
            assert!(elements(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_others() {
        assert_eq!((boolean("t"), boolean("f")), (Ok(true), Ok(false)));
        assert!(boolean("true").is_err());
        assert_eq!((bytes("\\x"), bytes("\\x00fF")), (Ok(vec![]), Ok(vec![0, 255])));
        assert!(bytes("\\x0").is_err() && bytes("00").is_err() && bytes("\\xzz").is_err());
        assert!(number::<f64>("NaN").is_ok_and(f64::is_nan));
        assert_eq!((number("-Infinity"), number::<i16>("7")), (Ok(f64::NEG_INFINITY), Ok(7)));
    }
}
