//! Archives that try to leave, to fill the disk, or to be half: none leaves anything behind.

use flate2::Compression;
use flate2::write::GzEncoder;
use kasm_bootstrap::error::{Exit, Explain};
use kasm_bootstrap::observe::Silent;
use kasm_bootstrap::release::{Digest, Error, Limits, Unpacked, Verified, unpack};
use sha2::Digest as _;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

const INSTALLER: &[u8] = b"#!/bin/bash\necho Kasm\n";

/// A tar under construction, header by header, so that it can hold what no library would write.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Tar {
        Tar(Builder::new(Vec::new()))
    }

    /// A small proper release.
    fn release() -> Tar {
        Tar::new().directory("kasm_release/").file("kasm_release/install.sh", INSTALLER, 0o755)
    }

    fn raw(mut self, name: &[u8], kind: EntryType, link: &[u8], mode: u32, size: u64, content: &[u8]) -> Tar {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1234);
        header.set_gid(1234);
        header.set_size(size);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn entry(self, name: &str, kind: EntryType, link: &str) -> Tar {
        self.raw(name.as_bytes(), kind, link.as_bytes(), 0o777, 0, b"")
    }

    fn directory(self, name: &str) -> Tar {
        self.entry(name, EntryType::Directory, "")
    }

    fn link(self, name: &str, target: &str) -> Tar {
        self.entry(name, EntryType::Symlink, target)
    }

    fn file(self, name: &str, content: &[u8], mode: u32) -> Tar {
        self.raw(name.as_bytes(), EntryType::Regular, b"", mode, content.len() as u64, content)
    }

    fn pax(self, records: &[&str]) -> Tar {
        let record = |text: &&str| {
            let length = (text.len() + 3..).find(|length| length.to_string().len() + text.len() + 2 == *length);
            format!("{} {text}\n", length.unwrap())
        };
        let records: String = records.iter().map(record).collect();
        let records = records.as_bytes();
        self.raw(b"pax", EntryType::XHeader, b"", 0o644, records.len() as u64, records)
    }

    /// The same for all later entries.
    fn global(self, records: &[&str]) -> Tar {
        let mut tar = Tar::new().pax(records).bytes();
        tar[156] = b'g';
        checksum(&mut tar);
        // The two blocks that end an archive are not wanted yet.
        self.append(&tar[..tar.len() - 1024])
    }

    /// A sparse file as GNU tar wrote them first: its size, and where its one byte is.
    fn old_sparse(self, name: &str, size: u64) -> Tar {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNUSparse);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        header.set_size(1);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(size);
        gnu.sparse[0].set_offset(size - 1);
        gnu.sparse[0].set_length(1);
        header.set_cksum();
        let mut tar = self;
        tar.0.append(&header, b"x".as_slice()).unwrap();
        tar
    }

    /// A file whose header has this field for its size.
    fn sized(self, size: &[u8; 12]) -> Tar {
        let mut tar = Tar::new().file("kasm_release/x", b"", 0o644).bytes();
        tar[124..136].copy_from_slice(size);
        checksum(&mut tar);
        self.append(&tar[..512])
    }

    /// Blocks as they are.
    fn append(mut self, blocks: &[u8]) -> Tar {
        self.0.get_mut().extend_from_slice(blocks);
        self
    }

    fn long_link(self, name: &[u8]) -> Tar {
        self.raw(b"././@LongLink", EntryType::GNULongLink, b"", 0o644, name.len() as u64, name)
    }

    fn long_name(self, name: &[u8]) -> Tar {
        self.raw(b"././@LongLink", EntryType::GNULongName, b"", 0o644, name.len() as u64, name)
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn gz(self) -> Vec<u8> {
        gz(&self.bytes())
    }
}

