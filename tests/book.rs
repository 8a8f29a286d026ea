//! Every link in the documents leads somewhere, and every page of `docs/` is in the book.

mod pages;

use pages::{anchors, files, links, prose, read, repository};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// A path without `.` and `..`; `None` if it leaves the repository.
fn settled(path: &Path) -> Option<PathBuf> {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => whole.push(name),
            Component::ParentDir if !whole.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(whole)
}

/// What is wrong with where a link of this document leads.
fn fault(document: &Path, target: &str) -> Option<String> {
    if let Some((scheme, rest)) = target.split_once("://") {
        // Nobody is asked in a test: only its form is looked at.
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let sound = scheme == "https" && host.contains('.') && !target.contains(char::is_whitespace);
        return (!sound).then(|| "an outside link is https://HOST/...".to_owned());
    }
    if target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let there = match path {
        "" => document.to_owned(),
        _ => {
            let beside = document.parent().unwrap_or(Path::new("")).join(path);
            let Some(there) = settled(&beside) else { return Some("it leaves the repository".into()) };
            there
        }
    };
    if !repository().join(&there).exists() {
        return Some(format!("there is no {}", there.display()));
    }
    if anchor.is_empty() {
        return None;
    }
    if there.extension().is_none_or(|end| end != "md") {
        return Some("only documents have anchors".into());
    }
    (!anchors(&read(&there)).iter().any(|known| known == anchor))
        .then(|| format!("{} has no heading #{anchor}", there.display()))
}

#[test]
fn every_link_leads_to_something_that_is_there() {
    let (mut count, mut wrong) = (0, Vec::new());
    for document in files("", "md") {
        for (line, target) in links(&read(&document)) {
            count += 1;
            if let Some(why) = fault(&document, &target) {
                wrong.push(format!("{}:{line}: {target}: {why}", document.display()));
            }
        }
    }
    println!("{count} links");
    assert!(count > 400, "only {count} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let document = Path::new("docs/errors/README.md");
    for (target, why) in [
        ("no-such.md", "there is no docs/errors/no-such.md"),
        ("../../../elsewhere.md", "it leaves the repository"),
        ("/docs/health.md", "it leaves the repository"),
        ("../health.md#no-such", "docs/health.md has no heading #no-such"),
        ("#nowhere", "docs/errors/README.md has no heading #nowhere"),
        ("http://example.com/", "an outside link is https://HOST/..."),
    ] {
        assert_eq!(fault(document, target).as_deref(), Some(why), "{target}");
    }
    for target in ["../health.md#what-decides", "#all-of-them", "token.empty.md", "https://example.com/a"] {
        assert_eq!(fault(document, target), None, "{target}");
    }
}

#[test]
fn every_page_is_in_the_book_and_every_chapter_is_a_page() {
    let summary = Path::new("docs/SUMMARY.md");
    let chapters: Vec<PathBuf> = links(&read(summary)).into_iter().map(|(_, target)| PathBuf::from(target)).collect();
    let listed: BTreeSet<PathBuf> = chapters.iter().map(|chapter| Path::new("docs").join(chapter)).collect();
    assert_eq!(listed.len(), chapters.len(), "a page is listed twice");
    let pages: BTreeSet<PathBuf> = files("docs", "md").into_iter().filter(|page| page != summary).collect();
    let missing: Vec<_> = pages.difference(&listed).collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md (for a reason: `cargo xtask errors`): {missing:?}");
    let gone: Vec<_> = listed.difference(&pages).collect();
    assert!(gone.is_empty(), "in docs/SUMMARY.md and not there (for a reason: `cargo xtask errors`): {gone:?}");
}

/// The book has the pages of `docs/` alone: a link that leads out of it would lead nowhere there. Such files are named
/// by their path in the repository.
#[test]
fn the_books_pages_link_to_pages_of_the_book() {
    let mut wrong = Vec::new();
    for page in files("docs", "md") {
        for (line, target) in links(&read(&page)) {
            let path = target.split('#').next().unwrap_or_default();
            let inside = settled(&page.parent().unwrap().join(path)).is_some_and(|there| there.starts_with("docs"));
            if !target.contains("://") && !inside {
                wrong.push(format!("{}:{line}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn guides_are_short_and_begin_with_what_they_are_for() {
    for page in files("docs/guide", "md") {
        let text = read(&page);
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("<!--"));
        assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "{}: no title", page.display());
        assert!(lines.next().is_some_and(|line| line.starts_with(char::is_alphabetic)), "{}: no word", page.display());
        assert!(text.lines().count() <= 190, "{} is too long", page.display());
        let prose = prose(&text);
        let wide = prose.lines().find(|line| line.trim_end().chars().count() > 120 && !line.starts_with('|'));
        assert_eq!(wide, None, "{}", page.display());
    }
}
