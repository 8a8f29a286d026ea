//! Kasm's own flags, long and short, as `install` and `upgrade` take them, and ours beside them: the last
//! layer of the configuration.

use super::Global;
use crate::config::layer::{Origin, Raw};
use crate::config::meaning::{self, Meaning};
use crate::config::{self, Layer, Loaded, schema, value};
use crate::secret::Secret;
use std::convert::Infallible;
use std::path::PathBuf;

/// Kasm's own flags and ours.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KasmFlags {
    /// Accept Kasm's EULA
    #[arg(short = 'e', long, help_heading = KASM)]
    accept_eula: bool,
    /// agent or guac
    #[arg(short = 'S', long, value_name = "ROLE", help_heading = KASM)]
    role: Option<String>,
    /// This node's address: auto, interface:NAME, a name or an address
    #[arg(short = 'p', long, value_name = "ADDRESS", help_heading = KASM)]
    public_hostname: Option<String>,
    /// The manager: host, or host:port
    #[arg(short = 'm', long, value_name = "HOST", help_heading = KASM)]
    manager_hostname: Option<String>,
    /// The manager token (agent); better: --manager-token-file
    #[arg(short = 'M', long, value_name = "TOKEN", help_heading = KASM, allow_hyphen_values = true, value_parser = secret)]
    manager_token: Option<Secret>,
    /// The autoscaler's identifier of this server (agent)
    #[arg(short = 'i', long, value_name = "ID", help_heading = KASM)]
    agent_server_id: Option<String>,
    /// The autoscaler's provider name (agent)
    #[arg(short = 'r', long, value_name = "NAME", help_heading = KASM)]
    agent_provider: Option<String>,
    /// The port of this node's own proxy
    #[arg(short = 'L', long, value_name = "PORT", help_heading = KASM)]
    proxy_port: Option<String>,
    /// Understood, without effect: swap is only made when asked for
    #[arg(short = 'H', long, help_heading = KASM)]
    no_swap_check: bool,
    /// Swap to make where there is none, in MiB
    #[arg(short = 'J', long, value_name = "MIB", help_heading = KASM)]
    swap_size: Option<String>,
    /// The host of Kasm's API (guac)
    #[arg(short = 'n', long, value_name = "HOST", help_heading = KASM)]
    api_hostname: Option<String>,
    /// The component registration token (guac); better:
    /// --registration-token-file
    #[arg(short = 'k', long, value_name = "TOKEN", help_heading = KASM, allow_hyphen_values = true, value_parser = secret)]
    registration_token: Option<Secret>,
    /// The zone this node serves (guac)
    #[arg(short = 'z', long, value_name = "ZONE", help_heading = KASM)]
    server_zone: Option<String>,
    /// A file with Kasm's service images
    #[arg(short = 's', long, value_name = "FILE", help_heading = KASM)]
    offline_service: Option<String>,
    /// A file with Kasm's workspace images
    #[arg(short = 'w', long, value_name = "FILE", help_heading = KASM)]
    offline_workspaces: Option<String>,
    /// A file with Kasm's plugin images
    #[arg(short = 'x', long, value_name = "FILE", help_heading = KASM, visible_alias = "offline-network-plugin")]
    offline_plugin: Option<String>,
    /// Use images that move with their tag
    #[arg(short = 'O', long, help_heading = KASM)]
    use_rolling_images: bool,
    /// Use images that stay as released (from 1.19 on)
    #[arg(short = 'f', long, help_heading = KASM)]
    use_static_images: bool,
    /// Do not install v4l2loopback (webcams)
    #[arg(short = 'X', long, help_heading = KASM)]
    skip_v4l2loopback: bool,
    /// Do not set up egress
    #[arg(long, help_heading = KASM)]
    skip_egress: bool,
    /// Do not install Kasm's own rclone plugin
    #[arg(long, help_heading = KASM)]
    skip_custom_rclone: bool,
    /// Let the installer not check disk space
    #[arg(short = 'b', long, help_heading = KASM)]
    no_check_disk: bool,
    /// Let the installer not check for ports in use
    #[arg(short = 'B', long, help_heading = KASM)]
    no_check_ports: bool,
    /// Let the installer not test the manager
    #[arg(short = 'N', long, help_heading = KASM)]
    skip_connection_test: bool,
    /// Do not start Kasm's services after installing
    #[arg(short = 'D', long, help_heading = KASM)]
    no_start: bool,
    /// An argument for the installer as it is (repeatable)
    #[arg(long, value_name = "ARG", help_heading = KASM, allow_hyphen_values = true)]
    installer_arg: Vec<String>,

    /// Kasm's version
    #[arg(long, value_name = "VERSION", help_heading = RELEASE)]
    release: Option<String>,
    /// Where the release is downloaded from (repeatable: mirrors in order)
    #[arg(long, value_name = "URL", help_heading = RELEASE)]
    release_url: Vec<String>,
    /// The release as a file on this machine
    #[arg(long, value_name = "FILE", help_heading = RELEASE)]
    release_file: Option<String>,
    /// The release's SHA-256, or sidecar: trust the .sha256sum beside it
    #[arg(long, value_name = "HEX", help_heading = RELEASE)]
    sha256: Option<String>,
    /// The minisign key (or its file) that signed TARBALL.minisig
    #[arg(long, value_name = "KEY", help_heading = RELEASE)]
    minisign_key: Option<String>,

    /// A file with the manager token, `-` for standard input
    #[arg(long, value_name = "FILE", help_heading = TOKENS)]
    manager_token_file: Option<String>,
    /// A file with the registration token, `-` for standard input
    #[arg(long, value_name = "FILE", help_heading = TOKENS)]
    registration_token_file: Option<String>,
    /// How tokens must look: auto, jwt or opaque
    #[arg(long, value_name = "FORMAT", help_heading = TOKENS)]
    token_format: Option<String>,

    /// A further certificate authority, PEM (repeatable)
    #[arg(long, value_name = "FILE", help_heading = NETWORK)]
    ca_cert: Vec<String>,
    /// The SHA-256 of the one certificate or public key to accept
    #[arg(long, value_name = "HEX", help_heading = NETWORK)]
    tls_pin: Option<String>,
    /// Accept any certificate (the release's digest still holds)
    #[arg(long, help_heading = NETWORK)]
    insecure: bool,

    /// How long the whole run may take [default: 570s]
    #[arg(long, value_name = "TIME", help_heading = RUN)]
    deadline: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long, help_heading = RUN)]
    pub dry_run: bool,
    /// Leave this preflight check out (repeatable)
    #[arg(long, value_name = "CHECK", help_heading = RUN)]
    skip: Vec<String>,
    /// Wipe the same version where it is there, and install it again
    #[arg(long, help_heading = RUN)]
    force: bool,
}

