//! Who waits for whom on a connection: read from the messages as they pass, which are left as they are.

use std::collections::VecDeque;

use super::statement::Statements;

/// Bytes before the body of a message: its type and its length.
const HEADER_BYTES: usize = 5;
/// As much of a statement is told.
const LONGEST_STATEMENT: usize = 64 << 10;

/// The messages of one direction, told apart.
#[derive(Debug, Default)]
struct Frames {
    /// The header, and the first four bytes of the body.
    head: [u8; HEADER_BYTES + 4],
    /// How much of the message has passed.
    passed: usize,
    /// The body, or its beginning, where it is kept.
    body: Vec<u8>,
}

impl Frames {
    /// Calls `ended` with the type of each message that is whole now, the first four bytes of its body, and all of it
    /// where `keeps` says so of its type.
    fn pass(&mut self, mut bytes: &[u8], keeps: impl Fn(u8) -> bool, mut ended: impl FnMut(u8, [u8; 4], &[u8])) {
        while !bytes.is_empty() {
            let wanted = self.length().unwrap_or(HEADER_BYTES) - self.passed;
            let (now, rest) = bytes.split_at(wanted.min(bytes.len()));
            if let Some(free) = self.head.get_mut(self.passed..) {
                let kept = free.len().min(now.len());
                free[..kept].copy_from_slice(&now[..kept]);
            }
            if self.passed >= HEADER_BYTES && keeps(self.head[0]) {
                let free = LONGEST_STATEMENT.saturating_sub(self.body.len());
                self.body.extend_from_slice(&now[..free.min(now.len())]);
            }
            self.passed += now.len();
            bytes = rest;
            if self.length() == Some(self.passed) {
                let [kind, .., a, b, c, d] = self.head;
                ended(kind, [a, b, c, d], &self.body);
                *self = Self::default();
            }
        }
    }

    /// The length of the whole message, once its header has passed.
    fn length(&self) -> Option<usize> {
        let [_, a, b, c, d, ..] = self.head;
        let announced = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX - 1);
        // The length counts itself, not the type before it.
        (self.passed >= HEADER_BYTES).then(|| announced.max(4) + 1)
    }

    fn is_between(&self) -> bool {
        self.passed == 0
    }
}

/// What both sides have said so far.
#[derive(Debug, Default)]
pub(super) struct Wire {
    sent: Frames,
    received: Frames,
    /// Requests without their answer: `Q` for a simple one, `S` for the end of an extended one.
    open: VecDeque<u8>,
    /// Whether the server waits for the rows of a `COPY FROM STDIN`.
    takes_rows: bool,
    /// Whether the login is over. What is sent before has no type, and is under the limit for connecting.
    is_ready: bool,
    /// The process at the server, as it says itself. A pooler makes a number up.
    pid: Option<i32>,
    /// What is asked, where somebody wants to read it.
    statements: Option<Statements>,
}

impl Wire {
    /// A connection to this end, before its login. Its statements are told where the log takes them.
    pub(super) fn to(end: &str) -> Self {
        let statements = tracing::enabled!(tracing::Level::DEBUG).then(|| Statements::of(end));
        Self { statements, ..Self::default() }
    }

    /// These bytes went to the server.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        if !self.is_ready {
            return;
        }
        let (open, takes_rows, statements) = (&mut self.open, &mut self.takes_rows, &mut self.statements);
        let told = statements.is_some();
        self.sent.pass(
            bytes,
            |kind| told && Statements::reads(kind),
            |kind, _, body| {
                if let Some(statements) = statements {
                    statements.sent(kind, body);
                }
                match kind {
                    b'Q' | b'S' => open.push_back(kind),
                    // All rows are sent, or no more will come.
                    b'c' | b'f' => *takes_rows = false,
                    _ => {}
                }
            },
        );
    }

    /// These bytes came from the server.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        let Self { open, takes_rows, is_ready, pid, statements, .. } = self;
        let ended = |kind, body, _: &[u8]| match kind {
            b'Z' => {
                *is_ready = true;
                *takes_rows = false;
                open.pop_front();
                statements.iter_mut().for_each(Statements::answered);
            }
            b'G' => {
                *takes_rows = true;
                // The driver has sent it already, and the server skips it while it takes rows.
                if open.front() == Some(&b'S') {
                    open.pop_front();
                    statements.iter_mut().for_each(Statements::takes_rows);
                }
            }
            b'K' => *pid = Some(i32::from_be_bytes(body)),
            _ => {}
        };
        self.received.pass(bytes, |_| false, ended);
    }

    /// Whether the server owes an answer.
    pub(super) fn owes(&self) -> bool {
        self.is_ready && !self.open.is_empty() && !self.takes_rows
    }

    /// Whether a message may be put in here, and would be taken for the answer to what was asked.
    pub(super) fn takes_message(&self) -> bool {
        self.owes() && self.received.is_between()
    }

    /// Whether the login is over.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The process at the server, as it says itself.
    pub(super) fn pid(&self) -> Option<i32> {
        self.pid
    }
}