/// Makes the checksum of a tar's first header right (POSIX.1-2017, pax, ustar Interchange Format).
fn checksum(tar: &mut [u8]) {
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A place to unpack in, with neighbours that must stay as they are.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("neighbour"), b"untouched").unwrap();
        Place { directory }
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("made/for/it")
    }

    fn unpack_with(&self, tarball: &[u8], limits: &Limits) -> Result<Unpacked, Error> {
        let path = self.directory.path().join("tarball");
        fs::write(&path, tarball).unwrap();
        let verified = Verified::read(&path, Digest::new(sha2::Sha256::digest(tarball).into()))?;
        let result = unpack(&verified, &self.target(), limits, &Silent);
        fs::remove_file(&path).unwrap();
        result
    }

    fn unpack(&self, tarball: &[u8]) -> Result<Unpacked, Error> {
        self.unpack_with(tarball, &Limits::default())
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Unpacks, demands a refusal, and that nothing at all is left of it.
    fn refuses_with(&self, tarball: &[u8], limits: &Limits) -> (String, &'static str) {
        let error = self.unpack_with(tarball, limits).unwrap_err();
        assert_eq!(error.exit(), Exit::Archive, "{error}");
        assert_eq!(Place::names(self.directory.path()), ["neighbour"], "something is left: {error}");
        assert_eq!(fs::read(self.directory.path().join("neighbour")).unwrap(), b"untouched");
        (error.to_string(), error.reason())
    }

    fn refuses(tarball: &[u8]) -> (String, &'static str) {
        Place::new().refuses_with(tarball, &Limits::default())
    }
}

#[test]
fn a_release_is_unpacked_with_its_files_links_and_tame_modes() {
    let place = Place::new();
    let deep = format!("kasm_release/{}/file", "long-directory-name/".repeat(10));
    let tar = Tar::release()
        .file("kasm_release/conf/app/config.yaml", b"a: 1\n", 0o4666)
        .file("kasm_release/bin/utils/yq_x86_64", b"\x7fELF", 0o6777)
        .long_name(format!("{deep}\0").as_bytes())
        .file("cut", b"deep", 0o600)
        .pax(&["path=kasm_release/www/äöü.html", "comment=ignored"])
        .file("also cut", b"page", 0o644)
        .link("kasm_release/www/current", "../conf/./app")
        .directory("./kasm_release/empty/")
        .directory("kasm_release/empty/")
        .global(&["comment=0123456789abcdef"])
        .long_link(format!("{}app\0", "./".repeat(60)).as_bytes())
        .link("kasm_release/conf/far", "cut");
    let unpacked = place.unpack(&tar.gz()).unwrap();
    let root = place.target().join("kasm_release");
    assert_eq!((unpacked.root.as_path(), unpacked.files, unpacked.links), (root.as_path(), 5, 2));
    assert_eq!(Place::names(&place.target()), ["kasm_release"]);
    assert_eq!(fs::read(root.join("install.sh")).unwrap(), INSTALLER);
    assert_eq!(fs::read(place.target().join(&deep)).unwrap(), b"deep");
    assert_eq!(fs::read(root.join("www/äöü.html")).unwrap(), b"page");
    assert_eq!(fs::read(root.join("www/current/config.yaml")).unwrap(), b"a: 1\n");
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("conf/app/config.yaml"), 0o644);
    assert_eq!(mode("bin/utils/yq_x86_64"), 0o755);
    assert_eq!((mode("empty"), mode("bin/utils"), mode("")), (0o755, 0o755, 0o755));
}

#[test]
fn what_is_there_is_replaced_by_a_good_archive_and_kept_by_a_bad_one() {
    let place = Place::new();
    place.unpack(&Tar::release().file("kasm_release/old", b"old", 0o644).gz()).unwrap();
    let root = place.target().join("kasm_release");
    place.unpack(&Tar::release().link("kasm_release/x", "/etc").gz()).unwrap_err();
    assert!(root.join("old").exists());
    place.unpack(&Tar::release().gz()).unwrap();
    assert_eq!(Place::names(&root), ["install.sh"]);
    assert_eq!(Place::names(&place.target()), ["kasm_release"]);
}

