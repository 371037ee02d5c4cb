//! Lines that are too long for a screen, folded between words.

use unicode_width::UnicodeWidthStr;

use super::Paint;

/// Folds each line of a text at spaces, and indents what follows. What stands in backticks stays whole, and so does what SQL
/// has in quotes: it is pasted, and another space in a literal is another value.
pub fn fold(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else { return text.to_owned() };
    let lines: Vec<String> = text.split('\n').map(|line| fold_line(line, width, indent)).collect();
    lines.join("\n")
}

/// The lines of a remedy, indented. Sentences and SQL are folded; a command for a shell stays on its line, for it is pasted.
pub fn remedy(text: &str, paint: Paint<'_>, indent: usize) -> String {
    let line = |line: &str| {
        let line = format!("{:indent$}{line}", "");
        let told = if line.trim_start().starts_with("dwh ") { line } else { fold(&line, paint.width(), indent) };
        told.trim_end().to_owned() + "\n"
    };
    text.lines().map(line).collect()
}

fn fold_line(line: &str, width: usize, indent: usize) -> String {
    let mut folded = String::new();
    let mut column = 0;
    for word in words(line) {
        let wide = word.width();
        if column > 0 && column + 1 + wide > width {
            folded.push('\n');
            folded.push_str(&" ".repeat(indent));
            column = indent;
        } else if !folded.is_empty() {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += wide;
    }
    folded
}

/// What is parted by spaces outside of quotes; spaces at the beginning belong to the first word.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut begin, mut open, mut text) = (Vec::new(), 0, None, false);
    for (at, letter) in line.char_indices() {
        match letter {
            ' ' if text && open.is_none() => {
                words.push(&line[begin..at]);
                begin = at + 1;
            }
            ' ' => {}
            '`' | '\'' | '"' => {
                open = match open {
                    None => quotes(line, at, letter).then_some(letter),
                    Some(quote) => (quote != letter).then_some(quote),
                };
                text = true;
            }
            _ => text = true,
        }
    }
    words.push(&line[begin..]);
    words
}

/// Whether this letter begins what is quoted: an apostrophe stands behind a letter, and has none that ends it.
fn quotes(line: &str, at: usize, letter: char) -> bool {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '`');
    let before = line[..at].strip_suffix(['e', 'E']).filter(|before| !before.ends_with(word)).unwrap_or(&line[..at]);
    let ends = line[at + 1..].contains(letter);
    match letter {
        '`' => true,
        '\'' => ends && !before.ends_with(word),
        _ => ends,
    }
}

#[cfg(test)]
mod tests {
    use super::{fold, remedy};
    use crate::output::Paint;

    #[test]
    fn lines_end_between_words_and_what_is_pasted_stays_whole() {
        let text = "table `trips`: no key\n  first type `dwh run trips --wait` and then look";
        assert_eq!(
            fold(text, Some(30), 2),
            "table `trips`: no key\n  first type\n  `dwh run trips --wait` and\n  then look"
        );
        assert_eq!(fold(text, None, 2), text);
        // nothing can be done for a word that is too long, and an odd backtick ends with its line
        assert_eq!(fold("an `odd one", Some(4), 0), "an\n`odd one");
        assert_eq!(fold("", Some(4), 0), "");
        // SQL is pasted, too: a literal that is folded is another one, and an apostrophe is none
        let sql = "in the source's target: alter table \"my trips\" add note text default 'it''s not known yet', b text default E'a \\ b';";
        assert_eq!(
            fold(sql, Some(20), 2),
            "in the source's\n  target: alter\n  table \"my trips\"\n  add note text\n  default\n  \
             'it''s not known yet',\n  b text default\n  E'a \\ b';"
        );
        assert_eq!(fold("of `trips`'s key and its owner's", Some(16), 0), "of `trips`'s key\nand its owner's");
        let command = "dwh runs --table customers --failed";
        assert_eq!(remedy(command, Paint::new(false).within(Some(20)), 2), format!("  {command}\n"));
        assert_eq!(
            remedy("in the source: grant a;", Paint::new(false).within(Some(20)), 2),
            "  in the source:\n  grant a;\n"
        );
    }
}