#[cfg(test)]
mod tests {
    use super::Wire;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short");
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    /// Feeds the bytes cut into pieces of every size: what is known must not depend on it.
    fn each_cut(talk: &[(bool, Vec<u8>)], check: impl Fn(&Wire)) {
        for size in 1..=12 {
            let mut wire = Wire::default();
            wire.received(&message(b'K', &[0, 0, 1, 2, 9, 9, 9, 9]));
            wire.received(&message(b'Z', b"I"));
            for (ours, bytes) in talk {
                for piece in bytes.chunks(size) {
                    if *ours { wire.sent(piece) } else { wire.received(piece) }
                }
            }
            check(&wire);
        }
    }

    #[test]
    fn a_request_is_open_until_the_server_is_ready_again() {
        let ask = (true, message(b'Q', b"select 1\0"));
        let rows =
            (false, [message(b'T', &[0; 30]), message(b'D', b"some row"), message(b'C', b"SELECT 1\0")].concat());
        let ready = (false, message(b'Z', b"I"));
        each_cut(&[], |wire| assert!(!wire.owes() && wire.pid() == Some(258)));
        each_cut(&[ask.clone(), rows.clone()], |wire| assert!(wire.owes() && wire.takes_message()));
        each_cut(&[ask.clone(), rows.clone(), ready.clone()], |wire| assert!(!wire.owes()));
        // Four sent at once, one answered.
        each_cut(&[ask.clone(), ask.clone(), rows, ready], |wire| assert!(wire.owes()));
        let cut = (false, message(b'd', &[7; 100])[..50].to_vec());
        each_cut(&[ask, cut], |wire| assert!(wire.owes() && !wire.takes_message(), "in the middle of a message"));
    }

    #[test]
    fn while_rows_are_taken_the_server_waits_for_us() {
        let begin = (true, [message(b'B', &[0; 9]), message(b'E', &[0; 5]), message(b'S', b"")].concat());
        let go = (false, [message(b'2', b""), message(b'G', &[0; 3])].concat());
        let row = (true, message(b'd', b"1,2\n"));
        let end = (true, [message(b'c', b""), message(b'S', b"")].concat());
        let done = (false, [message(b'C', b"COPY 1\0"), message(b'Z', b"T")].concat());
        each_cut(std::slice::from_ref(&begin), |wire| assert!(wire.owes()));
        each_cut(&[begin.clone(), go.clone(), row.clone()], |wire| assert!(!wire.owes()));
        each_cut(&[begin.clone(), go.clone(), row.clone(), end.clone()], |wire| assert!(wire.owes()));
        each_cut(&[begin, go, row, end, done], |wire| assert!(!wire.owes()));
    }

    #[test]
    fn nothing_is_owed_before_the_login_is_over() {
        let mut wire = Wire::default();
        // It has no type: length, version, names.
        wire.sent(&[0, 0, 0, 9, 0, 3, 0, 0, 0]);
        assert!(!wire.owes() && !wire.is_ready());
        wire.received(&message(b'R', &[0; 4]));
        wire.received(&message(b'Z', b"I"));
        wire.sent(&message(b'Q', b"\0"));
        assert!(wire.owes());
    }
}
