//! What several tables share, told once and true of each of them. Pure.

use std::collections::BTreeMap;

use super::{Breach, BreachCheck};
use crate::operate::shell::quoted;

/// Names that a remedy gives; for more it says the same of all.
const NAMES: usize = 5;
/// Stands where each table has its own name.
const OWN: &str = "…";
/// How a message begins that tells of a failed run: it has the number of the run, which no two tables share.
const FAILED: [(&str, &str); 3] = [
    (" failed, and none was loaded since: ", "the newest run of each failed, and none was loaded since: "),
    (
        " failed, and its file was not loaded since: ",
        "the newest run of each failed, and its file was not loaded since: ",
    ),
    (
        " of the model failed, and it was not built since: ",
        "the newest run of each failed, and it was not built since: ",
    ),
];

/// One thing that needs attention, with the tables that it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct BreachCause {
    /// Stable word.
    pub check: BreachCheck,
    /// The tables or models; none for what concerns the whole project.
    pub tables: Vec<String>,
    /// What is wrong, true of each of them: where their numbers differ, from the least to the most.
    pub message: String,
    /// The command to type next, or what else to do.
    pub remedy: String,
}

impl BreachCause {
    /// The causes of these breaches, the first one's place first.
    pub(super) fn of(breaches: &[Breach]) -> Vec<Self> {
        let said = |breach: &Breach| Said {
            check: breach.check.as_str().to_owned(),
            name: breach.table.clone().unwrap_or_default(),
            message: breach.message.clone(),
            remedy: Some(breach.remedy.clone()),
        };
        let all: Vec<Said> = breaches.iter().map(said).collect();
        let cause = |group: Vec<usize>| {
            let of: Vec<&Said> = group.iter().map(|at| &all[*at]).collect();
            Self {
                check: breaches[group[0]].check,
                tables: group.iter().filter_map(|at| breaches[*at].table.clone()).collect(),
                message: message(&of),
                remedy: remedy(&of).unwrap_or_default(),
            }
        };
        alike(all.iter().map(Said::cause)).into_iter().map(cause).collect()
    }
}

/// What is said of one table.
#[derive(Debug, Clone)]
pub(in crate::operate) struct Said {
    /// The check's word.
    pub check: String,
    /// The table or model; empty for none.
    pub name: String,
    /// One line.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Said {
    /// What must be the same where a message is to stand for several.
    pub(in crate::operate) fn cause(&self) -> String {
        let mut cause = format!("{}\n{}\n", self.check, self.name.is_empty());
        for part in self.parts() {
            match part {
                Part::Text(text) => cause.push_str(&text),
                Part::Number { limit: true, text, .. } => cause.push_str(&text),
                Part::Number { span, .. } => cause.push(if span { '\u{1}' } else { '\u{2}' }),
            }
            cause.push(' ');
        }
        let remedy = self.remedy.as_deref().unwrap_or_default();
        cause + "\n" + &self.without_run(&bare(remedy, &self.name))
    }

    /// The number of the run is its own.
    fn without_run(&self, remedy: &str) -> String {
        let of_run = remedy.strip_prefix("dwh runs show ").is_some_and(|id| id.bytes().all(|b| b.is_ascii_digit()));
        if of_run { "dwh runs show".to_owned() } else { remedy.to_owned() }
    }

    fn parts(&self) -> Vec<Part> {
        if let Some((told, why)) = self.failed() {
            return vec![Part::Text(told.to_owned()), Part::Text(bare(why, &self.name))];
        }
        // The texts of the others are ours, and their numbers are measured.
        match self.check.as_str() {
            "failure" | "conflict" | "disk" | "store" => vec![Part::Text(bare(&self.message, &self.name))],
            _ => measured(&self.message),
        }
    }

    /// Of a failed run, what is told of several, and why it failed.
    fn failed(&self) -> Option<(&'static str, &str)> {
        let rest = self.message.strip_prefix("run ")?;
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        FAILED.iter().find_map(|(one, many)| Some((*many, rest.strip_prefix(one)?)))
    }
}

/// A part of a message.
#[derive(Debug)]
enum Part {
    /// The same for all.
    Text(String),
    /// A number; a limit is the same for all too.
    Number { at: f64, text: String, span: bool, limit: bool },
}

/// Those with the same cause, in the order of the first of each.
pub(in crate::operate) fn alike(causes: impl Iterator<Item = String>) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (at, cause) in causes.enumerate() {
        let group = *known.entry(cause).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    groups
}

