//! What is installed, in both layouts and in the shapes a machine can have it.

use kasm_bootstrap::error::{Explain, Failure};
use kasm_bootstrap::intent::*;
use kasm_bootstrap::kasm::layout::Installed;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::secret::Secret;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

const TOKEN: &str = "aVeryOpaqueToken1234";

const AGENT: &str = "agent:
  server_id: id-1
  public_hostname: 10.0.0.4
  public_port: 443
  provider: 'harvester'
  port: 4444
manager:
  hostnames:
    - kasm.example.com
  public_port: 443
  scheme: https
  token: aVeryOpaqueToken1234
";

fn proxy(section: &str, tokens: &str) -> String {
    format!(
        "{section}:\n  id: null\n  server_address: 10.0.0.4\n  server_port: 443\n  zone: default\n{tokens}\n\
         api:\n  hostnames: ['kasm.example.com']\n  port: 443\n"
    )
}

pub fn intent(role: Role) -> Intent {
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

struct Root(TempDir);

impl Root {
    fn new(version: &str, target: &str) -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        fs::create_dir_all(root.at(&format!("/opt/kasm/{version}/conf/app"))).unwrap();
        symlink(target, root.paths().kasm_current()).unwrap();
        root
    }

    fn paths(&self) -> Paths {
        Paths::below(self.0.path())
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.paths().at(path)
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn installed(&self) -> Installed {
        Installed::read(&self.paths()).unwrap()
    }

    fn differences(&self, intent: &Intent) -> Vec<String> {
        self.installed().differences(&self.paths(), intent, Some("10.0.0.4")).unwrap()
    }
}

#[test]
fn the_link_is_followed_below_the_root_whether_absolute_or_relative() {
    for target in ["/opt/kasm/1.16.1", "1.16.1", "/opt/kasm/1.16.1/", "../kasm/1.16.1"] {
        let installed = Root::new("1.16.1", target).installed();
        assert_eq!(installed.version.as_deref(), Some("1.16.1"), "{target}");
        assert!(installed.dir.ends_with("opt/kasm/1.16.1") || target.starts_with(".."), "{target}");
        assert!(installed.is_version("1.16.1") && installed.is_version("1.16.1.98d6fa"));
        assert!(!installed.is_version("1.16.0") && !installed.is_version("1.16") && !installed.is_version("1.16.10"));
    }
}

#[test]
fn a_link_that_names_the_root_already_is_taken_as_it_is() {
    let root = Root::new("1.16.1", "gone");
    fs::remove_file(root.paths().kasm_current()).unwrap();
    symlink(root.at("/opt/kasm/1.16.1"), root.paths().kasm_current()).unwrap();
    let installed = root.installed();
    assert_eq!((installed.version.as_deref(), installed.dir), (Some("1.16.1"), root.at("/opt/kasm/1.16.1")));
}

#[test]
fn links_that_lead_nowhere_or_in_circles_mean_that_nothing_is_installed() {
    let root = Root(tempfile::tempdir().unwrap());
    assert_eq!(Installed::read(&root.paths()), None);
    assert_eq!(Installed::read(&Root::new("1.16.1", "/opt/kasm/1.17.0").paths()), None);
    assert_eq!(Installed::read(&Root::new("1.16.1", "current").paths()), None);
    fs::create_dir_all(root.paths().kasm_current()).unwrap();
    let installed = root.installed();
    assert_eq!((installed.version, installed.dir), (None, root.paths().kasm_current()));
}

#[test]
fn an_agents_configuration_is_read_in_both_layouts() {
    for file in ["conf/app/agent.app.config.yaml", "conf/app/agent/agent.app.config.yaml"] {
        let root = Root::new("1.16.1", "1.16.1");
        root.put(&format!("/opt/kasm/1.16.1/{file}"), AGENT);
        let config = root.installed().agent().unwrap().unwrap();
        assert!(config.path.ends_with(Path::new(file)));
        assert_eq!(config.manager_hostnames, ["kasm.example.com"]);
        assert_eq!((config.public_port, config.manager_port), (Some(443), Some(443)));
        assert!(!format!("{config:?}").contains(TOKEN));
        assert_eq!(root.differences(&intent(Role::Agent)), [] as [String; 0]);
    }
}

#[test]
fn differences_are_told_in_words_and_without_tokens() {
    let root = Root::new("1.17.0", "1.17.0");
    root.put(
        "/opt/kasm/1.17.0/conf/app/agent/agent.app.config.yaml",
        AGENT
            .replace("id-1", "id-2")
            .replace("provider: 'harvester'", "provider: null")
            .replace(TOKEN, "other-secret-token"),
    );
    let mut intent = intent(Role::Agent);
    intent.manager.address.host = "other.example.com".into();
    intent.proxy_port = Some(8443);
    let differences = root.differences(&intent).join("\n");
    insta::assert_snapshot!(differences, @r"
    agent.public_port in /opt/kasm/1.17.0/conf/app/agent/agent.app.config.yaml is 443, not 8443
    agent.server_id in /opt/kasm/1.17.0/conf/app/agent/agent.app.config.yaml is id-2, not id-1
    agent.provider in /opt/kasm/1.17.0/conf/app/agent/agent.app.config.yaml is not set, it should be harvester
    manager.hostnames in /opt/kasm/1.17.0/conf/app/agent/agent.app.config.yaml is kasm.example.com, not other.example.com
    the manager token in /opt/kasm/1.17.0/conf/app/agent/agent.app.config.yaml is another one
    ");
    fs::remove_dir_all(root.at("/opt/kasm/1.17.0/conf/app/agent")).unwrap();
    assert_eq!(root.differences(&intent), ["the agent's agent.app.config.yaml is not there"]);
}

#[test]
fn a_proxys_three_files_are_read_in_both_layouts() {
    for directories in [["", "", ""], ["guac/", "rdp_gateway/", "rdp_https_gateway/"]] {
        let root = Root::new("1.16.1", "1.16.1");
        let names = ["kasmguac", "passthrough", "rdp_https_gateway"];
        for (index, (directory, name)) in directories.iter().zip(names).enumerate() {
            let text = match index {
                // Not registered yet, registered, and spoiled by a faulty upgrade.
                0 => proxy("kasmguac", &format!("  registration_token: {TOKEN}")),
                1 => proxy("rdp-gateway", "  x: y") + "  auth_token: aaa.bbb.ccc\n",
                _ => proxy("rdp-https-gateway", "") + "  auth_token: \"false\"\n",
            };
            root.put(&format!("/opt/kasm/1.16.1/conf/app/{directory}{name}.app.config.yaml"), text);
        }
        let proxies = root.installed().proxies().unwrap();
        assert_eq!(
            proxies.iter().map(|one| one.container).collect::<Vec<_>>(),
            ["kasm_guac", "kasm_rdp_gateway", "kasm_rdp_https_gateway"]
        );
        assert!(proxies.iter().all(|one| one.zone.as_deref() == Some("default") && one.api_port == Some(443)));
        // What their tokens are worth is asked elsewhere.
        assert_eq!(root.differences(&intent(Role::Guac)), [] as [String; 0]);
        let mut other = intent(Role::Guac);
        other.manager.token = Secret::new("anotherOpaqueToken12");
        let differences = root.differences(&other);
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(differences[0].starts_with("the registration token in ") && differences[0].ends_with("is another one"));
    }
}

#[test]
fn a_release_that_does_not_name_a_container_is_not_asked_for_it() {
    let root = Root::new("1.14.0", "1.14.0");
    let all = ["kasm_guac", "kasm_rdp_gateway", "kasm_rdp_https_gateway", "kasm_proxy"];
    assert_eq!(root.installed().containers(Role::Guac), all);
    root.put(
        "/opt/kasm/1.14.0/docker/docker-compose.yaml",
        "services:\n  guac:\n    container_name: kasm_guac\n  proxy:\n    container_name: \"kasm_proxy\"\n",
    );
    assert_eq!(root.installed().containers(Role::Guac), ["kasm_guac", "kasm_proxy"]);
    root.put(
        "/opt/kasm/1.14.0/conf/app/kasmguac.app.config.yaml",
        proxy("kasmguac", &format!("  registration_token: {TOKEN}")),
    );
    assert_eq!(root.differences(&intent(Role::Guac)), [] as [String; 0]);
}

#[test]
fn files_that_are_no_configuration_are_an_error_that_names_the_file_only() {
    let root = Root::new("1.16.1", "1.16.1");
    let file = "/opt/kasm/1.16.1/conf/app/agent.app.config.yaml";
    root.put(file, format!("manager:\n  token: \"{TOKEN}\n"));
    let failure = Failure::from(root.installed().agent().unwrap_err());
    assert_eq!((failure.reason.as_str(), failure.code), ("kasm.not-yaml", 19));
    assert!(!format!("{failure:?}").contains(TOKEN));

    root.put(file, vec![b'#'; (1 << 20) + 1]);
    assert_eq!(root.installed().agent().unwrap_err().reason(), "kasm.unreadable");
    fs::remove_file(root.at(file)).unwrap();
    nix::unistd::mkfifo(&root.at(file), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(root.installed().agent().unwrap_err().reason(), "kasm.unreadable");
}
