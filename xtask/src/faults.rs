//! `cargo xtask faults DIR`: the tables of `docs/faults.md`, from what the tests saw (`tests/faults/table.rs`).
//! What was not seen this time stays as it is written; a cell that nobody ever saw is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// One row of a table: a fault, where it can be met, and why nowhere else.
struct Row {
    fault: &'static str,
    at: &'static [&'static str],
    elsewhere: &'static str,
}

/// The points in time of a verb: before its first change, its steps, after its end.
struct Table {
    verb: &'static str,
    points: &'static [&'static str],
    rows: &'static [Row],
}

const ANYWHERE: &str = "";
const LOOKED_AT: &str = "containers are looked at there only";
const UPGRADE: &[&str] = &[
    "recover",
    "tokens",
    "present",
    "sessions",
    "preflight",
    "fetch",
    "manager",
    "packages",
    "address",
    "unpack",
    "drain",
    "snapshot",
    "upgrade",
    "prove",
    "commit",
];
/// Where upgrade.sh is, as the stand-in release calls it (stand-in/src/release/fault.rs).
const SCRIPT: &[&str] = &["Stopped", "Wiped", "Files", "Linked", "Carried", "Starting", "Started"];
const ROLLBACK: &[&str] =
    &["recover", "sessions", "drain", "begin", "keep-logs", "stop", "restore", "start", "prove-old", "settle"];

const INSTALL: &[&str] = &[
    "recover",
    "tokens",
    "present",
    "preflight",
    "fetch",
    "manager",
    "packages",
    "swap",
    "address",
    "unpack",
    "install",
    "prove",
];
/// Why a token makes no difference at other steps of an installation.
const NO_TOKEN: &str =
    "the token is checked before anything is changed, and used by the components when they have started";

