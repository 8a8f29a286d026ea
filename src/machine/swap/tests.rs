use super::*;
use crate::error::Explain;
use proptest::prelude::*;
use std::time::Duration;

/// A root with `/proc/swaps`, and a `swapon` that writes down its arguments and ends with `code`.
fn scratch(code: u8) -> (tempfile::TempDir, Paths, Tools) {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::below(directory.path().join("root"));
    for path in [paths.proc_dir(), paths.at("/etc"), paths.at("/var")] {
        fs::create_dir_all(path).unwrap();
    }
    swaps(&paths, "");
    let swapon = directory.path().join("swapon");
    let calls = directory.path().join("calls");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\necho 'swapon: something: Invalid argument' >&2\nexit {code}\n",
        calls.display()
    );
    write_program(&swapon, &script);
    let tools = Tools { swapon: Some(swapon), ..Tools::find(None) };
    (directory, paths, tools)
}

/// By a child, so that no other test's fork can hold the file open for writing when it is executed.
fn write_program(path: &Path, script: &str) {
    let write = "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
    assert!(std::process::Command::new("sh").args(["-c", write]).arg(path).arg(script).status().unwrap().success());
}

fn swaps(paths: &Paths, line: &str) {
    let header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    fs::write(paths.proc_dir().join("swaps"), format!("{header}{line}")).unwrap();
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn calls(directory: &tempfile::TempDir) -> usize {
    fs::read_to_string(directory.path().join("calls")).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a_swap_file_is_made_switched_on_and_kept() {
    let (directory, paths, tools) = scratch(0);
    let made = ensure_with(&paths, 1, &tools, soon(), true).await.unwrap();
    assert_eq!(made, Outcome::Made { mib: 1, on: true });
    assert_eq!(fs::metadata(paths.swap_file()).unwrap().mode() & 0o7777, 0o600);
    assert!(fs::metadata(paths.swap_file()).unwrap().blocks() * 512 >= 1 << 20, "it has no holes");
    assert_eq!(fs::read_to_string(paths.fstab()).unwrap(), format!("{LINE}\n"));
    swaps(&paths, "/var/swap.1\tfile\t1020\t0\t-2\n");
    let again = ensure_with(&paths, 1, &tools, soon(), true).await.unwrap();
    assert_eq!(again, Outcome::Present { name: "/var/swap.1".into() });
    assert_eq!(calls(&directory), 1);
    assert_eq!(fs::read_to_string(paths.fstab()).unwrap(), format!("{LINE}\n"));
}

#[tokio::test]
async fn a_run_that_died_before_fstab_is_finished() {
    let (directory, paths, tools) = scratch(0);
    swaps(&paths, "/var/swap.1\tfile\t1020\t0\t-2\n");
    ensure_with(&paths, 1, &tools, soon(), true).await.unwrap();
    assert_eq!(fs::read_to_string(paths.fstab()).unwrap(), format!("{LINE}\n"));
    assert_eq!(calls(&directory), 0);
}

#[tokio::test]
async fn a_finished_file_that_is_off_is_switched_on_and_not_made_again() {
    let (directory, paths, tools) = scratch(0);
    ensure_with(&paths, 1, &tools, soon(), true).await.unwrap();
    let before = fs::metadata(paths.swap_file()).unwrap();
    let kept = ensure_with(&paths, 1, &tools, soon(), true).await.unwrap();
    assert_eq!(kept, Outcome::Kept { on: true });
    assert_eq!(fs::metadata(paths.swap_file()).unwrap().mtime_nsec(), before.mtime_nsec());
    assert_eq!(calls(&directory), 2);
}

#[tokio::test]
async fn where_it_cannot_be_switched_on_the_file_goes_and_fstab_stays() {
    let (_directory, paths, tools) = scratch(1);
    fs::write(paths.fstab(), "/dev/vda1 / ext4 defaults 0 1").unwrap();
    let error = ensure_with(&paths, 1, &tools, soon(), true).await.unwrap_err();
    assert_eq!(error.reason(), "swap.switch-on");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    insta::assert_snapshot!(cause, @"swapon: something: Invalid argument (exit status: 1)");
    assert!(!paths.swap_file().exists());
    assert_eq!(fs::read_to_string(paths.fstab()).unwrap(), "/dev/vda1 / ext4 defaults 0 1");
}

#[tokio::test]
async fn a_missing_program_or_kernel_is_said_before_anything_is_made() {
    let (_directory, paths, tools) = scratch(0);
    for (tools, reason) in [
        (Tools { mkswap: None, ..tools.clone() }, "swap.program-missing"),
        (Tools { swapon: None, ..tools.clone() }, "swap.program-missing"),
    ] {
        assert_eq!(ensure_with(&paths, 1, &tools, soon(), true).await.unwrap_err().reason(), reason);
    }
    fs::remove_file(paths.proc_dir().join("swaps")).unwrap();
    let error = ensure_with(&paths, 1, &tools, soon(), true).await.unwrap_err();
    assert_eq!(error.reason(), "swap.kernel");
    assert!(!paths.swap_file().exists() && !paths.fstab().exists());
}

#[test]
fn zeros_are_written_whole_and_only_while_there_is_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zeros");
    let mut file = File::create(&path).unwrap();
    write_zeros(&mut file, 3 << 20, soon()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 3 << 20);
    let error = write_zeros(&mut file, 1 << 20, Deadline::after(Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn the_kernels_list_of_swap_is_read() {
    let header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    assert_eq!(parse_swaps(header), None);
    assert_eq!(parse_swaps(""), None);
    let partition = format!("{header}/dev/dm-1                               partition\t999420\t\t0\t\t-2\n");
    assert_eq!(parse_swaps(&partition).as_deref(), Some("/dev/dm-1"));
    assert_eq!(parse_swaps(&format!("{header}/a\\040b file 1 0 -2\n")).as_deref(), Some("/a b"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_fstab_keeps_every_byte_and_gains_one_line_once(
        lines in proptest::collection::vec("(#? ?/?[a-z0-9/.=-]{0,12}[ \t]+[a-z/]{1,8} swap sw 0 0)|[\\PC]{0,20}|", 0..8),
        newline in any::<bool>(), junk in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut old = lines.join("\n").into_bytes();
        old.extend(junk);
        if newline {
            old.push(b'\n');
        }
        let new = with_line(&old).expect("no line above names the file");
        prop_assert!(new.starts_with(&old));
        let added = String::from_utf8(new[old.len()..].to_vec()).unwrap();
        prop_assert_eq!(added.trim_start_matches('\n'), format!("{LINE}\n"));
        prop_assert!(added.len() - LINE.len() <= 2);
        prop_assert!(new.split(|&byte| byte == b'\n').any(|line| line == LINE.as_bytes()));
        prop_assert_eq!(with_line(&new), None);
    }

    #[test]
    fn a_line_of_the_operators_own_is_enough(before in "[ \t]{0,3}", rest in "[ \t][a-z, ]{0,20}") {
        let fstab = format!("# comment\n{before}/var/swap.1{rest}\n");
        prop_assert_eq!(with_line(fstab.as_bytes()), None);
    }

    #[test]
    fn no_list_of_swap_is_a_panic(text in "(?s).{0,200}") {
        let name = parse_swaps(&text);
        prop_assert!(name.is_none_or(|name| !name.is_empty() || text.contains("deleted")));
    }
}
