//! The packages that Kasm's installer would install (docs/kasm-facts.md, 2): with them in the image it passes
//! over most of what it does with apt.

use super::{Bake, Error, left_out};
use crate::apt;
use crate::apt::packages::{Apt, Package};
use crate::error::Failure;
use crate::flow::packages::systemctl;
use crate::machine::{facts, os_release::install_command};
use crate::packages::{timers, wait};
use crate::step::{Context, Finish};
use std::time::Duration;

/// How long the package manager may stay busy.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// What is needed, and the packages that bring it, the best first: which of them a machine can have depends on
/// its release and its repositories, so apt is asked. Kasm has no packages for other families than Debian's.
const NEEDED: &[&[&str]] = &[
    // Docker's own repository has the first; where it is not configured, the distribution's own will do.
    &["docker-ce", "docker.io"],
    COMPOSE,
    &["openssl"],
    &["lsof"],
    &["curl"],
    &["iproute2"],
    &["iptables"],
    &["gpg"],
    &["sudo"],
    // The same for the same programs; newer releases have only the second, and the two do not go together.
    &["fuse", "fuse3"],
    &["wireguard-tools"],
];

/// `docker compose`: Docker's repository, Ubuntu, Debian from 13 on.
const COMPOSE: &[&str] = &["docker-compose-plugin", "docker-compose-v2", "docker-compose"];

pub(super) fn about(work: &Bake) -> String {
    let names = match &work.wants.packages {
        Some(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        None => NEEDED.iter().map(|group| group.join(" or ")).collect::<Vec<_>>().join(", "),
    };
    format!("wait for apt, then install what is not there of: {names}")
}

/// Installs what is not there.
pub(super) async fn install(work: &Bake, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.skips("packages") {
        return left_out();
    }
    let groups: Vec<Vec<&str>> = match &work.wants.packages {
        Some(names) => names.iter().map(|name| vec![name.as_str()]).collect(),
        None => NEEDED.iter().map(|group| group.to_vec()).collect(),
    };
    if !apt::MANAGER.is_there(&work.paths) {
        let command = install_command(facts::os(&work.paths).as_ref());
        return Ok(Finish::Warned(format!(
            "packages are put in with apt only, and this machine has none: `{command} openssl lsof curl iproute iptables \
             gnupg2 sudo fuse`, and Docker with its compose plugin from Docker's repository"
        )));
    }
    timers::pause(&apt::MANAGER, &work.paths, systemctl().as_ref(), cx.observer).await;
    wait::until_quiet(&apt::MANAGER, &work.paths, cx.deadline.within(PATIENCE), cx.observer).await?;
    let apt = Apt::new(&work.paths, cx.deadline, cx.observer)?;
    let bare: Vec<&str> = groups.iter().flatten().map(|name| named(name)).collect();
    let before = apt.installed(&bare).await?;
    let missing: Vec<&Vec<&str>> = groups.iter().filter(|group| !is_there(group, &before)).collect();
    if missing.is_empty() {
        work.record.borrow_mut().packages = before;
        return Ok(Finish::Skipped("all of them are installed".into()));
    }
    apt.update().await?;
    let asked: Vec<&str> = missing.iter().copied().flatten().map(|name| named(name)).collect();
    let candidates = apt.candidates(&asked).await?;
    let (chosen, lacking) = choose(&missing, &candidates);
    if work.wants.packages.is_some() && !lacking.is_empty() {
        return Err(Error::NoPackage { names: lacking }.into());
    }
    if !chosen.is_empty() {
        cx.observer.note(&format!("installing {}", chosen.join(", ")));
        work.changed.set(true);
        apt.install(&chosen).await?;
    }
    work.record.borrow_mut().packages = apt.installed(&bare).await?;
    let done = match chosen.is_empty() {
        true => "nothing could be installed".to_owned(),
        false => format!("installed {}", chosen.join(", ")),
    };
    Ok(match lacking.is_empty() {
        true => Finish::Done(done),
        false => Finish::Warned(format!(
            "{done}; apt has no {}: add the repository that has it, or leave it to Kasm's installer",
            lacking.join(", no ")
        )),
    })
}

/// The name without the version behind it.
fn named(name: &str) -> &str {
    name.split_once('=').map_or(name, |(name, _)| name)
}

/// True if one of a group is installed, in the wanted version where one is given.
fn is_there(group: &[&str], installed: &[Package]) -> bool {
    group.iter().any(|wanted| {
        let (name, version) = wanted.split_once('=').map_or((*wanted, None), |(name, version)| (name, Some(version)));
        installed.iter().any(|package| {
            package.name == name && !is_old_compose(package) && version.is_none_or(|version| package.version == version)
        })
    })
}

/// `docker-compose` 1.x is a program of its own and no plugin: Kasm does not use it.
fn is_old_compose(package: &Package) -> bool {
    package.name == "docker-compose" && package.version.starts_with("1.")
}

/// What is to be installed, and the groups of which apt has nothing.
fn choose<'a>(missing: &[&Vec<&'a str>], candidates: &[Package]) -> (Vec<&'a str>, Vec<String>) {
    let has =
        |name: &str| candidates.iter().any(|candidate| candidate.name == named(name) && !is_old_compose(candidate));
    let (mut chosen, mut lacking) = (Vec::new(), Vec::new());
    for group in missing {
        match group.iter().find(|name| has(name)) {
            Some(name) => chosen.push(*name),
            None => lacking.push(group.join(" or ")),
        }
    }
    (chosen, lacking)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(names: &[(&str, &str)]) -> Vec<Package> {
        names.iter().map(|(name, version)| Package { name: (*name).into(), version: (*version).into() }).collect()
    }

    fn chosen(candidates: &[(&str, &str)]) -> (Vec<&'static str>, Vec<String>) {
        let groups: Vec<Vec<&'static str>> = NEEDED.iter().map(|group| group.to_vec()).collect();
        let groups: Vec<&Vec<&'static str>> = groups.iter().take(2).collect();
        choose(&groups, &packages(candidates))
    }

    #[test]
    fn docker_comes_from_dockers_repository_where_it_is_configured_and_else_from_the_distribution() {
        let all = [
            ("docker-ce", "5:27"),
            ("docker.io", "20.10"),
            ("docker-compose-plugin", "2.29"),
            ("docker-compose", "1.29.2-3"),
        ];
        assert_eq!(chosen(&all), (vec!["docker-ce", "docker-compose-plugin"], vec![]));
        assert_eq!(chosen(&[("docker.io", "27"), ("docker-compose-v2", "2.27")]).0, ["docker.io", "docker-compose-v2"]);
        assert_eq!(chosen(&[("docker.io", "26"), ("docker-compose", "2.26.1-4")]).0, ["docker.io", "docker-compose"]);
    }

    #[test]
    fn a_compose_that_is_no_plugin_is_not_taken_for_one() {
        let (chosen, lacking) = chosen(&[("docker.io", "20.10.24"), ("docker-compose", "1.29.2-3")]);
        assert_eq!(chosen, ["docker.io"]);
        assert_eq!(lacking, ["docker-compose-plugin or docker-compose-v2 or docker-compose"]);
        assert!(!is_there(COMPOSE, &packages(&[("docker-compose", "1.29.2-3")])));
    }

    #[test]
    fn one_of_a_group_is_enough_and_a_wanted_version_is_that_version() {
        assert!(is_there(&["fuse", "fuse3"], &packages(&[("fuse3", "3.14.0-4")])));
        assert!(
            !is_there(&["curl=8"], &packages(&[("curl", "7")])) && is_there(&["curl=7"], &packages(&[("curl", "7")]))
        );
    }
}