const KASM: &str = "Kasm's own flags";
const RELEASE: &str = "Release";
const TOKENS: &str = "Tokens";
const NETWORK: &str = "Network";
const RUN: &str = "This run";

/// Any text is a token here: what is wrong with it is for the token's own rules to say.
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

impl KasmFlags {
    /// What the command line says, as the last layer of the configuration.
    pub fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        let mut set = |key: &str, raw: Option<Raw>| set(&mut layer, key, raw);
        let text = |value: &Option<String>| value.clone().map(Raw::Text);
        let path = |value: &Option<String>| value.as_deref().map(|text| Raw::Text(absolute(text)));
        let list = |values: &[String]| (!values.is_empty()).then(|| Raw::List(values.to_vec()));
        let switch = |given: bool| given.then_some(Raw::Boolean(true));
        let token = |value: &Option<Secret>| value.clone().map(Raw::Secret);

        set("accept_eula", switch(self.accept_eula));
        set("role", text(&self.role));
        set("agent.address", text(&self.public_hostname));
        set("manager.address", text(&self.manager_hostname));
        set("manager.token", token(&self.manager_token));
        set("manager.token_file", path(&self.manager_token_file));
        set("agent.server_id", text(&self.agent_server_id));
        set("agent.provider", text(&self.agent_provider));
        set("proxy_port", text(&self.proxy_port));
        set("swap.size", text(&self.swap_size));
        set("guac.api_host", text(&self.api_hostname));
        set("guac.registration_token", token(&self.registration_token));
        set("guac.registration_token_file", path(&self.registration_token_file));
        set("guac.zone", text(&self.server_zone));
        set("installer.offline_service", path(&self.offline_service));
        set("installer.offline_workspaces", path(&self.offline_workspaces));
        set("installer.offline_plugin", path(&self.offline_plugin));
        set("installer.use_rolling_images", switch(self.use_rolling_images));
        set("installer.use_static_images", switch(self.use_static_images));
        set("installer.skip_v4l2loopback", switch(self.skip_v4l2loopback));
        set("installer.skip_egress", switch(self.skip_egress));
        set("installer.skip_custom_rclone", switch(self.skip_custom_rclone));
        set("installer.no_check_disk", switch(self.no_check_disk));
        set("installer.no_check_ports", switch(self.no_check_ports));
        set("installer.skip_connection_test", switch(self.skip_connection_test));
        set("installer.no_start", switch(self.no_start));
        set("installer.args", list(&self.installer_arg));
        set("release.version", text(&self.release));
        set("release.urls", list(&self.release_url));
        set("release.file", path(&self.release_file));
        set("release.sha256", text(&self.sha256));
        set("release.minisign_key", self.minisign_key.as_deref().map(|key| Raw::Text(key_or_path(key))));
        set("token_format", text(&self.token_format));
        set("network.ca_certs", list(&self.ca_cert.iter().map(|path| absolute(path)).collect::<Vec<_>>()));
        set("network.tls_pin", text(&self.tls_pin));
        set("network.insecure", switch(self.insecure));
        set("deadline", text(&self.deadline));
        set("preflight.skip", list(&self.skip));
        set("force", switch(self.force));

