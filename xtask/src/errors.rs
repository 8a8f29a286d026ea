//! The index of the reasons, from their pages.

use kasm_bootstrap::reasons::{self, Page};
use std::path::Path;
use std::{fs, io};

/// Behind this line stands what is written here.
const MARK: &str = "<!-- reasons -->\n";

/// Writes the table into the index, and returns how many reasons there are.
pub fn write(index: &Path) -> io::Result<usize> {
    let pages = reasons::pages();
    fs::write(index, renewed(&fs::read_to_string(index)?, &pages)?)?;
    Ok(pages.len())
}

fn renewed(text: &str, pages: &[Page]) -> io::Result<String> {
    let (before, _) = text.split_once(MARK).ok_or_else(|| io::Error::other("the index has no mark for its table"))?;
    let rows: String = pages.iter().map(row).collect();
    Ok(format!("{before}{MARK}\n| reason | exit | what it means |\n| --- | --- | --- |\n{rows}"))
}

fn row(page: &Page) -> String {
    // `Exit 11 (token refused)`, `A warning: ...`, `Part of a report: ...`.
    let exit = match page.exit.strip_prefix("Exit ") {
        Some(rest) => rest.split(' ').next().unwrap_or_default(),
        None if page.exit.starts_with("A warning") => "warning",
        None => "report",
    };
    format!("| [{0}]({0}.md) | {exit} | {1} |\n", page.reason, page.sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_what_the_pages_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors/README.md");
        let text = fs::read_to_string(path).unwrap();
        assert!(renewed(&text, &reasons::pages()).unwrap() == text, "run `cargo xtask errors`");
    }
}
