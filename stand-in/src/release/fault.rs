//! What can go wrong in a release, and the lines of bash that do it.

/// Where in its work a script can go wrong. upgrade.sh calls install.sh, so that it passes by the points of
/// both, in the order given here; install.sh alone knows nothing of those that say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// upgrade.sh understood its command line; nothing was changed yet.
    Before,
    /// upgrade.sh has stopped the services of the old version.
    Stopped,
    /// The command line was understood; nothing was asked or changed yet.
    Start,
    /// Dependencies are about to be installed; nothing of Kasm's was changed yet.
    Apt,
    /// The directory of this version was wiped and is empty.
    Wiped,
    /// Configuration is written; the links are not.
    Files,
    /// The links are set; no container runs.
    Linked,
    /// upgrade.sh has put the old ids, tokens and certificates into the new configuration; no container runs.
    Carried,
    /// `bin/start` of this version was called, by whomever.
    Starting,
    /// Everything is done.
    Started,
    /// `bin/stop` of this version was called, by whomever.
    Stopping,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Prints these words and ends with this code. 1 and 255 are Kasm's handled errors, which delete the log;
    /// any other code leaves it behind.
    Fail {
        /// Where.
        at: Point,
        /// What is printed.
        words: String,
        /// The exit status.
        code: u8,
    },
    /// The first so many runs end with 100 and these words, as apt-get does when a lock is taken. Runs are
    /// counted in `ROOT/var/lib/kasm-stand-in/locked-runs`.
    AptLocked {
        /// Where.
        at: Point,
        /// How many runs.
        times: u32,
        /// What is printed: [`LISTS_LOCKED`] and the like.
        words: String,
    },
    /// Never goes on.
    Hang {
        /// Where.
        at: Point,
        /// Whether TERM is ignored, so that only KILL ends it.
        ignore_term: bool,
    },
    /// Leaves a process behind, in a session of its own and with the output still open, for so many
    /// seconds; its id is in `ROOT/run/stand-in-left-behind.pid`. The installer itself goes on.
    LeaveBehind {
        /// Where.
        at: Point,
        /// How long that process lives.
        seconds: u32,
    },
    /// Prints these words without a line feed, and goes on.
    NoLineFeed {
        /// Where.
        at: Point,
        /// What is printed.
        words: String,
    },
    /// Asks on standard input whatever the flags say, again and again until there is an answer.
    Ask {
        /// Where.
        at: Point,
        /// The question, printed without a line feed.
        question: String,
    },
    /// Prints so many lines, and goes on.
    Flood {
        /// Where.
        at: Point,
        /// How many.
        lines: u32,
    },
    /// Prints the token in more places than a real installer does: twice on a line, glued to other
    /// words, and on standard error in two halves written one after the other.
    EchoToken {
        /// Where.
        at: Point,
    },
    /// Kills itself with this signal (`KILL`, `SEGV`).
    Signal {
        /// Where.
        at: Point,
        /// Its name without `SIG`.
        signal: &'static str,
    },
    /// Does whatever these lines of bash say; inside a function, so `local` works.
    Bash {
        /// Where.
        at: Point,
        /// The lines.
        lines: String,
    },
}

/// apt's words when `apt-get update` finds another one at work (apt 2.6.1).
pub const LISTS_LOCKED: &str = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)\nE: Unable to lock directory /var/lib/apt/lists/";
/// apt's words when another one installs (apt 2.6.1).
pub const FRONTEND_LOCKED: &str = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (apt-get)\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?";

impl Point {
    /// Its name in the script.
    pub(super) fn word(self) -> &'static str {
        match self {
            Point::Before => "before",
            Point::Stopped => "stopped",
            Point::Start => "start",
            Point::Apt => "apt",
            Point::Wiped => "wiped",
            Point::Files => "files",
            Point::Linked => "linked",
            Point::Carried => "carried",
            Point::Starting => "starting",
            Point::Stopping => "stopping",
            Point::Started => "started",
        }
    }
}

impl Fault {
    /// Where it happens.
    pub(super) fn at(&self) -> Point {
        match self {
            Fault::Fail { at, .. }
            | Fault::AptLocked { at, .. }
            | Fault::Hang { at, .. }
            | Fault::LeaveBehind { at, .. }
            | Fault::NoLineFeed { at, .. }
            | Fault::Ask { at, .. }
            | Fault::Flood { at, .. }
            | Fault::EchoToken { at }
            | Fault::Signal { at, .. }
            | Fault::Bash { at, .. } => *at,
        }
    }

    /// The lines of bash that do it.
    pub(super) fn script(&self) -> String {
        match self {
            Fault::Fail { words, code, .. } if [1, 255].contains(code) => {
                format!("  give_up {code} {}\n", quote(words))
            }
            Fault::Fail { words, code, .. } => format!("  echo {}\n  exit {code}\n", quote(words)),
            Fault::AptLocked { times, words, .. } => {
                let count = r#"local runs="$KASM_BOOTSTRAP_ROOT/var/lib/kasm-stand-in/locked-runs""#;
                format!(
                    "  {count}\n  mkdir -p \"${{runs%/*}}\"\n  echo run >>\"$runs\"\n  \
                     if [ \"$(wc -l <\"$runs\")\" -le {times} ]; then\n    echo {}\n    exit 100\n  fi\n",
                    quote(words)
                )
            }
            Fault::Hang { ignore_term, .. } => {
                let trap = if *ignore_term { "  trap '' TERM\n" } else { "" };
                // Short sleeps: what a kill leaves of this ends by itself.
                format!("{trap}  while true; do sleep 1; done\n")
            }
            Fault::LeaveBehind { seconds, .. } => format!(
                "  mkdir -p \"$KASM_BOOTSTRAP_ROOT/run\"\n  setsid sleep {seconds} &\n  \
                 echo $! >\"$KASM_BOOTSTRAP_ROOT/run/stand-in-left-behind.pid\"\n"
            ),
            Fault::NoLineFeed { words, .. } => format!("  printf %s {}\n", quote(words)),
            Fault::Ask { question, .. } => format!(
                "  local answer=\"\"\n  until [ -n \"$answer\" ]; do\n    printf '%s ' {}\n    \
                 read -r answer || sleep 0.2\n  done\n",
                quote(question)
            ),
            Fault::Flood { lines, .. } => {
                format!(
                    "  local line\n  for ((line = 1; line <= {lines}; line++)); do echo \"line $line of {lines}\"; done\n"
                )
            }
            Fault::EchoToken { .. } => {
                let token = "$MANAGER_TOKEN$REGISTRATION_TOKEN";
                format!(
                    "  local token=\"{token}\"\n  echo \"$token and $token\"\n  echo \"x${{token}}x\"\n  \
                     printf %s \"${{token:0:8}}\" >&2\n  sleep 0.1\n  echo \"${{token:8}}\" >&2\n"
                )
            }
            Fault::Bash { lines, .. } => format!("  {}\n", lines.trim().replace('\n', "\n  ")),
            Fault::Signal { signal, .. } => format!("  kill -{signal} $$\n  sleep 5\n"),
        }
    }
}

/// One word for the shell, whatever it holds.
fn quote(words: &str) -> String {
    format!("'{}'", words.replace('\'', r"'\''"))
}
