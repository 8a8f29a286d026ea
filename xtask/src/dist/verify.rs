//! Looks at a release as whoever gets it would, before anybody does.

use super::{NAME, Names, SIGNATURE, SUMS, Signer, comment, digest, files, last_line, other, run, say};
use minisign_verify::Signature;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// All of it.
pub(super) fn all(
    top: &Path,
    directory: &Path,
    version: &str,
    names: &Names,
    signer: Option<&Signer>,
) -> io::Result<()> {
    checksums(directory)?;
    if let Some(signer) = signer {
        signature(directory, version, signer)?;
        say("  the signature is that of the public key");
    }
    let binary = directory.join(&names.binary);
    let said = run(Command::new(&binary).arg("--version"))?;
    if !said.split_whitespace().any(|word| word == version) {
        return Err(other(format!("the binary says `{}`, and this is to be {version}", said.trim())));
    }
    let expected = digest(&binary)?;
    for package in files(directory)? {
        match package.extension().and_then(|ending| ending.to_str()) {
            Some("deb") => deb(&package, version, &expected)?,
            Some("rpm") => rpm(&package, version, &expected)?,
            _ => {}
        }
    }
    say("  both packages are of this version and have this very binary in them");
    run(Command::new(top.join("scripts/sbom")).current_dir(top).arg("--check").arg(directory.join(&names.bill)))?;
    sources(&directory.join(&names.sources), version)
}

/// Every file is in the list, and every line of it right: by sha256sum(1), which did not write it.
pub(super) fn checksums(directory: &Path) -> io::Result<()> {
    run(Command::new("sha256sum").current_dir(directory).args(["--check", "--strict", "--quiet", SUMS]))?;
    let list = fs::read_to_string(directory.join(SUMS))?;
    for path in files(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_about_the_others = name == SUMS || name == SIGNATURE;
        if !is_about_the_others && !list.lines().any(|line| line.split_once("  ").is_some_and(|(_, one)| one == name)) {
            return Err(other(format!("{SUMS} does not have {name}")));
        }
    }
    say(&format!("  {} checksums are right", list.lines().count()));
    Ok(())
}

/// It fits the checksums, is of this key, and is of this version: by a crate, which did not make it.
pub(super) fn signature(directory: &Path, version: &str, signer: &Signer) -> io::Result<()> {
    let wrong = |error: minisign_verify::Error| other(format!("the signature is not right: {error}"));
    let signature = Signature::from_file(directory.join(SIGNATURE)).map_err(wrong)?;
    let allow_legacy = false;
    signer.public_key.verify(&fs::read(directory.join(SUMS))?, &signature, allow_legacy).map_err(wrong)?;
    if signature.trusted_comment() != comment(version) {
        return Err(other(format!("the signature is of `{}`", signature.trusted_comment())));
    }
    Ok(())
}

fn deb(package: &Path, version: &str, binary: &str) -> io::Result<()> {
    let its_version = run(Command::new("dpkg-deb").arg("--field").arg(package).arg("Version"))?;
    // Read by a shell, because two programs are needed for it.
    let read =
        "set -o pipefail; dpkg-deb --fsys-tarfile \"$1\" | tar -xO \"./usr/bin/$2\" | sha256sum | cut -d ' ' -f 1";
    let its_binary = run(Command::new("bash").args(["-c", read, "bash"]).arg(package).arg(NAME))?;
    same(package, &its_version, version, its_binary.trim(), binary)
}

fn rpm(package: &Path, version: &str, binary: &str) -> io::Result<()> {
    let query = |format: &str| {
        // Its database is nobody's business: without one of its own it would complain that there is none.
        let place = package.with_file_name("rpmdb");
        let said = run(Command::new("rpm").arg("--dbpath").arg(&place).args(["-qp", "--qf", format]).arg(package));
        super::remove(&place)?;
        said
    };
    let its_version = query("%{VERSION}")?;
    let digests = query("[%{FILEDIGESTS} %{FILENAMES}\n]")?;
    let name = format!("/usr/bin/{NAME}");
    let its_binary = digests.lines().filter_map(|line| line.split_once(' ')).find(|(_, file)| *file == name);
    same(package, &its_version, version, its_binary.map(|(digest, _)| digest).unwrap_or_default(), binary)
}

fn same(package: &Path, its_version: &str, version: &str, its_binary: &str, binary: &str) -> io::Result<()> {
    let name = package.file_name().unwrap_or_default().display();
    // A packager's revision may stand behind it.
    if its_version.trim().split('-').next() != Some(version) {
        return Err(other(format!("{name} is of version {}, and this is to be {version}", its_version.trim())));
    }
    if its_binary != binary {
        return Err(other(format!("the binary in {name} is another one: make the packages anew")));
    }
    Ok(())
}

fn sources(archive: &Path, version: &str) -> io::Result<()> {
    let manifest = format!("{NAME}-{version}/Cargo.toml");
    let text = run(Command::new("tar").arg("-xzOf").arg(archive).arg(manifest))?;
    match text.contains(&format!("version = \"{version}\"")) {
        true => Ok(()),
        false => Err(other(format!("the sources are of another version: {}", last_line(&text)))),
    }
}