/// A message that is true of all of a group.
pub(in crate::operate) fn message(group: &[&Said]) -> String {
    let [first, others @ ..] = group else { return String::new() };
    if others.iter().all(|other| other.message == first.message) {
        return first.message.clone();
    }
    if let Some((told, why)) = first.failed()
        && others.iter().all(|other| other.failed().is_some_and(|(_, other)| other == why))
    {
        return format!("{told}{why}");
    }
    let mut all: Vec<_> = group.iter().map(|said| said.parts().into_iter()).collect();
    let mut words = Vec::new();
    loop {
        let parts: Vec<Part> = all.iter_mut().filter_map(Iterator::next).collect();
        let number = |part: &Part| match part {
            Part::Number { at, text, .. } => Some((*at, text.clone())),
            Part::Text(_) => None,
        };
        let mut numbers: Vec<(f64, String)> = parts.iter().filter_map(number).collect();
        numbers.sort_by(|one, other| one.0.total_cmp(&other.0));
        match (parts.into_iter().next(), numbers.first(), numbers.last()) {
            (None, ..) => return words.join(" ").replace(" \u{8}", ""),
            (_, Some((_, least)), Some((_, most))) if least != most => words.push(format!("{least} to {most}")),
            (_, Some((_, same)), _) => words.push(same.clone()),
            (Some(Part::Text(text)), ..) => words.push(text.trim_end().to_owned()),
            (Some(_), ..) => {}
        }
    }
}

/// What to do about all of a group.
pub(in crate::operate) fn remedy(group: &[&Said]) -> Option<String> {
    let [first, others @ ..] = group else { return None };
    let remedy = first.remedy.clone()?;
    if others.iter().all(|other| other.remedy.as_ref() == Some(&remedy)) {
        return Some(remedy);
    }
    let own = quoted(&first.name);
    let words: Vec<&str> = remedy.split(' ').collect();
    Some(match words[..] {
        ["dwh", "runs", "show", _] => "dwh runs --failed".to_owned(),
        ["dwh", "runs", "--table", _] => "dwh runs".to_owned(),
        ["dwh", "runs", "--table", _, "--failed"] => "dwh runs --failed".to_owned(),
        ["dwh", verb @ ("run" | "recover"), name] if name == own && group.len() <= NAMES => {
            let names: Vec<String> = group.iter().map(|said| quoted(&said.name)).collect();
            format!("dwh {verb} {}", names.join(" "))
        }
        ["dwh", verb @ ("run" | "recover"), name] if name == own => format!("dwh {verb}"),
        _ => format!("{remedy}\nand so for each of the others"),
    })
}

/// A text without the name of its own table, wherever that stands as a word, and without the table that it begins with.
fn bare(text: &str, name: &str) -> String {
    let mut bare = text.strip_prefix(&format!("table `{name}`: ")).unwrap_or(text).to_owned();
    let relation = name.rsplit_once('.').map_or("", |(_, relation)| relation);
    for own in [name, relation].into_iter().filter(|own| !own.is_empty()) {
        bare = without(&bare, own);
    }
    bare
}

fn without(text: &str, own: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (mut bare, mut from) = (String::new(), 0);
    for (at, found) in text.match_indices(own) {
        let (before, after) = (&text[..at], &text[at + found.len()..]);
        if before.ends_with(is_part) || after.starts_with(is_part) {
            continue;
        }
        bare.push_str(&text[from..at]);
        bare.push_str(OWN);
        from = at + found.len();
    }
    bare + &text[from..]
}

/// Words and numbers of a message; a span of time is one number.
fn measured(message: &str) -> Vec<Part> {
    let words: Vec<&str> = message.split(' ').collect();
    let (mut parts, mut at) = (Vec::new(), 0);
    while let Some(word) = words.get(at) {
        let Some(number) = number(word) else {
            parts.push(Part::Text((*word).to_owned()));
            at += 1;
            continue;
        };
        let limit = at > 0 && ["most", "least", "than"].contains(&words[at - 1]);
        let (mut seconds, mut end, mut tail) = (0.0, at, "");
        while let (Some(count), Some(unit)) = (words.get(end).and_then(|word| self::number(word)), words.get(end + 1))
            && let Some((factor, rest)) = unit_of(unit)
            && tail.is_empty()
        {
            (seconds, end, tail) = (seconds + count * factor, end + 2, rest);
        }
        let span = end > at;
        let text = if span { words[at..end].join(" ") } else { (*word).to_owned() };
        let text = text.strip_suffix(tail).unwrap_or(&text).to_owned();
        parts.push(Part::Number { at: if span { seconds } else { number }, text, span, limit });
        // It stands right behind the number.
        parts.extend((!tail.is_empty()).then(|| Part::Text(format!("\u{8}{tail}"))));
        at = end.max(at + 1);
    }
    parts
}

fn number(word: &str) -> Option<f64> {
    let is_number = word.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'.');
    let ends = |word: &str| word.ends_with(|c: char| c.is_ascii_digit());
    if is_number && ends(word) { word.replace(',', "").parse().ok() } else { None }
}

