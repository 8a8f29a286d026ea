use super::*;
use crate::error::{Exit, Failure};
use crate::intent::*;

const TOKEN: &str = "aVeryOpaqueToken1234";

fn intent(role: Role) -> Intent {
    let release = ReleaseIntent {
        version: Some("1.16.1".into()),
        sources: vec![Source::Url("http://mirror/".into())],
        digest: Digest::Pinned("0".repeat(64)),
        minisign_key: None,
    };
    let manager = ManagerIntent {
        address: HostPort { host: "kasm.example.com".into(), port: None },
        token: Secret::new(TOKEN),
        wait: ManagerIntent::WAIT,
    };
    Intent {
        agent: AgentIntent { server_id: Some("id-1".into()), provider: Some("harvester".into()) },
        guac: GuacIntent { zone: Some("default".into()) },
        ..Intent::new(role, release, manager)
    }
}

fn flags(words: &str) -> ScriptFlags {
    let text: String = words.split_whitespace().map(|word| format!("{word}) ;;\n")).collect();
    ScriptFlags::read(text.as_bytes())
}

fn all() -> ScriptFlags {
    flags(
        "-S|--role -e|--accept-eula -p|--public-hostname -m|--manager-hostname -M|--manager-token -i|--agent-server-id \
         -r|--agent-provider -L|--proxy-port -H|--no-swap-check -n|--api-hostname -k|--registration-token \
         -z|--server-zone -x|--offline-plugin -s|--offline-service -b|--no-check-disk",
    )
}

fn build(intent: &Intent, flags: &ScriptFlags) -> Result<CommandLine, Error> {
    let script = PathBuf::from("/var/lib/kasm-bootstrap/releases/x/kasm_release/install.sh");
    CommandLine::install(script, intent, "10.0.0.4", flags, Some("1.16.1"))
}

#[test]
fn an_agent_gets_its_long_flags_and_the_token_is_not_shown() {
    let mut intent = intent(Role::Agent);
    intent.proxy_port = Some(8443);
    intent.installer.flags = vec!["no-check-disk".into(), "no-swap-check".into()];
    intent.installer.values = vec![("offline-service".into(), "/mnt/my images/service.tar.gz".into())];
    let line = build(&intent, &all()).unwrap();
    insta::assert_snapshot!(line.shown(), @"bash /var/lib/kasm-bootstrap/releases/x/kasm_release/install.sh --role agent --accept-eula --public-hostname 10.0.0.4 --manager-hostname kasm.example.com --manager-token [secret] --agent-server-id id-1 --agent-provider harvester --proxy-port 8443 --no-swap-check --no-check-disk --offline-service '/mnt/my images/service.tar.gz'");
    assert!(!format!("{line:?}").contains(TOKEN));
    assert_eq!(line.secrets().map(Secret::expose).collect::<Vec<_>>(), [TOKEN]);
}

#[test]
fn a_proxy_gets_its_own_flags_and_what_is_unset_is_left_out() {
    let mut intent = intent(Role::Guac);
    intent.manager.address.port = Some(8443);
    insta::assert_snapshot!(build(&intent, &all()).unwrap().shown_args().join(" "), @"--role guac --accept-eula --public-hostname 10.0.0.4 --api-hostname kasm.example.com:8443 --registration-token [secret] --server-zone default --no-swap-check");
    intent.guac.zone = None;
    assert!(!build(&intent, &all()).unwrap().shown().contains("zone"));
}

#[test]
fn short_forms_are_used_where_the_script_knows_only_those() {
    let line = build(&intent(Role::Agent), &flags("-S -e -p -m -M -i -r")).unwrap();
    insta::assert_snapshot!(line.shown_args().join(" "), @"-S agent -e -p 10.0.0.4 -m kasm.example.com -M [secret] -i id-1 -r harvester");
}

#[test]
fn a_flag_the_release_does_not_have_is_refused_by_name() {
    let mut intent = intent(Role::Agent);
    intent.installer.flags = vec!["use-static-images".into()];
    let failure = Failure::from(build(&intent, &all()).unwrap_err());
    insta::assert_snapshot!(crate::cli::answer::text(&failure), @"
    error: release 1.16.1's install.sh has no --use-static-images [installer.unknown-flag]
    help: leave --use-static-images out, or pick a release that has it: `bash kasm_release/install.sh --help` lists them
    ");
    assert_eq!(failure.exit(), Exit::Installer);

    intent.installer.flags.clear();
    intent.installer.extra = vec!["--future".into(), "x".into()];
    assert!(matches!(build(&intent, &all()), Err(Error::UnknownFlag { flag, .. }) if flag == "--future"));
    intent.installer.extra = vec!["-b".into(), "x".into()];
    assert!(build(&intent, &all()).unwrap().shown().ends_with("-b x"));
}

#[test]
fn renamed_flags_are_found_under_either_name() {
    let mut intent = intent(Role::Agent);
    for asked in ["offline-plugin", "offline-network-plugin"] {
        intent.installer.values = vec![(asked.into(), "/p.tar.gz".into())];
        assert!(build(&intent, &all()).unwrap().shown().ends_with("--offline-plugin /p.tar.gz"));
    }
}

#[test]
fn values_that_kasms_scripts_would_misread_are_refused_without_being_shown() {
    let mut cases: Vec<(Intent, &str)> = Vec::new();
    for value in ["-starts-with-a-dash", "with/slash", "with&amp", "two\nlines", "", "two words"] {
        let mut one = intent(Role::Agent);
        one.manager.token = Secret::new(value);
        cases.push((one, value));
    }
    let mut zone = intent(Role::Guac);
    zone.guac.zone = Some("ZONE-1".into());
    cases.push((zone, "ZONE-1"));
    for (intent, value) in cases {
        let error = build(&intent, &all()).unwrap_err();
        assert!(matches!(error, Error::BadValue { .. }), "{error}");
        assert!(value.is_empty() || !error.to_string().contains(value), "{error}");
    }
    let mut fine = intent(Role::Agent);
    fine.agent.provider = Some("AMAZONE".into());
    assert!(build(&fine, &all()).is_ok());
}
