//! The clock by which ages are counted: the target's, by which the run log is stamped. Never this machine's: a worker
//! that is a year ahead would call everything old, and remove it.

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::watermark::{Micros, Timestamp};

/// How far this machine's clock and the target's may lie apart. Files in a folder bear stamps of this machine.
const APART: Micros = Micros::seconds(3600);

impl Pipeline {
    /// The target's clock, for everything that removes what is old.
    ///
    /// # Errors
    /// `Contract` if this machine's clock is more than an hour from it: one of them is wrong, and nobody knows which.
    pub(super) async fn clock(&self) -> Result<Timestamp> {
        let target = self.sink.overview().await?.now;
        agreed(target, Timestamp::now())
    }
}

/// The target's clock, if this machine's agrees with it.
fn agreed(target: Timestamp, here: Timestamp) -> Result<Timestamp> {
    let apart = if target > here { target.since(here) } else { here.since(target) };
    if apart <= APART {
        return Ok(target);
    }
    let which = if here > target { "ahead of" } else { "behind" };
    Err(Error::new(
        ErrorKind::Contract,
        format!("the clock of this machine is {apart} {which} the target's: here {here}, there {target}"),
    )
    .with_hint("nothing was removed; set the wrong one of the two clocks right (`timedatectl` tells whether NTP works), then run it again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_more_than_an_hour_apart_are_refused() {
        let target: Timestamp = "2026-10-01T12:00:00Z".parse().expect("time");
        for seconds in [-3600, -1, 0, 1, 3600] {
            assert_eq!(agreed(target, target.plus(Micros::seconds(seconds))).expect("agrees"), target);
        }
        for (seconds, word) in [(3601, "ahead of"), (-3601, "behind"), (366 * 86_400, "ahead of")] {
            let error = agreed(target, target.plus(Micros::seconds(seconds))).expect_err("apart");
            assert_eq!(error.kind(), ErrorKind::Contract);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