/// Seconds of a unit, and what stands behind it.
fn unit_of(word: &str) -> Option<(f64, &str)> {
    let unit = word.trim_end_matches([',', ';']);
    let seconds = match unit {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Some((seconds, &word[unit.len()..]))
}

/// `1,234,567`.
pub(in crate::operate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(check: BreachCheck, all: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        let breach = |(table, message, remedy): &(&str, &str, &str)| Breach {
            check,
            table: Some((*table).to_owned()),
            message: (*message).to_owned(),
            remedy: (*remedy).to_owned(),
        };
        let breaches: Vec<Breach> = all.iter().map(breach).collect();
        let told = |cause: BreachCause| (cause.tables.join(" "), cause.message, cause.remedy);
        BreachCause::of(&breaches).into_iter().map(told).collect()
    }

    fn row(tables: &str, message: &str, remedy: &str) -> (String, String, String) {
        (tables.to_owned(), message.to_owned(), remedy.to_owned())
    }

    #[test]
    fn numbers_that_differ_are_told_from_the_least_to_the_most() {
        let many = |rows: &str, most: &str| {
            format!("{rows} rows were loaded in the last 24 hours, at most {most} are expected")
        };
        let (a, b, c) = (many("20,000", "100"), many("12,021", "100"), many("300", "200"));
        let tables = [
            ("agent_logs", a.as_str(), "dwh runs --table agent_logs"),
            ("issues", &b, "dwh runs --table issues"),
            ("other", &c, "dwh runs --table other"),
        ];
        assert_eq!(
            told(BreachCheck::TooManyRows, &tables),
            [
                row("agent_logs issues", &many("12,021 to 20,000", "100"), "dwh runs"),
                row("other", &c, "dwh runs --table other")
            ]
        );
        let late = |ago: &str| format!("last loaded {ago} ago, it is fresh for less than 1 min 0 s");
        let (a, b) = (late("7 min 28 s"), late("2 min 0 s"));
        let held = format!("{b}; a run of db1 pid 7 has held it for 3.0 s");
        let tables =
            [("a", a.as_str(), "dwh run a"), ("b", &b, "dwh run b"), ("c", &held, "dwh runs --table c --limit 5")];
        assert_eq!(
            told(BreachCheck::Stale, &tables),
            [
                row("a b", &late("2 min 0 s to 7 min 28 s"), "dwh run a b"),
                row("c", &held, "dwh runs --table c --limit 5")
            ]
        );
        let waits = |files: &str, oldest: &str| {
            format!("{files} complete CSV files are not loaded, the oldest for {oldest}, at most 2 h 0 min are allowed")
        };
        let (a, b) = (waits("2", "3 h 0 min"), waits("3", "1 d 2 h"));
        assert_eq!(
            told(BreachCheck::Waiting, &[("a", &a, "dwh recover a"), ("b", &b, "dwh recover b")]),
            [row("a b", &waits("2 to 3", "3 h 0 min to 1 d 2 h"), "dwh recover a b")]
        );
    }

    #[test]
    fn a_cause_names_what_is_each_tables_own_as_that() {
        let failed = |run: u32, why: &str| format!("run {run} failed, and none was loaded since: {why}");
        let all: Vec<(String, String, String)> = (1..=7)
            .map(|n| {
                let why = format!("source relation `public.t_{n}` is not there");
                (format!("t_{n}"), failed(n, &why), format!("dwh runs show {n}"))
            })
            .collect();
        let all: Vec<_> =
            all.iter().map(|(table, why, remedy)| (table.as_str(), why.as_str(), remedy.as_str())).collect();
        let since = "the newest run of each failed, and none was loaded since: ";
        let names = "t_1 t_2 t_3 t_4 t_5 t_6 t_7";
        let gone = row(names, &format!("{since}source relation `public.…` is not there"), "dwh runs --failed");
        assert_eq!(told(BreachCheck::Failure, &all), [gone]);

        let lost = |column: &str| failed(1, &format!("column `{column}` is not there"));
        let (one, two) = (lost("address1"), lost("address2"));
        let apart = [("a", one.as_str(), "dwh runs show 1"), ("b", &two, "dwh runs show 2")];
        assert_eq!(told(BreachCheck::Failure, &apart).len(), 2, "what differs in a number is not one cause");
        let down = [failed(8, "source `app` does not answer"), failed(9, "source `app` does not answer")];
        assert_eq!(
            told(BreachCheck::Failure, &[("a", &down[0], "dwh runs show 8"), ("b", &down[1], "dwh runs show 9")]),
            [row("a b", &format!("{since}source `app` does not answer"), "dwh runs --failed")]
        );
        let one = [("a", down[0].as_str(), "dwh runs show 8")];
        assert_eq!(told(BreachCheck::Failure, &one), [row("a", &down[0], "dwh runs show 8")], "one is told as it is");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 12, 999, 1000, 1_234_567].map(count), ["0", "12", "999", "1,000", "1,234,567"]);
    }
}
