//! What a command ends with.

use dwh_core::pipeline::ErrorReport;
use std::process::ExitCode;

/// The codes, for `dwh --help`.
pub const HELP: &str = "\
Exit codes:
  0    done
  1    something unexpected, or tables that failed for different reasons
  2    the arguments or the configuration are wrong
  3    a service cannot be reached, is overloaded, or refuses the credentials
  4    data or contract are not as promised: drift, keys, rights, checksum, counts
  5    another run holds the table
  130  stopped by Ctrl-C; 143 by SIGTERM

`dwh COMMAND --help` shows the options of a command, with examples.";

/// How a command ended that was able to print its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const DONE: Self = Self(0);
    /// The arguments are wrong.
    pub const USAGE: Self = Self(2);
    /// Ctrl-C: 128 + SIGINT, as shells have it.
    pub const INTERRUPTED: Self = Self::by_signal(2);

    /// 128 and the signal's number.
    pub const fn by_signal(signal: u8) -> Self {
        Self(128 + signal)
    }

    /// 0 without errors; the one code of all of them; 1 if they differ.
    pub fn of<'a>(errors: impl IntoIterator<Item = &'a ErrorReport>) -> Self {
        let mut codes = errors.into_iter().map(|error| error.exit_code);
        let Some(first) = codes.next() else { return Self::DONE };
        Self(if codes.all(|code| code == first) { first } else { 1 })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;
    use dwh_core::pipeline::ErrorReport;
    use dwh_core::{Error, ErrorKind};

    #[test]
    fn one_code_if_all_errors_agree() {
        let report = |kind| ErrorReport::from(&Error::new(kind, "x"));
        let (data, locked) = (report(ErrorKind::Data), report(ErrorKind::Locked));
        assert_eq!(Exit::of([]), Exit::DONE);
        assert_eq!(Exit::of([&data, &data]), Exit(4));
        assert_eq!(Exit::of([&data, &locked, &data]), Exit(1));
    }
}