const TABLES: &[Table] = &[
    Table {
        verb: "install",
        points: INSTALL,
        rows: &[
            Row { fault: "kill -9", at: INSTALL, elsewhere: ANYWHERE },
            // Of a connection proxy.
            Row { fault: "expired token", at: &["tokens", "prove"], elsewhere: NO_TOKEN },
            Row { fault: "wrong token", at: &["tokens", "prove"], elsewhere: NO_TOKEN },
            Row {
                fault: "manager down",
                at: &["manager", "install", "prove"],
                elsewhere: "nothing there needs the manager",
            },
            Row { fault: "container unhealthy", at: &["prove"], elsewhere: "there are no containers yet" },
            Row { fault: "clock off", at: &["tokens", "prove"], elsewhere: "no token is judged there" },
        ],
    },
    Table {
        verb: "upgrade",
        points: UPGRADE,
        rows: &[
            Row { fault: "kill -9", at: UPGRADE, elsewhere: ANYWHERE },
            Row {
                fault: "SIGTERM",
                at: &["upgrade", "prove"],
                elsewhere: "nothing was changed yet; in commit, as in prove",
            },
            Row {
                fault: "disk full",
                at: &["snapshot", "upgrade", "prove"],
                elsewhere: "what is written before the snapshot is what an installation writes; in commit, as in prove",
            },
            Row { fault: "manager down", at: &["manager", "prove"], elsewhere: "nobody asks it there" },
            Row { fault: "container unhealthy", at: &["prove"], elsewhere: LOOKED_AT },
            Row { fault: "container restarts", at: &["prove"], elsewhere: LOOKED_AT },
            Row { fault: "expired token", at: &["tokens", "prove"], elsewhere: "no token is looked at there" },
            Row { fault: "wrong token", at: &["tokens", "prove"], elsewhere: "no token is looked at there" },
            Row { fault: "auth token is \"false\"", at: &["prove"], elsewhere: "it comes of upgrade.sh" },
            Row { fault: "other identity or settings", at: &["prove"], elsewhere: "it comes of upgrade.sh" },
            Row {
                fault: "clock off",
                at: &["tokens"],
                elsewhere: "every wait has its end by a clock that nobody sets; tokens are judged by the manager's clock",
            },
            Row { fault: "upgrade.sh fails, nothing changed", at: &["upgrade"], elsewhere: "it runs there only" },
            Row { fault: "upgrade.sh hangs", at: &["upgrade"], elsewhere: "it runs there only" },
        ],
    },
    Table {
        verb: "upgrade.sh",
        points: SCRIPT,
        rows: &[
            Row { fault: "it fails", at: SCRIPT, elsewhere: ANYWHERE },
            Row {
                fault: "kill -9",
                at: &["Stopped", "Wiped", "Files", "Linked", "Carried", "Started"],
                elsewhere: "bin/start is the last thing that upgrade.sh calls, see Started",
            },
        ],
    },
    Table {
        verb: "rollback",
        points: ROLLBACK,
        rows: &[
            Row { fault: "kill -9", at: ROLLBACK, elsewhere: ANYWHERE },
            Row { fault: "snapshot damaged", at: &["begin"], elsewhere: "it is looked at before anything is stopped" },
            Row {
                fault: "disk full",
                at: &["restore"],
                elsewhere: "nothing that is needed is written there: logs that cannot be kept are a warning, and a journal \
                            that cannot be written does not stop the way back",
            },
            Row { fault: "start script fails", at: &["start"], elsewhere: "it runs there only" },
            Row { fault: "container unhealthy", at: &["prove-old"], elsewhere: LOOKED_AT },
            Row { fault: "manager down", at: &["prove-old"], elsewhere: "nobody asks it there" },
            Row {
                fault: "expired token, wrong token, clock off",
                at: &[],
                elsewhere: "no token is given for the way back, and what was wrong with those of the version before is not \
                            held against it",
            },
        ],
    },
    Table {
        verb: "repair",
        points: &["tokens", "manager", "backup", "write", "restart", "wait", "after"],
        rows: &[
            Row {
                fault: "kill -9",
                at: &["tokens", "manager", "backup", "write", "restart", "wait", "after"],
                elsewhere: ANYWHERE,
            },
            Row { fault: "SIGTERM", at: &["wait"], elsewhere: "as kill -9, but at once and not by the next run" },
            Row {
                fault: "ENOSPC",
                at: &["backup", "write"],
                elsewhere: "nothing is written but the journal, which ends every run alike (run.journal)",
            },
            Row {
                fault: "manager down",
                at: &["manager", "wait"],
                elsewhere: "nobody asks it: what it does then shows at manager or at wait",
            },
            Row {
                fault: "container unhealthy",
                at: &["wait"],
                elsewhere: "it makes no difference: a container that is not well is what a repair begins with",
            },
            Row { fault: "expired token", at: &["tokens"], elsewhere: "it is refused at tokens" },
            Row { fault: "wrong token", at: &["wait"], elsewhere: "only the manager can tell, when it is used" },
            Row { fault: "clock off", at: &["tokens"], elsewhere: "the manager's clock was asked at tokens" },
        ],
    },
];

/// What is in a cell beside its fault and point: how it ends, exit, reason, test.
type Cells = BTreeMap<(String, String, String), [String; 4]>;

/// Writes the document anew. Returns how many cells it has.
///
/// # Errors
/// A file cannot be read or written, a cell belongs to no table, or a cell is missing.
pub fn write(document: &Path, records: &Path) -> io::Result<usize> {
    let text = fs::read_to_string(document)?;
    let mut cells = written(&text);
    for (key, cell) in recorded(records)? {
        let known = TABLES.iter().any(|table| {
            table.verb == key.0 && table.rows.iter().any(|row| row.fault == key.1 && row.at.contains(&key.2.as_str()))
        });
        if !known {
            return Err(io::Error::other(format!("no table has the cell {key:?}: see xtask/src/faults.rs")));
        }
        cells.insert(key, cell);
    }
    let mut text = text;
    let mut count = 0;
    for table in TABLES {
        let (begin, end) = (format!("<!-- faults: {} -->\n", table.verb), "<!-- end -->");
        let Some((before, rest)) = text.split_once(&begin) else { continue };
        let Some((_, after)) = rest.split_once(end) else { continue };
        let (made, cells) = render(table, &cells)?;
        count += cells;
        text = format!("{before}{begin}{made}{end}{after}");
    }
    fs::write(document, text)?;
    Ok(count)
}

