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
        self.signal("STOP", &[self.postmaster()]);
        self.signal("STOP", &self.children());
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

    fn signal(&self, name: &str, pids: &[u32]) {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        // A process that has ended meanwhile makes it fail, and needs no signal.
        let _ = Command::new("kill").arg(format!("-{name}")).args(pids).status().expect("kill starts");
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT", &self.0.children());
        self.0.signal("CONT", &[self.0.postmaster()]);
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
