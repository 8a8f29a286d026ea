//! The ways from a URL to an unpacked release, and the floors below which none of them can get.

use crate::Fallible;
use crate::data::Release;
use crate::measure::{Taken, measured};
use crate::place::Places;
use crate::server::{Link, Servers};
use std::path::Path;
use std::process::Command;

/// A way, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// In words.
    pub name: &'static str,
    /// For bash. `$URL`, `$SUM`, `$CA`, `$BIN`, `$BENCH`, `$TARBALL`, `$TAR` are given; it works in an empty
    /// directory on a fresh filesystem.
    script: &'static str,
}

/// What Kasm's own start-up script does.
pub const TODAY: Way = Way {
    name: "`wget && tar -xf` (Kasm today, not verified)",
    script: r#"wget -q --ca-certificate="$CA" -O r.tar.gz "$URL" && tar -xf r.tar.gz"#,
};
/// The same, verified.
pub const VERIFIED: Way = Way {
    name: "`wget && sha256sum -c && tar -xf`",
    script: r#"wget -q --ca-certificate="$CA" -O r.tar.gz "$URL" &&
echo "$SUM  r.tar.gz" | sha256sum -c --status && tar -xf r.tar.gz"#,
};
/// In one stream. A named pipe instead of `>(sha256sum)`, so that the sum can be waited for and compared.
pub const STREAM: Way = Way {
    name: "`curl \\| tee >(sha256sum) \\| tar -xz` (unpacks before it knows)",
    script: r#"mkfifo pipe; sha256sum <pipe >sum & sum=$!
curl -fsS --cacert "$CA" "$URL" | tee pipe | tar -xz && wait "$sum" && [ "$(cut -c 1-64 sum)" = "$SUM" ]"#,
};
/// Ours: two runs of the binary as it is shipped; the second one hashes the tarball once more.
pub const OURS: Way = Way {
    name: "**`release fetch && release unpack`**",
    script: r#""$BIN" -q release fetch --ca-cert "$CA" --sha256 "$SUM" -o r.tar.gz "$URL" &&
"$BIN" -q release unpack --sha256 "$SUM" r.tar.gz ."#,
};

/// All of them, in the order they take turns.
pub const WAYS: [Way; 4] = [TODAY, VERIFIED, STREAM, OURS];

/// The network alone.
pub const NETWORK: Way =
    Way { name: "network: `curl -o /dev/null`", script: r#"curl -fsS --cacert "$CA" -o /dev/null "$URL""# };
/// Inflating alone, with what we inflate with.
pub const INFLATE: Way = Way { name: "inflating: zlib-rs", script: r#""$BENCH" inflate "$TARBALL""# };
/// What needs no network.
pub const FLOORS: [Way; 5] = [
    INFLATE,
    Way { name: "inflating: `gzip -t`", script: r#"gzip -t "$TARBALL""# },
    Way { name: "writing: `tar -xf` of the plain tar", script: r#"tar -xf "$TAR""# },
    Way { name: "hashing: `sha256sum`", script: r#"sha256sum "$TARBALL""# },
    Way { name: "hashing: `release verify`", script: r#""$BIN" -q release verify --sha256 "$SUM" "$TARBALL""# },
];
/// The second half of ours alone.
pub const UNPACK: Way = Way {
    name: "hashing, inflating, writing, syncing: `release unpack`",
    script: r#""$BIN" -q release unpack --sha256 "$SUM" "$TARBALL" ."#,
};

/// Where ways are gone.
pub struct Track<'a> {
    /// The binary.
    pub binary: &'a Path,
    /// Fresh filesystems.
    pub places: &'a Places,
    /// The servers.
    pub servers: &'a Servers,
}

impl Track<'_> {
    /// Goes one way once.
    pub fn go(&self, way: Way, release: &Release, link: Link) -> Fallible<Taken> {
        let place = self.places.fresh()?;
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -eu -o pipefail; cd -- \"$PLACE\"\n{}", way.script)]);
        command
            .env("PLACE", &place.path)
            .env("URL", self.servers.url(link, &release.tar_gz))
            .env("SUM", &release.sha256)
            .env("CA", &self.servers.ca)
            .env("BIN", self.binary)
            .env("BENCH", std::env::current_exe()?)
            .env("TARBALL", &release.tar_gz)
            .env("TAR", release.tar.as_deref().unwrap_or(Path::new("/nonexistent")));
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        let taken = measured(&command)?;
        if (WAYS.contains(&way) || way == UNPACK) && !place.path.join("kasm_release/install.sh").exists() {
            return Err(format!("{} left no release", way.name).into());
        }
        Ok(taken)
    }
}