        warn_of_visible(&mut layer, self.manager_token.as_ref(), self.registration_token.as_ref());
        layer
    }

    /// Reads the whole configuration, these flags being its last layer.
    pub fn load(&self, global: &Global) -> Result<Loaded, config::Error> {
        self.load_above(global, Layer::default())
    }

    /// The same with a layer below all others.
    pub fn load_above(&self, global: &Global, lowest: Layer) -> Result<Loaded, config::Error> {
        let paths = global.paths();
        config::load_above(lowest, &global.sources(&paths, self.layer()))
    }
}

/// Sets what a flag gives, where it was given.
pub(super) fn set(layer: &mut Layer, key: &str, raw: Option<Raw>) {
    if let (Some(setting), Some(raw)) = (schema::find(key), raw) {
        layer.set(setting, raw, Origin::Flag(setting.flag.unwrap_or("command line")));
    }
}

/// Warns of tokens that stood on the command line.
pub(super) fn warn_of_visible(layer: &mut Layer, manager: Option<&Secret>, registration: Option<&Secret>) {
    for (token, flag) in [(manager, "--manager-token"), (registration, "--registration-token")] {
        if token.is_some() {
            layer.warnings.push(format!(
                "the token given by {flag} was visible to every user of this machine (ps); better: {flag}-file FILE"
            ));
        }
    }
}

fn key_or_path(text: &str) -> String {
    if value::is_path(text) { absolute(text) } else { text.to_owned() }
}

/// Where a relative path of the command line leads: the installer runs in another directory. Standard
/// input and what a template left are no paths.
pub(super) fn absolute(text: &str) -> String {
    if text == "-" || meaning::of(text) != Meaning::Given(text) {
        return text.to_owned();
    }
    let absolute = std::path::absolute(text).unwrap_or_else(|_| PathBuf::from(text));
    absolute.to_str().map_or_else(|| text.to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Merged;
    use crate::intent::AddressChoice;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    #[command(max_term_width = crate::words::CONSOLE)]
    struct Line {
        #[command(flatten)]
        flags: KasmFlags,
    }

    fn parse(line: &str) -> KasmFlags {
        Line::try_parse_from(std::iter::once("x").chain(line.split(' '))).unwrap().flags
    }

    #[test]
    fn the_line_of_kasms_own_script_is_understood_short_and_long() {
        let short =
            "-e -S agent -p None -m kasm.example.com -i a1 -r harvester -L 8443 -J 4096 -H -M -abc --release 1.19.0";
        let long = "--accept-eula --role agent --public-hostname None --manager-hostname kasm.example.com \
                    --agent-server-id a1 --agent-provider harvester --proxy-port 8443 --swap-size 4096 \
                    --no-swap-check --manager-token -abc --release 1.19.0";
        let intent = |line| Merged::of([&parse(line).layer()]).intent().unwrap();
        assert_eq!(intent(short), intent(long));
        let intent = intent(short);
        assert_eq!(intent.address, AddressChoice::Auto);
        assert_eq!(intent.manager.token.expose(), "-abc", "a token with a hyphen is for the token's rules to refuse");
        assert_eq!((intent.proxy_port, intent.swap_mib), (Some(8443), Some(4096)));
        assert_eq!(intent.agent.provider.as_deref(), Some("harvester"));
    }

    #[test]
    fn a_guac_line_and_the_flags_that_move_between_releases_are_understood() {
        let line = "-S guac -n api.example.com -k [COMPONENT_REGISTRATION_TOKEN] -z eu --offline-network-plugin /p.tgz \
                    -B --installer-arg --new --installer-arg x --release 1.19.0 --force";
        let intent = Merged::of([&parse(line).layer()]).intent().unwrap();
        assert_eq!(intent.manager.address.host, "api.example.com");
        assert_eq!(intent.manager.token.expose(), "[COMPONENT_REGISTRATION_TOKEN]");
        assert_eq!(intent.installer.values, [("offline-plugin".to_owned(), "/p.tgz".to_owned())]);
        assert_eq!(intent.installer.flags, ["no-check-ports"]);
        assert_eq!(intent.installer.extra, ["--new", "x"]);
        assert!(intent.force);
    }

    #[test]
    fn tokens_do_not_show_themselves() {
        let flags = parse("-M hunter2hunter2 -k hunter3hunter3");
        assert!(!format!("{flags:?} {:?}", flags.layer()).contains("hunter"));
        assert_eq!(flags.layer().warnings.len(), 2);
    }

    #[test]
    fn each_flag_is_the_one_the_table_of_settings_names() {
        let command = Line::command();
        let longs: Vec<&str> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
        for flag in schema::SETTINGS.iter().filter_map(|setting| setting.flag) {
            assert!(longs.contains(&flag.trim_start_matches("--")), "{flag}");
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        let help = Line::command().render_long_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
