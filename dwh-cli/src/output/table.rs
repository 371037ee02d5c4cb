//! Columns that line up, wide letters included: no borders, one line a row, numbers to the right.
//!
//! A row is never wrapped: a wrapped row cannot be read. On a screen that is too narrow, names are shortened, and columns
//! are left out by their rank.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Paint, fold::fold, printable};

/// What a cell wants to be seen as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Well.
    Good,
    /// May go wrong.
    Warn,
    /// Went wrong.
    Bad,
}

/// Between two columns.
const GAP: usize = 2;

/// A name is not made shorter than this before columns are left out.
const SHORTEST: usize = 26;

/// A table that grows by rows.
pub struct Table<'a> {
    columns: Vec<Column>,
    rows: Vec<Vec<(String, Tone)>>,
    paint: Paint<'a>,
}

struct Column {
    name: String,
    number: bool,
    elastic: bool,
    rank: u8,
}

impl Column {
    fn new(text: &str) -> Self {
        let (text, rank) = text.split_once('/').unwrap_or((text, "0"));
        let name = text.trim_start_matches(['>', '~']).to_owned();
        // A rank is a literal of ours; one that is none keeps its column.
        Self { name, number: text.starts_with('>'), elastic: text.starts_with('~'), rank: rank.parse().unwrap_or(0) }
    }
}

impl<'a> Table<'a> {
    /// A table of these columns. A name that starts with `>` is a column of numbers, `~` one of names that may be
    /// shortened. `/3` behind it: the column is left out where there is no room, before one of `/2`.
    pub fn new(columns: &[&str], paint: Paint<'a>) -> Self {
        Self { columns: columns.iter().map(|text| Column::new(text)).collect(), rows: Vec::new(), paint }
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let clean = |text: &str| printable(text).replace(['\n', '\t'], " ");
        self.rows.push(cells.into_iter().map(|(text, tone)| (clean(&text), tone)).collect());
    }

    /// The lines, and which columns have no room.
    pub fn text(&self) -> String {
        // Without a row the names of columns say nothing to somebody at a screen.
        if self.rows.is_empty() && self.paint.width().is_some() {
            return String::new();
        }
        let (shown, left_out) = self.fit();
        let head = self.columns.iter().map(|column| (column.name.clone(), Tone::Plain)).collect();
        let mut text: String = std::iter::once(&head).chain(&self.rows).map(|row| self.line(row, &shown)).collect();
        if !left_out.is_empty() {
            let told = format!("no room for: {}; `--output json` has all", left_out.join(", "));
            text.push_str(&format!("{}\n", self.paint.faint(&fold(&told, self.paint.width(), 2))));
        }
        text
    }

    fn line(&self, row: &[(String, Tone)], shown: &[(usize, usize)]) -> String {
        let mut line = String::new();
        // Spaces that are owed: none stand at the end of a line.
        let mut owed = 0;
        for &(at, width) in shown {
            let (text, tone) = row.get(at).map_or(("", Tone::Plain), |(text, tone)| (text.as_str(), *tone));
            let text = shortened(text, width);
            let blank = width.saturating_sub(text.width());
            let (before, after) = if self.columns[at].number { (blank, 0) } else { (0, blank) };
            if !text.is_empty() {
                line.push_str(&" ".repeat(owed + before));
                line.push_str(&self.painted(&text, tone));
                owed = 0;
            } else {
                owed += before;
            }
            owed += after + GAP;
        }
        line + "\n"
    }

    fn painted(&self, text: &str, tone: Tone) -> String {
        match tone {
            Tone::Plain => text.to_owned(),
            Tone::Good => self.paint.good(text),
            Tone::Warn => self.paint.warn(text),
            Tone::Bad => self.paint.bad(text),
        }
    }