#[test]
fn what_a_killed_run_left_is_removed() {
    let place = Place::new();
    let left = place.target().join(".kasm_release.4194304.new/kasm_release/bin");
    fs::create_dir_all(&left).unwrap();
    place.unpack(&Tar::release().gz()).unwrap();
    assert_eq!(Place::names(&place.target()), ["kasm_release"]);
}

/// Archives that are refused: what they try, and the reason code.
fn refused() -> Vec<(&'static str, Tar, &'static str)> {
    vec![
        ("..", Tar::release().file("kasm_release/../../evil", b"x", 0o644), "archive.unsafe-path"),
        (".. first", Tar::release().file("../evil", b"x", 0o644), "archive.unsafe-path"),
        ("absolute", Tar::release().file("/tmp/evil-kasm", b"x", 0o644), "archive.unsafe-path"),
        ("another root", Tar::release().file("evil", b"x", 0o644), "archive.not-a-release"),
        ("a root like ours", Tar::release().file("kasm_release2/evil", b"x", 0o644), "archive.not-a-release"),
        ("absolute link", Tar::release().link("kasm_release/x", "/etc/passwd"), "archive.unsafe-link"),
        ("climbing link", Tar::release().link("kasm_release/x", ".."), "archive.unsafe-link"),
        ("climbing deep", Tar::release().link("kasm_release/a/b", "../../.."), "archive.unsafe-link"),
        ("climbing late", Tar::release().link("kasm_release/a/b", "c/../../../x"), "archive.unsafe-link"),
        ("empty link", Tar::release().link("kasm_release/x", ""), "archive.unsafe-link"),
        ("the root a link", Tar::new().link("kasm_release", "/tmp"), "archive.not-a-release"),
        (
            "through a link",
            Tar::release().link("kasm_release/x", "bin").file("kasm_release/x/evil", b"x", 0o644),
            "archive.duplicate",
        ),
        (
            "over a link",
            Tar::release().link("kasm_release/x", "install.sh").file("kasm_release/x", b"x", 0o644),
            "archive.duplicate",
        ),
        ("two links", Tar::release().link("kasm_release/x", "a").link("kasm_release/x", "b"), "archive.duplicate"),
        ("file twice", Tar::release().file("kasm_release/install.sh", b"x", 0o755), "archive.duplicate"),
        ("directory over file", Tar::release().directory("kasm_release/install.sh/"), "archive.duplicate"),
        ("below a file", Tar::release().file("kasm_release/install.sh/x", b"x", 0o644), "archive.duplicate"),
        ("file over directory", Tar::release().file("kasm_release", b"x", 0o644), "archive.not-a-release"),
        (
            "hard link",
            Tar::release().entry("kasm_release/x", EntryType::Link, "kasm_release/install.sh"),
            "archive.unsafe-type",
        ),
        ("character device", Tar::release().entry("kasm_release/x", EntryType::Char, ""), "archive.unsafe-type"),
        ("block device", Tar::release().entry("kasm_release/x", EntryType::Block, ""), "archive.unsafe-type"),
        ("fifo", Tar::release().entry("kasm_release/x", EntryType::Fifo, ""), "archive.unsafe-type"),
        ("contiguous", Tar::release().entry("kasm_release/x", EntryType::Continuous, ""), "archive.unsafe-type"),
        ("unknown", Tar::release().entry("kasm_release/x", EntryType::new(b'Z'), ""), "archive.unsafe-type"),
        ("sparse", Tar::release().entry("kasm_release/x", EntryType::GNUSparse, ""), "archive.unsafe-type"),
        (
            "pax sparse",
            Tar::release().pax(&["GNU.sparse.major=1"]).file("kasm_release/x", b"x", 0o644),
            "archive.unsafe-type",
        ),
        (
            "pax path",
            Tar::release().pax(&["path=../../../evil"]).file("kasm_release/x", b"x", 0o644),
            "archive.unsafe-path",
        ),
        ("pax link", Tar::release().pax(&["linkpath=/etc"]).link("kasm_release/x", "a"), "archive.unsafe-link"),
        ("pax size", Tar::release().pax(&["size=1024"]).file("kasm_release/x", b"x", 0o644), "archive.broken"),
        ("long name", Tar::release().long_name(b"/evil\0").file("kasm_release/x", b"x", 0o644), "archive.unsafe-path"),
        (
            "two names",
            Tar::release().long_name(b"kasm_release/y\0").pax(&["path=kasm_release/z"]).file(
                "kasm_release/x",
                b"x",
                0o644,
            ),
            "archive.broken",
        ),
        (
            "two long names",
            Tar::release().long_name(b"a\0").long_name(b"b\0").file("kasm_release/x", b"x", 0o644),
            "archive.broken",
        ),
        ("name at the end", Tar::release().long_name(b"kasm_release/y\0"), "archive.broken"),
        (
            "huge name",
            Tar::release().long_name(&vec![b'a'; 70_000]).file("kasm_release/x", b"x", 0o644),
            "archive.long-name",
        ),
        ("no name", Tar::release().file("", b"x", 0o644), "archive.unsafe-path"),
        ("file with a slash", Tar::release().file("kasm_release/x/", b"x", 0o644), "archive.unsafe-path"),
        ("escape sequence", Tar::release().file("kasm_release/\x1b[2J", b"x", 0o644), "archive.unsafe-path"),
        (
            "directory with content",
            Tar::release().raw(b"kasm_release/d/", EntryType::Directory, b"", 0o755, 600, &[7; 600]),
            "archive.broken",
        ),
        ("no installer", Tar::new().file("kasm_release/readme", b"x", 0o644), "archive.not-a-release"),
        ("installer a directory", Tar::new().directory("kasm_release/install.sh/"), "archive.not-a-release"),
        (
            "installer a link",
            Tar::new().file("kasm_release/x", b"x", 0o755).link("kasm_release/install.sh", "x"),
            "archive.not-a-release",
        ),
        ("nothing", Tar::new(), "archive.not-a-release"),
        ("link over a file", Tar::release().link("kasm_release/install.sh", "x"), "archive.duplicate"),
        (
            "link over a directory",
            Tar::release().file("kasm_release/x/y", b"x", 0o644).link("kasm_release/x", "z"),
            "archive.duplicate",
        ),
        (
            "directory over a link",
            Tar::release().link("kasm_release/x", "y").directory("kasm_release/x/"),
            "archive.duplicate",
        ),
        (
            "hard link outside",
            Tar::release().entry("kasm_release/x", EntryType::Link, "/etc/shadow"),
            "archive.unsafe-type",
        ),
        ("volume", Tar::release().entry("kasm_release", EntryType::new(b'V'), ""), "archive.unsafe-type"),
        ("a part of a file", Tar::release().entry("kasm_release/x", EntryType::new(b'M'), ""), "archive.unsafe-type"),
        ("GNU long link", Tar::release().long_link(b"/etc\0").link("kasm_release/x", "a"), "archive.unsafe-link"),
        (
            "NUL in a long name",
            Tar::release().long_name(b"kasm_release/a\0b\0").file("x", b"x", 0o644),
            "archive.unsafe-path",
        ),
        (
            "long name",
            Tar::release().long_name(format!("kasm_release/{}", "a/".repeat(520)).as_bytes()).directory("x"),
            "archive.long-name",
        ),
        (
            "long component",
            Tar::release().pax(&[&format!("path=kasm_release/{}", "a".repeat(256))]).file("x", b"x", 0o644),
            "archive.long-name",
        ),
        (
            "long pax header",
            Tar::release().pax(&[&format!("comment={}", "a".repeat(70_000))]).file("kasm_release/x", b"x", 0o644),
            "archive.long-name",
        ),
        (
            "announced pax header",
            Tar::release().raw(b"pax", EntryType::XHeader, b"", 0o644, 1 << 40, b""),
            "archive.long-name",
        ),
        (
            "announced long name",
            Tar::release().raw(b"name", EntryType::GNULongName, b"", 0o644, (1 << 33) - 1, b""),
            "archive.long-name",
        ),
        (
            "pax size beyond all",
            Tar::release().pax(&["size=18446744073709551616"]).file("kasm_release/x", b"x", 0o644),
            "archive.broken",
        ),
        ("negative pax size", Tar::release().pax(&["size=-1"]).file("kasm_release/x", b"x", 0o644), "archive.broken"),
        ("octal pax size", Tar::release().pax(&["size=01"]).file("kasm_release/x", b"x", 0o644), "archive.broken"),
        (
            "pax record beyond its header",
            Tar::release().raw(b"pax", EntryType::XHeader, b"", 0o644, 16, b"999999 path=abc\n").directory("x"),
            "archive.broken",
        ),
        (
            "pax record of no length",
            Tar::release().raw(b"pax", EntryType::XHeader, b"", 0o644, 9, b"0 path=a\n").directory("x"),
            "archive.broken",
        ),
        ("size for all", Tar::release().global(&["size=1024"]).file("kasm_release/x", b"x", 0o644), "archive.broken"),
        (
            "path for all",
            Tar::release().global(&["path=../evil"]).file("kasm_release/x", b"x", 0o644),
            "archive.broken",
        ),
        (
            "sparse 0.0",
            Tar::release()
                .pax(&["GNU.sparse.size=68719476736", "GNU.sparse.numblocks=1", "GNU.sparse.offset=68719476735"])
                .file("kasm_release/x", b"x", 0o644),
            "archive.unsafe-type",
        ),
        (
            "sparse 0.1",
            Tar::release().pax(&["GNU.sparse.name=kasm_release/y", "GNU.sparse.map=68719476735,1"]).file(
                "kasm_release/x",
                b"x",
                0o644,
            ),
            "archive.unsafe-type",
        ),
        (
            "sparse 1.0",
            Tar::release().pax(&["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=68719476736"]).file(
                "kasm_release/GNUSparseFile.0/x",
                b"1\n68719476735\n1\n",
                0o644,
            ),
            "archive.unsafe-type",
        ),
        ("sparse, old GNU", Tar::release().old_sparse("kasm_release/x", 1 << 36), "archive.unsafe-type"),
        (
            "binary size",
            Tar::release().sized(&[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
            "archive.too-big",
        ),
        ("binary size beyond all", Tar::release().sized(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "archive.broken"),
        ("negative binary size", Tar::release().sized(&[255; 12]), "archive.broken"),
        ("size of letters", Tar::release().sized(b"letters\0\0\0\0\0"), "archive.broken"),
    ]
}

fn refuse_all() {
    for (what, tar, reason) in refused() {
        let (message, found) = Place::refuses(&tar.gz());
        assert_eq!(found, reason, "{what}: {message}");
        assert!(!message.contains('\x1b'), "{what}");
    }
}

#[test]
fn nothing_leads_outside() {
    refuse_all();
}

/// Runs on a thread for which the kernel answers openat2(2) like this, as kernels before 5.6 and some
/// containers do. `None` where no filter can be installed.
fn without_openat2<T: Send>(errno: i32, work: impl FnOnce() -> T + Send) -> Option<T> {
    use nix::libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};
    let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        // The number of the call is the first field of seccomp_data (seccomp(2)).
        statement(BPF_LD | BPF_W | BPF_ABS, 0),
        sock_filter { jf: 1, ..statement(BPF_JMP | BPF_JEQ | BPF_K, nix::libc::SYS_openat2 as u32) },
        statement(BPF_RET | BPF_K, nix::libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(BPF_RET | BPF_K, nix::libc::SECCOMP_RET_ALLOW),
    ];
    let work = move || {
        nix::sys::prctl::set_no_new_privs().ok()?;
        let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the program and its filter live through the call, which copies them; it changes this
        // thread alone.
        let installed =
            unsafe { nix::libc::prctl(nix::libc::PR_SET_SECCOMP, nix::libc::SECCOMP_MODE_FILTER, &raw const program) };
        if installed != 0 {
            return None;
        }
        let how = nix::fcntl::OpenHow::new().flags(nix::fcntl::OFlag::O_RDONLY);
        let refused = nix::fcntl::openat2(nix::fcntl::AT_FDCWD, "/", how).unwrap_err();
        assert_eq!(refused as i32, errno);
        Some(work())
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

#[test]
fn nothing_leads_outside_where_the_kernel_has_no_openat2() {
    for errno in [nix::libc::ENOSYS, nix::libc::EPERM] {
        let done = without_openat2(errno, || {
            refuse_all();
            let place = Place::new();
            let tar = Tar::release().file("kasm_release/a/b/c", b"deep", 0o600).link("kasm_release/l", "a/b/c");
            place.unpack(&tar.gz()).unwrap();
            assert_eq!(fs::read(place.target().join("kasm_release/l")).unwrap(), b"deep");
        });
        if done.is_none() {
            println!("skipped: no seccomp filter can be installed here");
        }
    }
}

#[test]
fn a_refusal_names_the_entry() {
    let (message, _) = Place::refuses(&Tar::release().link("kasm_release/x", "../../root/.ssh").gz());
    insta::assert_snapshot!(message, @r#"the archive is refused: "kasm_release/x" is a symbolic link that leads outside, to "../../root/.ssh""#);
    let (message, _) = Place::refuses(&Tar::release().file("../\x1b[31m\n", b"x", 0o644).gz());
    insta::assert_snapshot!(message, @r#"the archive is refused: "../\u{1b}[31m\n" has control characters in its name"#);
    let (message, _) = Place::refuses(&Tar::new().file("images/agent.tar", b"x", 0o644).gz());
    insta::assert_snapshot!(message, @r#"the archive is refused: "images/agent.tar" lies outside kasm_release/: this is not a kasm_release tarball"#);
}

#[test]
fn half_an_archive_never_appears() {
    let whole = Tar::release().file("kasm_release/data", &[1; 1500], 0o644).bytes();
    for end in (0..whole.len()).step_by(512) {
        Place::refuses(&gz(&whole[..end]));
    }
    for end in [513, 700, whole.len() - 1] {
        Place::refuses(&gz(&whole[..end]));
    }
    Place::new().unpack(&gz(&whole)).unwrap();
    Place::new().unpack(&gz(&[whole.as_slice(), &[0; 8192]].concat())).unwrap();
}

#[test]
fn half_a_gzip_stream_never_appears() {
    let whole = Tar::release().gz();
    for end in 0..whole.len() {
        Place::refuses(&whole[..end]);
    }
}

#[test]
fn damage_and_leftovers_in_the_gzip_stream_are_refused() {
    let whole = Tar::release().gz();
    let tar = Tar::release().bytes();
    let mut crc = whole.clone();
    let at = crc.len() - 8;
    crc[at] ^= 1;
    let mut length = whole.clone();
    *length.last_mut().unwrap() ^= 1;
    for (tarball, reason) in [
        (crc, "archive.broken"),
        (length, "archive.broken"),
        ([whole.as_slice(), b"trailing"].concat(), "archive.trailing-data"),
        ([whole.as_slice(), &gz(b"another member")].concat(), "archive.trailing-data"),
        ([whole.as_slice(), &gz(b"")].concat(), "archive.trailing-data"),
        ([whole.as_slice(), &[0; 512]].concat(), "archive.trailing-data"),
        // A tar over two members, as some compressors write them; cut between entries, and in the end mark.
        ([gz(&tar[..1024]), gz(&tar[1024..])].concat(), "archive.truncated"),
        ([gz(&tar[..tar.len() - 512]), gz(&[0; 512])].concat(), "archive.truncated"),
        ([gz(&tar), gz(&[0; 512])].concat(), "archive.trailing-data"),
        // A name in the gzip header that does not end.
        ([b"\x1f\x8b\x08\x08\0\0\0\0\0\x03".as_slice(), &vec![b'n'; 3_000_000]].concat(), "archive.broken"),
        (gz(&[Tar::release().bytes().as_slice(), b"after the end"].concat()), "archive.trailing-data"),
        (b"not gzip at all".to_vec(), "archive.broken"),
        (Tar::release().bytes(), "archive.broken"),
    ] {
        let (message, found) = Place::refuses(&tarball);
        assert_eq!(found, reason, "{message}");
    }
}

#[test]
fn bombs_do_not_go_off() {
    let place = Place::new();
    // 80 MB of nothing, from 80 KB.
    let bomb = Tar::release().file("kasm_release/zeros", &vec![0; 80_000_000], 0o644).gz();
    assert_eq!(place.refuses_with(&bomb, &Limits::default()).1, "archive.too-big");
    let announced = Tar::release().raw(b"kasm_release/huge", EntryType::Regular, b"", 0o644, 1 << 42, b"").gz();
    assert_eq!(place.refuses_with(&announced, &Limits::default()).1, "archive.too-big");
    let limits = Limits { bytes: 10_000, ..Limits::default() };
    let big = Tar::release().file("kasm_release/big", &[1; 12_000], 0o644).gz();
    assert_eq!(place.refuses_with(&big, &limits).1, "archive.too-big");
    let many = (0..60).fold(Tar::release(), |tar, n| tar.directory(&format!("kasm_release/{n}/"))).gz();
    let limits = Limits { entries: 50, ..Limits::default() };
    assert_eq!(place.refuses_with(&many, &limits).1, "archive.too-many");
    let deep = Tar::release().file(&format!("kasm_release/{}x", "d/".repeat(12)), b"x", 0o644).gz();
    let limits = Limits { depth: 10, ..Limits::default() };
    assert_eq!(place.refuses_with(&deep, &limits).1, "archive.too-deep");
}

#[test]
fn a_tarball_that_changes_after_it_was_verified_is_refused() {
    let place = Place::new();
    let tarball = Tar::release().gz();
    let path = place.directory.path().join("tarball");
    fs::write(&path, &tarball).unwrap();
    let verified = Verified::read(&path, Digest::new(sha2::Sha256::digest(&tarball).into())).unwrap();
    fs::write(&path, Tar::release().file("kasm_release/more", b"x", 0o755).gz()).unwrap();
    let error = unpack(&verified, &place.target(), &Limits::default(), &Silent).unwrap_err();
    assert_eq!((error.reason(), error.exit()), ("digest.changed", Exit::Digest));
    assert!(!place.target().exists());

    // Another file at the same path is nothing to us: the handle is what was verified.
    fs::write(&path, &tarball).unwrap();
    let verified = Verified::read(&path, verified.digest()).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"another").unwrap();
    unpack(&verified, &place.target(), &Limits::default(), &Silent).unwrap();
}

#[test]
fn only_regular_files_are_verified() {
    let place = Place::new();
    let fifo = place.directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    for path in [fifo.as_path(), place.directory.path(), Path::new("/dev/zero"), Path::new("/nowhere")] {
        let error = Verified::read(path, Digest::new([0; 32])).unwrap_err();
        assert_eq!(error.reason(), "release.unreadable", "{}", path.display());
    }
}

#[test]
fn a_full_disk_leaves_nothing_and_is_said_plainly() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can mount the small file system this needs");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (small, tarball) = (directory.path().join("small"), directory.path().join("tarball"));
    fs::create_dir(&small).unwrap();
    let flags = nix::mount::MsFlags::empty();
    if let Err(errno) = nix::mount::mount(Some("tmpfs"), &small, Some("tmpfs"), flags, Some("size=1m")) {
        println!("skipped: no file system can be mounted here ({errno})");
        return;
    }
    let bytes = Tar::release().file("kasm_release/big", &vec![1; 3_000_000], 0o644).gz();
    fs::write(&tarball, &bytes).unwrap();
    let verified = Verified::read(&tarball, Digest::new(sha2::Sha256::digest(&bytes).into())).unwrap();
    let error = unpack(&verified, &small, &Limits::default(), &Silent).unwrap_err();
    let left = Place::names(&small);
    nix::mount::umount2(&small, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!(error.reason(), "unpack.disk-full");
    assert!(left.is_empty(), "{left:?}");
}
