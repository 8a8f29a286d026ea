//! Whether the tokens of a connection proxy that is here already can work. 1.16.0's upgrade.sh has written
//! `"false"` and a port number in the place of two of them (docs/kasm-facts.md, 3; #571).

use super::Verdict;
use crate::health::tokens::Tokens;
use crate::kasm::layout::Installed;
use crate::token::Context;
use futures_util::future::{BoxFuture, FutureExt, ready};

pub(super) fn auth(context: &super::Context) -> BoxFuture<'_, Verdict> {
    ready(look(context)).boxed()
}

fn look(context: &super::Context) -> Verdict {
    const NONE: &str = "no connection proxy is installed here";
    let paths = &context.paths;
    let Some(installed) = Installed::read(paths) else { return Verdict::Skipped(NONE.into()) };
    // An agent has none of these files, whatever the configuration says that this node is to become.
    match installed.proxies() {
        Ok(proxies) if proxies.is_empty() => return Verdict::Skipped(NONE.into()),
        Err(error) => return Verdict::Broken { detail: super::report::with_causes(&error) },
        Ok(_) => {}
    }
    let found = match Tokens::read(paths, &installed, &[], &Context::now(None)) {
        Ok(found) => found,
        Err(error) => return Verdict::Broken { detail: super::report::with_causes(&error) },
    };
    let waiting = found.unregistered.iter().map(|one| format!("{} has not registered yet", one.component));
    let troubles: Vec<String> = found.troubles.iter().cloned().chain(waiting).collect();
    if troubles.is_empty() {
        return Verdict::Pass(match found.held.len() {
            1 => "its auth token is good".into(),
            count => format!("its {count} auth tokens are good"),
        });
    }
    let remedy = match found.troubles.is_empty() {
        true => "see that the manager can be reached, and `docker logs` of the container",
        false => "with a registration token (Admin UI: Settings, Global, Authentication): kasm-bootstrap token repair",
    };
    Verdict::Warn { detail: troubles.join("; "), remedy: remedy.into() }
}
