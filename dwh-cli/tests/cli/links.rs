use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the whole project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn pages() -> Vec<PathBuf> {
    let mut folders = vec![root(), root().join("docs"), root().join("examples"), root().join("benches")];
    let mut pages = Vec::new();
    let top = root();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("folder").map(|entry| entry.expect("entry").path()) {
            if path.is_dir() && folder != top {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The lines that are text, not code.
fn prose(page: &Path) -> Vec<String> {
    let mut code = false;
    let text = fs::read_to_string(page).expect("page");
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    lines.map(str::to_owned).collect()
}

/// The anchors that GitHub makes of a page's headings.
fn anchors(page: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(page).iter().filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let twins = (1..).map(|n| format!("{anchor}-{n}")).find(|twin| !found.contains(twin));
        found.insert(if found.contains(&anchor) { twins.expect("endless") } else { anchor });
    }
    found
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for link in
            prose(&page).iter().flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()))
        {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = if path.is_empty() { page.clone() } else { page.with_file_name(path) };
            if !to.exists() || !(anchor.is_empty() || anchors(&to).contains(anchor)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(seen > 50, "only {seen} links were seen");
}

#[test]
fn every_verb_has_a_page_and_every_page_is_in_the_index() {
    let docs = root().join("docs");
    let index = fs::read_to_string(docs.join("README.md")).expect("docs/README.md");
    let reference = fs::read_to_string(docs.join("reference/cli.md")).expect("docs/reference/cli.md");
    // These have nothing to say that their help does not.
    let told_by_help = ["completions", "config", "man"];
    let verbs =
        reference.lines().filter_map(|line| line.strip_prefix("## `dwh ")?.trim_end_matches('`').split(' ').next());
    for verb in verbs.filter(|verb| !told_by_help.contains(verb)) {
        assert!(docs.join(format!("{verb}.md")).exists(), "docs/{verb}.md is missing");
    }
    for page in
        pages().iter().filter_map(|page| page.strip_prefix(&docs).ok()).filter(|page| *page != Path::new("README.md"))
    {
        assert!(index.contains(&format!("({})", page.display())), "docs/README.md does not lead to {}", page.display());
    }
}
