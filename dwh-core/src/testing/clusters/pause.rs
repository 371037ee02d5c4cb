//! A server that is there and does nothing: every process of it stopped.

use std::fs;
use std::process::Command;

use super::Server;

/// A server whose processes are stopped, until this is dropped.
#[derive(Debug)]
pub struct Paused<'a>(&'a Server);

impl Server {
    /// Stops all processes of the server where they stand. The system goes on taking its connections.
    ///
    /// # Panics
    /// If they cannot be stopped.
    #[must_use]
    pub fn pause(&self) -> Paused<'_> {
        // The parent first, so that no child is born unnoticed.
        // A process that has ended meanwhile needs no signal.
        signal("STOP", &[self.postmaster()]);
        signal("STOP", &self.children());
        Paused(self)
    }

    fn postmaster(&self) -> u32 {
        let text = fs::read_to_string(self.folder().join("data/postmaster.pid")).expect("a server that runs");
        text.lines().next().and_then(|pid| pid.parse().ok()).expect("its process")
    }

    fn children(&self) -> Vec<u32> {
        let parent = self.postmaster();
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
    }
}

/// Sends a signal, such as `INT`, to processes; says whether all of them were there.
///
/// # Panics
/// If no shell can be started.
pub fn signal(name: &str, pids: &[u32]) -> bool {
    let pids = pids.iter().map(u32::to_string);
    // The shell has it built in; the program is not on every machine.
    let sent = Command::new("sh").args(["-c", "kill \"$@\"", "sh", &format!("-{name}")]).args(pids).status();
    sent.expect("sh starts").success()
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        signal("CONT", &self.0.children());
        signal("CONT", &[self.0.postmaster()]);
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
