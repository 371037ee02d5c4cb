//! Lines that are too long for a screen, folded between words.

use unicode_width::UnicodeWidthStr;

use super::Paint;

/// Folds each line of a text at spaces, and indents what follows. What stands in backticks stays whole: it is pasted.
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

/// What is parted by spaces outside of backticks; spaces at the beginning belong to the first word.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut begin, mut quoted, mut text) = (Vec::new(), 0, false, false);
    for (at, letter) in line.char_indices() {
        match letter {
            '`' => (quoted, text) = (!quoted, true),
            ' ' if text && !quoted => {
                words.push(&line[begin..at]);
                begin = at + 1;
            }
            ' ' => {}
            _ => text = true,
        }
    }
    words.push(&line[begin..]);
    words
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
        let command = "dwh runs --table customers --failed";
        assert_eq!(remedy(command, Paint::new(false).within(Some(20)), 2), format!("  {command}\n"));
        assert_eq!(
            remedy("in the source: grant a;", Paint::new(false).within(Some(20)), 2),
            "  in the source:\n  grant a;\n"
        );
    }
}
