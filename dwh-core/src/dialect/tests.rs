//! Counting against a naive reader at every cut; the header; every diagnosis with its line.

use proptest::prelude::*;

use super::*;
use crate::error::{ErrorKind, Result};

/// Records by a reader that looks at one byte after the other.
fn naive(bytes: &[u8]) -> (u64, bool) {
    let (mut records, mut quoted, mut open) = (0, false, false);
    for byte in bytes {
        open = true;
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => {
                records += 1;
                open = false;
            }
            _ => {}
        }
    }
    ((records + u64::from(open)).saturating_sub(1), records > 0 && !open)
}

fn counted<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (u64, bool) {
    let mut counter = RowCounter::default();
    pieces.into_iter().for_each(|piece| counter.push(piece));
    (counter.rows(), counter.is_complete())
}

proptest! {
    #[test]
    fn counting_is_the_same_at_every_cut(text in "[\",\r\nab\u{e4}]{0,24}") {
        let bytes = text.as_bytes();
        let truth = naive(bytes);
        for size in 1..=bytes.len().max(1) {
            prop_assert_eq!(counted(bytes.chunks(size)), truth);
        }
        for cut in 0..=bytes.len() {
            prop_assert_eq!(counted([&bytes[..cut], &bytes[cut..]]), truth);
        }
    }

    /// What is written as fields is counted, gated and found faultless, and another reader sees the same texts.
    #[test]
    fn written_fields_come_back(rows in prop::collection::vec(prop::collection::vec("[\",\r\n\\\\.ab\u{1F418}]{0,4}", 2), 0..6)) {
        let columns = ["a,b".to_owned(), "\\.".to_owned()];
        let line = |fields: &[String]| fields.iter().map(|text| field(text)).collect::<Vec<_>>().join(",") + "\n";
        let text: String = std::iter::once(line(&columns)).chain(rows.iter().map(|row| line(row))).collect();
        prop_assert_eq!(counted([text.as_bytes()]), (rows.len() as u64, true));
        prop_assert!(diagnose(text.as_bytes(), &columns).is_ok());
        let read: Vec<Vec<String>> = csv::Reader::from_reader(text.as_bytes())
            .records()
            .map(|record| record.expect("record").iter().map(str::to_owned).collect())
            .collect();
        prop_assert_eq!(read, rows);
    }
}

#[test]
fn rows_leave_out_the_header_and_count_an_open_record() {
    for (text, rows, complete) in [
        ("", 0, false),
        ("id\n", 0, true),
        ("id\n\n", 1, true),
        ("id\n1", 1, false),
        ("id\r\n1\r\n", 1, true),
        ("id\n\"a\n", 1, false),
        ("id\n\"a\n\"\"\n\"\n", 1, true),
    ] {
        assert_eq!(counted([text.as_bytes()]), (rows, complete), "{text:?}");
    }
}

#[test]
fn a_tally_is_rows_bytes_and_sha256() {
    let mut tally = Tally::default();
    tally.push(b"");
    tally.push(b"abc");
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
    assert_eq!(tally.totals(), Totals { rows: 0, bytes: 3, sha256 });
    assert!(!tally.is_complete());
}

#[test]
fn fields_are_quoted_as_copy_quotes_them() {
    for (text, written) in
        [("", "\"\""), ("\\.", "\"\\.\""), ("a\rb", "\"a\rb\""), ("\\.x", "\\.x"), (" a ", " a "), ("\\N", "\\N")]
    {
        assert_eq!(field(text), written);
    }
}

fn gate(columns: &[&str], text: &[u8]) -> Result<()> {
    for size in 1..=text.len().max(1) {
        let mut gate = HeaderGate::new(columns.iter().copied());
        text.chunks(size).try_for_each(|piece| gate.push(piece).map(drop))?;
        gate.finish()?;
    }
    Ok(())
}

#[test]
fn the_header_passes_however_it_is_quoted_and_ended() {
    for text in ["a,b c\n", "a,b c\r\n1,2\r\n", "\"a\",\"b c\"\n1,2\n", "a,b c"] {
        gate(&["a", "b c"], text.as_bytes()).expect(text);
    }
    gate(&["a\nb", "q\"q"], b"\"a\nb\",\"q\"\"q\"\n").expect("line end in a name");
}

#[test]
fn a_wrong_header_is_told_by_name() {
    for (text, words) in [
        ("", "the file is empty"),
        ("a\n", "missing: `b`"),
        ("a,b,c\n", "not expected: `c`"),
        ("b,a\n", "in another place: `a`, `b`"),
        ("a,B\n", "missing: `b`; not expected: `B`"),
        ("a,b,b\n", "named twice: `b`"),
        ("\u{feff}a,b\n", "byte order mark"),
        ("a,\"b\n", "a quote is not closed"),
        ("a;b\n", "missing: `a`, `b`; not expected: `a;b`"),
    ] {
        let error = gate(&["a", "b"], text.as_bytes()).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(words), "{text:?}: {error}");
    }
    assert!(gate(&["a"], b"\xff\n").expect_err("bytes").to_string().contains("not UTF-8"));
    let mut endless = HeaderGate::new(["a"]);
    assert!(endless.push(&vec![b'x'; (1 << 20) + 1]).is_err(), "memory stays bounded");
}

#[test]
fn every_fault_of_a_file_is_found_with_its_line() {
    let columns = ["a".to_owned(), "b".to_owned()];
    for (body, words) in [
        (&b"1,2\n3\n"[..], "line 3 of the CSV: 1 field instead of 2"),
        (b"1,2\n\"x\ny\",2,3\n", "line 3 of the CSV: 3 fields instead of 2"),
        (b"1,2\n\n", "line 3 of the CSV: 1 field instead of 2"),
        (b"1,2\n3,\"open\n5,6\n", "line 3 of the CSV: a quote is opened and never closed"),
        (b"1,\"x\ny\"\n3,\0\n", "line 4 of the CSV: a NUL byte"),
        (b"1,\"x\ny\xff\"\n", "line 3 of the CSV: byte 2 is not UTF-8"),
        (b"1,2\n\\.\n3,4\n", "line 3 of the CSV: a line with `\\.` alone"),
        (b"1,2\r\n", "line 2 of the CSV: another kind of line end"),
        (b"1,2\rx\n", "line 2 of the CSV: a carriage return"),
        (b"1,2\n3,4\r", "line 3 of the CSV: a carriage return"),
    ] {
        let error = diagnose([b"a,b\n", body].concat().as_slice(), &columns).expect_err(words);
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().starts_with(words), "{error}");
    }
    let swapped = diagnose(&b"b,a\n1\n"[..], &columns).expect_err("header");
    assert!(swapped.to_string().contains("in another place"), "{swapped}");
    assert!(diagnose(&b""[..], &columns).is_err());
    for good in [&b"a,b\n"[..], b"a,b\r\n1,\"x\ny\"\r\n", b"a,b\n\\.,\"\\.\"\n,\"\"\n1,\"\n\\.\n\"", b"a,b\n1,2"] {
        diagnose(good, &columns).expect("good");
    }
}