fn recorded(directory: &Path) -> io::Result<Cells> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut cells = Cells::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "tsv")) {
        for line in fs::read_to_string(path)?.lines() {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            if let [verb, fault, point, cell @ ..] = &fields[..]
                && let Ok(cell) = <[String; 4]>::try_from(cell.to_vec())
            {
                cells.insert((verb.clone(), fault.clone(), point.clone()), cell);
            }
        }
    }
    Ok(cells)
}

/// The cells a document has already.
fn written(text: &str) -> Cells {
    let mut cells = Cells::new();
    for section in text.split("<!-- faults: ").skip(1) {
        let Some((verb, rest)) = section.split_once(" -->") else { continue };
        for line in rest.split("<!-- end -->").next().unwrap_or_default().lines() {
            let fields: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
            if let [fault, point, cell @ ..] = &fields[..]
                && let Ok(cell) = <[String; 4]>::try_from(cell.to_vec())
                && fault != "fault"
                && !fault.starts_with("---")
            {
                cells.insert((verb.to_owned(), fault.clone(), point.clone()), cell);
            }
        }
    }
    cells
}

fn render(table: &Table, cells: &Cells) -> io::Result<(String, usize)> {
    let get = |row: &Row, point: &str| cells.get(&(table.verb.to_owned(), row.fault.to_owned(), point.to_owned()));
    let line = |cells: Vec<String>| cells.iter().map(|cell| format!("| {cell} ")).collect::<String>() + "|\n";
    let rule = |columns: usize| "| --- ".repeat(columns) + "|\n";
    let mut text = String::from("\n");
    text += &line(std::iter::once("").chain(table.points.iter().copied()).map(str::to_owned).collect());
    text += &rule(table.points.len() + 1);
    let (mut notes, mut long, mut count) = (Vec::new(), String::new(), 0);
    for row in table.rows {
        let mut shown = vec![format!("**{}**", row.fault)];
        for point in table.points {
            match get(row, point) {
                Some([end, exit, reason, test]) => {
                    shown.push(format!("{end} ({exit})"));
                    let all = [row.fault, point, end, exit, reason, test];
                    long += &line(all.iter().map(|cell| (*cell).to_owned()).collect());
                    count += 1;
                }
                None if row.at.contains(point) => {
                    let why = format!("no test has ever seen {} at {} of {}", row.fault, point, table.verb);
                    return Err(io::Error::other(why));
                }
                None => shown.push("–".into()),
            }
        }
        if row.elsewhere != ANYWHERE {
            notes.push(format!("- **{}**, –: {}.\n", row.fault, row.elsewhere));
        }
        text += &line(shown);
    }
    text += "\n";
    text += &notes.concat();
    if !notes.is_empty() {
        text += "\n";
    }
    let head = ["fault", "at", "how it ends", "exit", "reason", "test"];
    text += &line(head.iter().map(|cell| (*cell).to_owned()).collect());
    text += &rule(head.len());
    text += &long;
    text += "\n";
    Ok((text, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/faults.md");

    #[test]
    fn the_document_has_every_cell_and_is_as_it_would_be_written() {
        let text = fs::read_to_string(DOCUMENT).unwrap();
        let cells = written(&text);
        for table in TABLES.iter().filter(|table| text.contains(&format!("<!-- faults: {} -->", table.verb))) {
            let (made, _) = render(table, &cells).unwrap();
            assert!(text.contains(&made), "{}: run `cargo xtask faults DIR`, see tests/faults/table.rs", table.verb);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let row = Row { fault: "kill -9", at: &["fetch"], elsewhere: "why" };
        let rows: &'static [Row] = Box::leak(Box::new([row]));
        let table = Table { verb: "install", points: &["fetch", "prove"], rows };
        assert!(render(&table, &Cells::new()).is_err());
        let cell = ["new, healthy", "0", "–", "x y"].map(str::to_owned);
        let cells = Cells::from([(("install".into(), "kill -9".into(), "fetch".into()), cell)]);
        let (text, count) = render(&table, &cells).unwrap();
        assert_eq!(count, 1);
        assert_eq!(written(&format!("<!-- faults: install -->\n{text}<!-- end -->")), cells);
    }
}
