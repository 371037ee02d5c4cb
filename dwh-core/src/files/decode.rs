//! Bytes of a file on their way: hashed as they are, and turned into UTF-8.

use encoding_rs::{Decoder, DecoderResult, UTF_8, WINDOWS_1252};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read};

use crate::config::FileEncoding;
use crate::dialect::hex;
use crate::error::{Error, ErrorKind};

/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The bytes of a file, counted and hashed.
pub(super) struct Raw {
    inner: Box<dyn Read + Send>,
    hash: Sha256,
    bytes: u64,
    fault: Option<Error>,
}

impl Raw {
    pub(super) fn new(inner: Box<dyn Read + Send>) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0, fault: None }
    }

    pub(super) const fn size(&self) -> u64 {
        self.bytes
    }

    pub(super) fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// The error of ours that ended it, if one did.
    pub(super) const fn fault(&mut self) -> Option<Error> {
        self.fault.take()
    }
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into).map_err(|error| {
            let kind = error.kind();
            match error.downcast::<Error>() {
                Ok(ours) => {
                    self.fault = Some(ours);
                    kind.into()
                }
                Err(theirs) => theirs,
            }
        })?;
        self.hash.update(&into[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// The letters of a file as UTF-8, without a byte order mark. A byte that is no letter ends it in an error.
pub(super) struct Decoding {
    raw: Raw,
    decoder: Decoder,
    encoding: FileEncoding,
    path: String,
    /// Bytes of the file that were not decoded yet.
    input: Vec<u8>,
    input_at: usize,
    /// Bytes of the file that were decoded.
    decoded: u64,
    output: Vec<u8>,
    output_at: usize,
    ended: bool,
    fault: Option<Error>,
    /// How many quotes passed by.
    quotes: u64,
}

impl Decoding {
    pub(super) fn new(raw: Raw, encoding: FileEncoding, path: &str) -> Self {
        let decoder = match encoding {
            FileEncoding::Unicode => UTF_8,
            FileEncoding::Latin1 => WINDOWS_1252,
        };
        Self {
            raw,
            decoder: decoder.new_decoder(),
            encoding,
            path: path.to_owned(),
            input: Vec::new(),
            input_at: 0,
            decoded: 0,
            output: Vec::new(),
            output_at: 0,
            ended: false,
            fault: None,
            quotes: 0,
        }
    }

    pub(super) const fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Whether a quote was opened and not closed.
    pub(super) const fn is_quote_open(&self) -> bool {
        self.quotes % 2 == 1
    }

    /// The error of ours that ended it, if one did.
    pub(super) fn fault(&mut self) -> Option<Error> {
        self.fault.take().or_else(|| self.raw.fault())
    }

    fn refuse(&mut self, at: u64) -> io::Error {
        let path = &self.path;
        let error = match self.encoding {
            FileEncoding::Unicode => Error::new(
                ErrorKind::Data,
                format!("file `{path}`: byte {at} is no UTF-8; it looks like Latin-1"),
            )
            .with_hint(
                "write it as UTF-8; or, if all files of the table are Latin-1, write `encoding = \"latin1\"` under the table",
            ),
            FileEncoding::Latin1 => Error::new(ErrorKind::Data, format!("file `{path}`: byte {at} is no letter"))
                .with_hint("its byte order mark says another encoding than it has; write it anew"),
        };
        self.fault = Some(error);
        io::ErrorKind::InvalidData.into()
    }

    /// Decodes more, until there is some or the end.
    fn more(&mut self) -> io::Result<()> {
        self.output.clear();
        self.output_at = 0;
        while self.output.is_empty() && !self.ended {
            if self.input_at == self.input.len() {
                self.input.resize(CHUNK_BYTES, 0);
                self.input_at = 0;
                let read = self.raw.read(&mut self.input);
                self.input.truncate(*read.as_ref().unwrap_or(&0));
                read?;
            }
            let last = self.input.is_empty();
            let source = &self.input[self.input_at..];
            self.output.resize(CHUNK_BYTES * 3 + 16, 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(source, &mut self.output, last);
            self.output.truncate(written);
            self.input_at += read;
            self.decoded += read as u64;
            match result {
                DecoderResult::Malformed(length, after) => {
                    let at = self.decoded.saturating_sub(u64::from(length) + u64::from(after)) + 1;
                    return Err(self.refuse(at));
                }
                DecoderResult::InputEmpty => self.ended = last,
                DecoderResult::OutputFull => {}
            }
        }
        self.quotes += memchr::memchr_iter(b'"', &self.output).count() as u64;
        Ok(())
    }
}

impl BufRead for Decoding {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.output_at == self.output.len() {
            self.more()?;
        }
        Ok(&self.output[self.output_at..])
    }

    fn consume(&mut self, amount: usize) {
        self.output_at += amount;
    }
}

impl Read for Decoding {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], encoding: FileEncoding) -> std::result::Result<String, Error> {
        let raw = Raw::new(Box::new(io::Cursor::new(bytes.to_vec())));
        let mut decoding = Decoding::new(raw, encoding, "a.json");
        let mut text = String::new();
        match decoding.read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(_) => Err(decoding.fault().expect("why")),
        }
    }

    #[test]
    fn unicode_comes_in_three_forms() {
        let utf16 = |text: &str, order: fn(u16) -> [u8; 2]| {
            std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(order).collect::<Vec<u8>>()
        };
        let text = "Ärger → 🐘";
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
            utf16(text, u16::to_le_bytes),
            utf16(text, u16::to_be_bytes),
        ] {
            assert_eq!(decoded(&bytes, FileEncoding::Unicode).expect("text"), text);
        }
        assert_eq!(decoded(b"", FileEncoding::Unicode).expect("text"), "");
    }

    #[test]
    fn latin1_is_named_and_read_only_where_it_is_said() {
        let bytes = b"caf\xE9 x";
        let error = decoded(bytes, FileEncoding::Unicode).expect_err("no UTF-8");
        assert_eq!(error.to_string(), "file `a.json`: byte 4 is no UTF-8; it looks like Latin-1");
        assert!(error.hint().contains("encoding = \"latin1\""), "{}", error.hint());
        assert_eq!(decoded(bytes, FileEncoding::Latin1).expect("text"), "café x");
    }

    #[test]
    fn letters_that_are_cut_off_are_no_letters() {
        assert!(decoded(&"é".as_bytes()[..1], FileEncoding::Unicode).is_err());
        assert!(decoded(b"\xFF\xFEa", FileEncoding::Unicode).is_err());
    }
}
