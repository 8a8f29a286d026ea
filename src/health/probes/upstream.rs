//! Whom the installed files name as the manager: whether that is an address at all, and the one that is configured.

use super::found;
use crate::health::model::{Finding, ProbeStatus};
use crate::health::probe::Context;
use crate::intent::HostPort;
use crate::kasm::layout::Upstream;
use crate::paths::Paths;
use futures_util::future::BoxFuture;

pub(super) const NAME: &str = "upstream-address";

const REMEDY: &str = "`kasm-bootstrap token repair --manager-hostname HOST` gives an agent another one; for the next \
                      machines set the zone's Upstream Auth Address in the Admin UI";

pub(super) fn address<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        let node = context.node(NAME).await?;
        let role = node.role()?;
        let read = context.errands.run(NAME, move || node.installed.upstreams(role)).await?;
        let upstreams = read.map_err(|error| Finding::unknown(error.to_string()))?;
        Ok(judge(&context.paths, &upstreams, context.manager.as_ref()))
    })
}

fn judge(paths: &Paths, upstreams: &[Upstream], configured: Option<&HostPort>) -> Finding {
    let Some(first) = upstreams.first() else {
        return Finding::unknown("there is no file that names the manager");
    };
    for upstream in upstreams {
        let place = format!("{} in {}", upstream.key, paths.shown(&upstream.file).display());
        let shown: String = crate::words::one_line(&upstream.names.join(", ")).chars().take(128).collect();
        // docs/kasm-facts.md, 7.
        let why = match &upstream.names[..] {
            [] => format!("{place} is empty"),
            [name, ..] if name.contains("request_host") => {
                format!("{place} is {shown}, which only means something to the manager itself")
            }
            _ if upstream.address().is_none_or(|address| is_placeholder(&address.host)) => {
                format!("{place} is {shown}, which is no address")
            }
            _ => continue,
        };
        return Finding::fail(format!("the upstream address is wrong: {why}"), REMEDY);
    }
    let shown = first.names.join(", ");
    let Some(configured) = configured else { return Finding::ok(shown) };
    let is_it = |upstream: &&Upstream| {
        let is_named = upstream.names.iter().any(|name| name.eq_ignore_ascii_case(&configured.host));
        let has_port = upstream.port.is_none_or(|port| port == configured.port_or_https());
        let address = upstream.address();
        let is_address = address.is_some_and(|address| {
            address.host.eq_ignore_ascii_case(&configured.host) && address.port_or_https() == configured.port_or_https()
        });
        (is_named && has_port) || is_address
    };
    match upstreams.iter().find(|upstream| !is_it(upstream)) {
        None => Finding::ok(format!("{shown}, as configured")),
        Some(other) => Finding::warn(
            format!(
                "the upstream address is another one than configured: {} in {} is {}, and the configuration says \
                 {configured}",
                other.key,
                paths.shown(&other.file).display(),
                other.address().map_or_else(|| other.names.join(", "), |address| address.to_string()),
            ),
            "see which of the two is right: `kasm-bootstrap config show` tells where the configured one comes from; \
             `kasm-bootstrap token repair --manager-hostname HOST` gives an agent another one",
        ),
    }
}

/// What templates leave behind.
fn is_placeholder(host: &str) -> bool {
    ["none", "null", "false", "undefined"].iter().any(|word| host.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(names: &[&str], port: Option<u16>, configured: Option<&str>) -> String {
        let upstream = Upstream {
            file: "/opt/kasm/1/agent.app.config.yaml".into(),
            key: "manager.hostnames",
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            port,
        };
        let configured = configured.map(|host| HostPort { host: host.into(), port: None });
        let finding = judge(&Paths::default(), &[upstream], configured.as_ref());
        format!("{}: {}", finding.level, finding.words)
    }

    #[test]
    fn what_is_no_address_and_what_is_another_one_is_told() {
        let lines = [
            judged(&["kasm.example.com"], Some(443), None),
            judged(&["KASM.example.com"], Some(443), Some("kasm.example.com")),
            judged(&["a.example", "kasm.example.com"], None, Some("kasm.example.com")),
            judged(&["kasm.example.com"], Some(8443), Some("kasm.example.com")),
            judged(&["other.example.com"], Some(443), Some("kasm.example.com")),
            judged(&["$request_host$"], Some(443), Some("kasm.example.com")),
            judged(&["{upstream_auth_address}"], None, None),
            judged(&["None"], None, None),
            judged(&[], None, None),
            judged(&["[2001:db8::1]:8443"], None, None),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        ok: kasm.example.com
        ok: KASM.example.com, as configured
        ok: a.example, kasm.example.com, as configured
        warn: the upstream address is another one than configured: manager.hostnames in /opt/kasm/1/agent.app.config.yaml is kasm.example.com:8443, and the configuration says kasm.example.com
        warn: the upstream address is another one than configured: manager.hostnames in /opt/kasm/1/agent.app.config.yaml is other.example.com, and the configuration says kasm.example.com
        fail: the upstream address is wrong: manager.hostnames in /opt/kasm/1/agent.app.config.yaml is $request_host$, which only means something to the manager itself
        fail: the upstream address is wrong: manager.hostnames in /opt/kasm/1/agent.app.config.yaml is {upstream_auth_address}, which is no address
        fail: the upstream address is wrong: manager.hostnames in /opt/kasm/1/agent.app.config.yaml is None, which is no address
        fail: the upstream address is wrong: manager.hostnames in /opt/kasm/1/agent.app.config.yaml is empty
        ok: [2001:db8::1]:8443
        ");
    }
}
