//! Docker, its compose and its plugins: all of it may be missing, because install.sh brings it, but what
//! is there has to be right.

use super::{Context, Mode, NOT_BELOW_ROOT, Verdict};
use crate::intent::Role;
use crate::kasm::docker::{self, Error, Info, OLDEST, Plugin, Version, version};
use crate::machine::os_release::install_command;
use crate::paths::{Paths, environment_for_children};
use futures_util::future::{BoxFuture, FutureExt};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// What Docker may take to answer: less than a check, so that it can still say what it saw.
const PATIENCE: Duration = Duration::from_secs(8);
/// From this one on Docker refuses the compose that install.sh brings (docs/kasm-facts.md, 2; #815).
const PICKY: Version = (29, 0, 0);
/// The compose that install.sh brings where there is none (docs/kasm-facts.md, 2).
const BUNDLED_COMPOSE: Version = (2, 5, 0);

/// Where a `docker` may be, the snap's last: with another one beside it, it is not the one that is run.
const BINARIES: [&str; 5] =
    ["/usr/local/bin/docker", "/usr/bin/docker", "/usr/sbin/docker", "/bin/docker", "/snap/bin/docker"];
/// Where Docker's client looks for its plugins (docker/cli, `cli-plugins/manager`), root's own included.
const PLUGIN_DIRS: [&str; 5] = [
    "/root/.docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// The `docker` program, if there is one.
pub(super) fn binary(paths: &Paths) -> Option<PathBuf> {
    // Links may be absolute, which a scratch root does not resolve: being there is enough.
    BINARIES.iter().map(|path| paths.at(path)).find(|path| path.symlink_metadata().is_ok())
}

/// True if Docker's client has its compose plugin.
pub(super) fn compose_plugin(paths: &Paths) -> bool {
    PLUGIN_DIRS.iter().any(|directory| paths.at(directory).join("docker-compose").symlink_metadata().is_ok())
}

/// What a look at Docker found.
#[derive(Debug)]
pub(super) struct Look {
    binary: Option<PathBuf>,
    /// `None`: no answer in time.
    info: Option<Result<Info, Error>>,
    plugins: Option<Result<Vec<Plugin>, Error>>,
}

/// Asks what there is to ask.
pub(super) async fn look(paths: &Paths) -> Look {
    let (binary, socket) = (binary(paths), paths.docker_socket());
    let info = tokio::time::timeout(PATIENCE, docker::info(&socket));
    let plugins = tokio::time::timeout(PATIENCE, docker::plugins(&socket));
    let (info, plugins) = futures_util::future::join(info, plugins).await;
    Look { binary, info: info.ok(), plugins: plugins.ok() }
}

impl Look {
    fn answered(&self) -> Option<&Info> {
        self.info.as_ref()?.as_ref().ok()
    }

    /// Neither program nor socket.
    fn is_absent(&self) -> bool {
        self.binary.is_none() && matches!(self.info, Some(Err(Error::NoSocket(_))))
    }

    /// Where Docker keeps its images, if it said so.
    pub(super) fn root_dir(&self) -> Option<&Path> {
        self.answered()?.root_dir.as_deref().filter(|path| path.is_absolute())
    }

    fn is_snap(&self) -> bool {
        self.binary.as_ref().is_some_and(|path| path.ends_with("snap/bin/docker"))
            || self.root_dir().is_some_and(|path| path.starts_with("/var/snap"))
    }
}

const ABSENT: &str = "Docker is not installed: install.sh installs it";

pub(super) fn daemon(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        let look = context.docker().await;
        if look.is_snap() {
            return Verdict::refuse(
                "preflight.docker-snap",
                "Docker is installed as a snap, which install.sh refuses",
                "snap remove docker; install.sh then installs Docker's own packages",
            );
        }
        let down = |why: String| {
            Verdict::refuse(
                "preflight.docker-down",
                format!("Docker is installed, but its daemon does not answer: {why}"),
                "systemctl start docker, and see `journalctl -u docker` for why it was not running",
            )
        };
        match &look.info {
            Some(Ok(info)) => judge_version(&info.version),
            Some(Err(Error::NoSocket(_))) if look.binary.is_none() => Verdict::Pass(ABSENT.into()),
            Some(Err(error @ Error::Unreachable { .. })) if context.facts.euid != 0 => {
                Verdict::Broken { detail: error.to_string() }
            }
            Some(Err(Error::NoSocket(_))) => {
                down(format!("{} is not there", context.paths.shown(&context.paths.docker_socket()).display()))
            }
            Some(Err(Error::Unreachable { why, .. })) => down(why.clone()),
            Some(Err(error)) => Verdict::Broken { detail: error.to_string() },
            // Its first start on a slow disk may take longer, and install.sh comes much later.
            None if context.mode == Mode::Wait => Verdict::Warn {
                detail: format!("Docker has not answered within {} s", PATIENCE.as_secs()),
                remedy: "see `journalctl -u docker` if it still does not answer when install.sh runs".into(),
            },
            None => down(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
    .boxed()
}

fn judge_version(text: &str) -> Verdict {
    match version(text) {
        None => Verdict::Broken { detail: format!("Docker calls its version {text:?}") },
        Some(found) if found < OLDEST => {
            let (major, minor, patch) = OLDEST;
            Verdict::Warn {
                detail: format!(
                    "Docker {text} is older than {major}.{minor}.{patch}, which Kasm from 1.17 on asks for"
                ),
                remedy: "upgrade Docker, or remove it: install.sh then installs a newer one".into(),
            }
        }
        Some(_) => Verdict::Pass(format!("Docker {text}")),
    }
}

/// What is known of compose.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Compose {
    /// Docker's client does not have it.
    Missing,
    /// It is there; its version is known where the program may be asked.
    There(Option<String>),
}

pub(super) fn compose(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        let look = context.docker().await;
        let Some(program) = &look.binary else {
            return Verdict::Skipped(match look.is_absent() {
                true => ABSENT.into(),
                false => "there is no docker program".into(),
            });
        };
        if look.is_snap() {
            return Verdict::Skipped("Docker is a snap: see docker".into());
        }
        // Programs below a scratch root are not run.
        let found = match context.paths.is_machine() {
            true => short_version(Command::new(program).args(["compose", "version", "--short"])).await,
            false if compose_plugin(&context.paths) => Ok(Compose::There(None)),
            false => Ok(Compose::Missing),
        };
        let engine = look.answered().and_then(|info| version(&info.version));
        match found {
            Err(error) => Verdict::Broken { detail: format!("`docker compose version` cannot be run: {error}") },
            Ok(found) => judge_compose(&found, engine, install_command(context.facts.os.as_ref())),
        }
    }
    .boxed()
}

/// The first line a program prints, which is a version; a program that fails does not know the question.
async fn short_version(command: &mut Command) -> io::Result<Compose> {
    command.env_clear().envs(environment_for_children());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    let asked = async {
        let mut said = Vec::new();
        if let Some(out) = child.stdout.take() {
            out.take(4096).read_to_end(&mut said).await?;
        }
        Ok(match child.wait().await?.success() {
            true => {
                let text = String::from_utf8_lossy(&said);
                Compose::There(text.lines().next().map(|line| crate::words::one_line(line.trim())))
            }
            false => Compose::Missing,
        })
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
}

fn judge_compose(compose: &Compose, engine: Option<Version>, install: &str) -> Verdict {
    let picky = engine.is_some_and(|engine| engine >= PICKY);
    let remedy = format!("{install} docker-compose-plugin");
    match compose {
        Compose::Missing if picky => Verdict::refuse(
            "preflight.compose",
            "Docker has no compose plugin, and this Docker refuses the compose 2.5.0 that install.sh brings",
            remedy,
        ),
        Compose::Missing => Verdict::Warn {
            detail: "Docker has no compose plugin: install.sh brings the old compose 2.5.0".into(),
            remedy,
        },
        Compose::There(None) => Verdict::Pass("the compose plugin is there".into()),
        Compose::There(Some(text)) => match version(text) {
            None => Verdict::Broken { detail: format!("compose calls its version {text:?}") },
            Some(found) if picky && found <= BUNDLED_COMPOSE => Verdict::refuse(
                "preflight.compose",
                format!("compose {text} is too old for this Docker, which refuses it"),
                format!("{remedy}, and remove the old one from the directories that `docker info` names"),
            ),
            Some(_) => Verdict::Pass(format!("compose {}", text.trim_start_matches('v'))),
        },
    }
}

pub(super) fn sidecar(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        let look = context.docker().await;
        if look.is_absent() {
            return Verdict::Skipped(ABSENT.into());
        }
        if look.answered().is_none() {
            return Verdict::Skipped("Docker does not answer: see docker".into());
        }
        let plugins = match &look.plugins {
            Some(Ok(plugins)) => plugins,
            Some(Err(error)) => return Verdict::Broken { detail: error.to_string() },
            None => return Verdict::Broken { detail: format!("no list within {} s", PATIENCE.as_secs()) },
        };
        let names = |wanted: bool| -> Vec<&str> {
            let sidecars = plugins.iter().filter(|plugin| plugin.is_sidecar() && plugin.enabled == wanted);
            sidecars.map(|plugin| plugin.name.as_str()).collect()
        };
        match (names(false), names(true)) {
            (off, on) if off.is_empty() && on.is_empty() => Verdict::Pass("Docker has no sidecar plugin yet".into()),
            (off, on) if off.is_empty() => Verdict::Pass(format!("enabled: {}", on.join(", "))),
            (off, _) => Verdict::Warn {
                // docs/kasm-facts.md, 8: after some reboots (#668).
                detail: format!("disabled in Docker, so that kasm_proxy does not start: {}", off.join(", ")),
                remedy: off.iter().map(|name| format!("docker plugin enable {name}")).collect::<Vec<_>>().join(" && "),
            },
        }
    }
    .boxed()
}

/// The directories that the rclone plugin needs and does not make.
pub(super) fn missing_rclone(context: &Context) -> Vec<PathBuf> {
    let directory = context.paths.rclone_dir();
    ["config", "cache"].iter().map(|name| directory.join(name)).filter(|path| !path.is_dir()).collect()
}

pub(super) fn rclone(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        if context.role == Some(Role::Guac) {
            return Verdict::Skipped("a connection proxy mounts no storage".into());
        }
        if context.tells("skip-custom-rclone", "--skip-custom-rclone") {
            return Verdict::Skipped("--skip-custom-rclone is given".into());
        }
        let directory = context.paths.rclone_dir();
        if !context.paths.is_machine() && !directory.parent().is_some_and(Path::exists) {
            return Verdict::Skipped(NOT_BELOW_ROOT.into());
        }
        let missing: Vec<String> =
            missing_rclone(context).iter().map(|path| context.paths.shown(path).display().to_string()).collect();
        match missing.is_empty() {
            true => Verdict::Pass("the rclone plugin's directories are there".into()),
            false => Verdict::Warn {
                detail: format!("not there, and the rclone plugin cannot be installed without: {}", missing.join(", ")),
                remedy: format!("mkdir -p {}", missing.join(" ")),
            },
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests;
