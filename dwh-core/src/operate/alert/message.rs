//! From what is due to what is said. Pure.

use serde_json::{Value, json};

use super::ToldThing;
use crate::operate::status::cause::{self, Said, alike};
use crate::sink::AlertDue;

/// Entries of a message; who wants more looks himself.
const MOST: usize = 20;
/// Names of tables that share a cause.
const NAMES: usize = 3;
/// Characters of one entry: messages of servers may be long.
const LONGEST: usize = 600;

/// What is sent.
#[derive(Debug)]
pub(super) struct Message<'a> {
    project: &'a str,
    alert: &'a str,
    /// One line.
    pub(super) title: String,
    /// All of it, the title first.
    pub(super) text: String,
    things: &'a [ToldThing],
}

impl<'a> Message<'a> {
    /// What these things say.
    pub(super) fn of(project: &'a str, alert: &'a str, things: &'a [ToldThing]) -> Self {
        let over = things.iter().filter(|thing| thing.due == AlertDue::Recovered).count();
        let title = format!("dwh `{project}`: {}", count(things.len() - over, over));
        let mut text = format!("{title}\n");
        let groups = groups(things);
        for (at, group) in groups.iter().take(MOST).enumerate() {
            let is_over = |group: &Vec<&ToldThing>| group[0].due == AlertDue::Recovered;
            if is_over(group) && (at == 0 || !is_over(&groups[at - 1])) {
                text.push_str("\nOver:\n");
            }
            text.push_str(&entry(group));
        }
        if groups.len() > MOST {
            text.push_str(&format!("\n… and {} more; `dwh status` tells all\n", groups.len() - MOST));
        }
        Self { project, alert, title, text, things }
    }

    /// One for trying.
    pub(super) fn test(project: &'a str, alert: &'a str) -> Self {
        let title = format!("dwh `{project}`: test of alert `{alert}`");
        let text = format!("{title}\nNothing is wrong: somebody called `dwh alert --test`.\n");
        Self { project, alert, title, text, things: &[] }
    }

    /// All of it for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "project": self.project, "alert": self.alert, "title": self.title, "text": self.text, "things": self.things
        })
    }
}

fn count(wrong: usize, over: usize) -> String {
    let wrong = match wrong {
        0 => None,
        1 => Some("1 thing needs attention".to_owned()),
        more => Some(format!("{more} things need attention")),
    };
    let over = match over {
        0 => None,
        1 => Some("1 is over".to_owned()),
        more => Some(format!("{more} are over")),
    };
    [wrong, over].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What has one cause stands together; what is over comes last.
fn groups(things: &[ToldThing]) -> Vec<Vec<&ToldThing>> {
    let cause = |thing: &ToldThing| format!("{} {}", thing.due.as_str(), said(thing).cause());
    let mut groups: Vec<Vec<&ToldThing>> = alike(things.iter().map(cause))
        .into_iter()
        .map(|group| group.into_iter().map(|at| &things[at]).collect())
        .collect();
    groups.sort_by_key(|group| group[0].due == AlertDue::Recovered);
    groups
}

fn said(thing: &ToldThing) -> Said {
    let (what, name) = thing.subject.split_once(' ').unwrap_or_default();
    Said {
        check: thing.check.clone(),
        name: if what == "table" { name.to_owned() } else { String::new() },
        message: thing.message.clone(),
        remedy: thing.remedy.clone(),
    }
}

fn entry(group: &[&ToldThing]) -> String {
    let first = group[0];
    let named = |thing: &&ToldThing| match thing.subject.split_once(' ') {
        Some((what, name)) => (what.to_owned(), format!("`{name}`")),
        None => (String::new(), thing.subject.clone()),
    };
    let (what, name) = named(&first);
    let subject = if group.len() == 1 {
        format!("{what} {name}")
    } else {
        let names: Vec<String> = group.iter().take(NAMES).map(|thing| named(thing).1).collect();
        let more = group.len().saturating_sub(NAMES);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{} {what}s, {}{more}", group.len(), names.join(", "))
    };
    let of: Vec<Said> = group.iter().map(|thing| said(thing)).collect();
    let of: Vec<&Said> = of.iter().collect();
    let mut text = format!("- {subject}: {}", short(&cause::message(&of)));
    if first.due == AlertDue::Again {
        let since = group.iter().map(|thing| thing.since).min().unwrap_or(first.since);
        let of_all = if group.iter().all(|thing| thing.since == since) { "since" } else { "the first since" };
        text.push_str(&format!(" ({of_all} {since})"));
    }
    text.push('\n');
    if let Some(remedy) = cause::remedy(&of) {
        text.push_str(&format!("  → {}\n", short(&remedy)));
    }
    text
}

/// One line of bounded length, without what steers a terminal.
fn short(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if text.chars().count() > LONGEST { line + "…" } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(due: AlertDue, table: &str, message: &str) -> ToldThing {
        ToldThing {
            due,
            check: "failure".to_owned(),
            subject: format!("table {table}"),
            message: message.to_owned(),
            remedy: (due != AlertDue::Recovered).then(|| format!("dwh runs --table {table}")),
            since: "2026-10-01T00:00:00Z".parse().expect("a moment"),
        }
    }

    #[test]
    fn one_cause_is_told_once_and_ends_come_last() {
        let failed = |run: i32, why: &str| format!("run {run} failed, and none was loaded since: {why}");
        let mut things: Vec<ToldThing> = (1..=5)
            .map(|n| {
                let table = format!("t{n}");
                thing(AlertDue::New, &table, &failed(n, "source `app` does not answer"))
            })
            .collect();
        things.insert(0, thing(AlertDue::Recovered, "old", "run 1 failed"));
        things.push(thing(AlertDue::Again, "b", "run 9 failed: no\nrights"));
        let message = Message::of("fleet", "team", &things);
        assert_eq!(
            message.text,
            "dwh `fleet`: 6 things need attention, 1 is over\n\
             - 5 tables, `t1`, `t2`, `t3` and 2 more: the newest run of each failed, and none was loaded since: \
             source `app` does not answer\n  → dwh runs\n\
             - table `b`: run 9 failed: no rights (since 2026-10-01T00:00:00.000000Z)\n  → dwh runs --table b\n\
             \nOver:\n- table `old`: run 1 failed\n"
        );
    }

    #[test]
    fn twenty_are_told_and_how_many_more() {
        let letters = |n: usize| "x".repeat(n + 1);
        let things: Vec<ToldThing> = (0..23).map(|n| thing(AlertDue::New, &letters(n), &letters(n * 100))).collect();
        let text = Message::of("p", "a", &things).text;
        assert_eq!(text.matches("\n- ").count(), 20);
        assert!(text.starts_with("dwh `p`: 23 things need attention\n") && text.contains("… and 3 more; "), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < LONGEST + 50), "long messages are cut");
    }
}
