//! The page as blocks.

/// The page itself.
pub const PAGE: &str = include_str!("../../../../docs/runbook.md");

/// A section with commands.
#[derive(Debug, Default)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Its commands, in order.
    pub blocks: Vec<Block>,
    /// Lines that it says one will see; `…` stands for anything.
    pub seen: Vec<String>,
}

/// Commands that are pasted at once.
#[derive(Debug, Clone)]
pub struct Block {
    /// Where.
    pub place: Place,
    /// What.
    pub text: String,
}

/// Where a block is pasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A shell, in the project's folder.
    Shell,
    /// A psql of a DBA at the source.
    Source,
    /// A psql of a DBA at the target.
    Target,
}

impl Section {
    /// All sections of a page that have commands, in their order.
    pub fn all(page: &str) -> Vec<Self> {
        let mut sections: Vec<Self> = Vec::new();
        let mut fence: Option<(String, String)> = None;
        for line in page.lines() {
            match (&mut fence, line.strip_prefix("```")) {
                (None, Some(language)) => fence = Some((language.to_owned(), String::new())),
                (None, None) => {
                    if let Some(title) = line.strip_prefix("# ").or_else(|| line.strip_prefix("## ")) {
                        sections.push(Self { title: title.to_owned(), ..Self::default() });
                    }
                }
                (Some((_, text)), None) => text.push_str(&format!("{line}\n")),
                (Some(_), Some(_)) => {
                    let (language, text) = fence.take().expect("open");
                    sections.last_mut().expect("commands stand below a heading").add(&language, text);
                }
            }
        }
        sections.retain(|section| !section.blocks.is_empty());
        sections
    }

    fn add(&mut self, language: &str, text: String) {
        let place = match (language, text.lines().next().unwrap_or_default()) {
            ("text", _) => return self.seen.extend(text.lines().map(str::to_owned)),
            // What goes into files, or comes out of commands.
            ("cron" | "ini" | "json" | "toml", _) => return,
            ("sh", _) => Place::Shell,
            ("sql", "-- in the source") => Place::Source,
            ("sql", "-- in the target") => Place::Target,
            other => panic!("{}: nobody knows where this is pasted: {other:?}", self.title),
        };
        self.blocks.push(Block { place, text });
    }
}

impl Block {
    /// The block as a script: a line that ends in `# exit code N` must end with that code, every other one with 0.
    pub fn script(&self) -> String {
        self.text.lines().map(checked).collect()
    }
}

fn checked(line: &str) -> String {
    let Some((command, code)) = line.split_once("# exit code ") else { return format!("{line}\n") };
    let code: u8 = code.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a code");
    format!(
        "code=0; {{ {command}; }} || code=$?\n[ \"$code\" = {code} ] || {{ echo \"exit code $code, not {code}\" >&2; exit 99; }}\n"
    )
}