    /// The columns that are shown with their widths, and the names of those that say something and have no room.
    fn fit(&self) -> (Vec<(usize, usize)>, Vec<&str>) {
        let mut shown: Vec<(usize, usize)> = (0..self.columns.len()).map(|at| (at, self.width_of(at))).collect();
        let Some(room) = self.paint.width() else { return (shown, Vec::new()) };
        let least = |&(at, width): &(usize, usize)| if self.columns[at].elastic { width.min(SHORTEST) } else { width };
        let needs = |shown: &[(usize, usize)]| total(shown.iter().map(least));
        let mut out: Vec<(usize, usize)> = Vec::new();
        while needs(&shown) > room {
            let rank = |&(at, _): &(usize, usize)| (self.says_nothing(at), self.columns[at].rank);
            let ranked = shown.iter().enumerate().filter(|(_, column)| rank(column).1 > 0);
            let Some(place) = ranked.max_by_key(|(_, column)| rank(column)).map(|(place, _)| place) else { break };
            out.push(shown.remove(place));
        }
        // A narrow one may have room where a wide one had none.
        out.reverse();
        out.retain(|column| {
            let place = shown.partition_point(|(at, _)| *at < column.0);
            shown.insert(place, *column);
            let fits = !self.says_nothing(column.0) && needs(&shown) <= room;
            if !fits {
                shown.remove(place);
            }
            !fits
        });
        self.shrink(&mut shown, room);
        out.sort_unstable();
        let told = out.iter().filter(|(at, _)| !self.says_nothing(*at)).map(|(at, _)| self.columns[*at].name.as_str());
        (shown, told.collect())
    }

    /// Takes what is over from the widest name, letter by letter.
    fn shrink(&self, shown: &mut [(usize, usize)], room: usize) {
        let over = total(shown.iter().map(|(_, width)| *width)).saturating_sub(room);
        for _ in 0..over {
            let elastic = shown.iter_mut().filter(|(at, _)| self.columns[*at].elastic);
            match elastic.max_by_key(|(_, width)| *width) {
                Some((_, width)) if *width > 1 => *width -= 1,
                _ => return,
            }
        }
    }

    fn width_of(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|(text, _)| text.width());
        cells.fold(self.columns[at].name.width(), usize::max)
    }

    fn says_nothing(&self, at: usize) -> bool {
        let cells = self.rows.iter().filter_map(|row| row.get(at));
        cells.map(|(text, _)| text.as_str()).all(|text| matches!(text, "" | "-" | "0" | "0 B"))
    }
}

fn total(widths: impl Iterator<Item = usize>) -> usize {
    widths.fold(0, |sum, width| sum + width + GAP).saturating_sub(GAP)
}

/// A name keeps its beginning and its end, where names differ; a sentence keeps its beginning.
pub fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let end = if text.contains(' ') { 0 } else { room / 2 };
    let tail: String = taken(text.chars().rev(), end).into_iter().rev().collect();
    let head: String = taken(text.chars(), room - tail.width()).into_iter().collect();
    format!("{head}…{tail}")
}

fn taken(letters: impl Iterator<Item = char>, room: usize) -> Vec<char> {
    let mut used = 0;
    letters
        .take_while(|letter| {
            used += letter.width().unwrap_or(0);
            used <= room
        })
        .collect()
}

/// A cell of no special tone.
pub fn plain(text: impl Into<String>) -> (String, Tone) {
    (text.into(), Tone::Plain)
}

#[cfg(test)]
mod tests {
    use super::{Table, Tone, plain};
    use crate::output::Paint;
    use unicode_width::UnicodeWidthStr;

    fn table(width: Option<usize>) -> String {
        let columns = ["~table", ">run/2", "mode/3", ">rows", ">late/1", "state"];
        let mut table = Table::new(&columns, Paint::new(false).within(width));
        let long = "employee_absence_requests_and_approvals_history_102";
        table.row([plain(long), plain("7"), plain("snapshot"), plain("1,234"), plain("0"), plain("loaded")]);
        let bad = ("FAILED".to_owned(), Tone::Bad);
        table.row([plain("位置履歴"), plain("12"), plain("incremental"), plain("5"), plain("0"), bad]);
        table.text()
    }

    #[test]
    fn no_line_is_wider_than_the_screen_and_what_says_nothing_goes_first() {
        for width in [50, 60, 70, 80, 100] {
            let text = table(Some(width));
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
        }
        assert_eq!(
            table(Some(60)),
            "table                        run  mode          rows  state\n\
             employee_abse…s_history_102    7  snapshot     1,234  loaded\n\
             位置履歴                      12  incremental      5  FAILED\n"
        );
        assert_eq!(
            table(Some(50)),
            "table                           run   rows  state\n\
             employee_absenc…ls_history_102    7  1,234  loaded\n\
             位置履歴                         12      5  FAILED\n\
             no room for: mode; `--output json` has all\n"
        );
    }

    #[test]
    fn a_pipe_gets_all_of_it() {
        let text = table(None);
        assert!(text.contains("employee_absence_requests_and_approvals_history_102    7  snapshot"), "{text}");
        assert!(text.lines().all(|line| line == line.trim_end()));
    }
}
