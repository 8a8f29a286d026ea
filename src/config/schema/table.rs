//! The settings themselves.

use super::Kind::{
    Address, Boolean, Choice, Count, Digest, Duration, Endpoint, HostPort, Mebibytes, MinisignKey, Path, Paths, Pin,
    Port, Secret, SecretFile, Texts, Url, Urls, Version, Word,
};
use super::{Setting, setting};

/// Every setting, in the order in which a person would want to read them.
pub static SETTINGS: &[Setting] = &[
    setting("role", Choice(&["agent", "guac"]), "none: it must be set", "\"agent\"", "What this node is")
        .flag("--role"),
    setting("accept_eula", Boolean, "true: a run without a person cannot ask", "true", "Accept Kasm's EULA")
        .flag("--accept-eula"),
    setting(
        "token_format",
        Choice(&["auto", "jwt", "opaque"]),
        "auto: by its look, strictly",
        "\"jwt\"",
        "How manager and registration tokens must look",
    )
    .flag("--token-format"),
    setting(
        "deadline",
        Duration,
        "570s: Kasm destroys a machine that has not checked in after 600 s",
        "\"570s\"",
        "How long the whole run may take",
    )
    .flag("--deadline")
    .also(&["budget", "timeout"]),
    setting("proxy_port", Port, "the release's own, 443", "443", "The port of this node's own proxy")
        .flag("--proxy-port")
        .also(&["port"]),
    setting(
        "force",
        Boolean,
        "false",
        "true",
        "Wipe the same version where it is installed already, and install it again",
    )
    .flag("--force")
    .flag_only(),
    setting(
        "release.version",
        Version,
        "read from the tarball's name",
        "\"1.19.0\"",
        "Kasm's version; without urls and file it picks the official URL, and the digest where Kasm publishes one",
    )
    .flag("--release"),
    setting(
        "release.urls",
        Urls,
        "the official URL of release.version",
        "[\"https://mirror.example/kasm_release_1.19.0.tar.gz\"]",
        "Where the release is downloaded from: mirrors in the order they are tried (http, https, file)",
    )
    .flag("--release-url")
    .also(&["url", "mirror", "mirrors"]),
    setting(
        "release.file",
        Path,
        "none: it is downloaded",
        "\"/var/lib/images/kasm_release_1.19.0.tar.gz\"",
        "The release as a file on this machine, tried before the URLs",
    )
    .flag("--release-file"),
    setting(
        "release.sha256",
        Digest,
        "the published digest, where there is one; else it must be set",
        "\"7b801cb0579a7867df46b6da873fe8dd631db07d4c05349e5bd1aea27130c37d\"",
        "The release's SHA-256, or \"sidecar\" to trust the .sha256sum beside the tarball",
    )
    .flag("--sha256")
    .also(&["digest", "checksum"]),
    setting(
        "release.minisign_key",
        MinisignKey,
        "none: no signature is asked for",
        "\"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"",
        "The minisign public key (or its file) whose signature must lie beside the tarball, as TARBALL.minisig; with \
         it sha256 may be left out",
    )
    .flag("--minisign-key")
    .also(&["minisign", "signature", "public_key"]),
    setting(
        "manager.address",
        HostPort,
        "none: it must be set",
        "\"kasm.example.com\"",
        "The manager: host, or host:port (in a startup script: \"{upstream_auth_address}\")",
    )
    .flag("--manager-hostname")
    .also(&["manager_hostname", "hostname", "upstream_auth_address"]),
    setting("manager.token", Secret, "none: an agent needs it", "\"{manager_token}\"", "The manager token (agent)")
        .flag("--manager-token")
        .credential("manager-token"),
    setting(
        "manager.token_file",
        SecretFile,
        "none",
        "\"/etc/kasm-bootstrap/manager-token\"",
        "A file with the manager token in it",
    )
    .flag("--manager-token-file")
    .fills("manager.token"),
    setting("manager.wait", Duration, "2m", "\"2m\"", "How long to wait for the manager's health check to answer"),
    setting(
        "manager.checkin_token",
        Secret,
        "none",
        "\"{checkin_jwt}\"",
        "A server pool's check-in token, with which the manager is told how far this node is",
    )
    .credential("checkin-token")
    .also(&["checkin_jwt"]),
    setting(
        "manager.checkin_token_file",
        SecretFile,
        "none",
        "\"/etc/kasm-bootstrap/checkin-token\"",
        "A file with the check-in token in it",
    )
    .fills("manager.checkin_token"),
    setting("manager.api_key", Secret, "none", "\"YOUR_API_KEY\"", API_KEY).credential("api-key"),
    setting(
        "manager.api_key_file",
        SecretFile,
        "none",
        "\"/etc/kasm-bootstrap/api-key\"",
        "A file with the developer API's key in it",
    )
    .fills("manager.api_key"),
    setting("manager.api_key_secret", Secret, "none", "\"YOUR_API_KEY_SECRET\"", "The secret of that key")
        .credential("api-key-secret"),
    setting(
        "manager.api_key_secret_file",
        SecretFile,
        "none",
        "\"/etc/kasm-bootstrap/api-key-secret\"",
        "A file with the secret of that key in it",
    )
    .fills("manager.api_key_secret"),
    setting(
        "agent.address",
        Address,
        "auto: the address from which this machine reaches the manager",
        "\"auto\"",
        "Where this node is reached, whatever its role: auto, interface:NAME, CLOUD-private or CLOUD-public (ec2, gcp, \
         azure, oci, digitalocean, openstack), a name or an address",
    )
    .flag("--public-hostname")
    .also(&["public_hostname", "interface"]),
    setting("agent.server_id", Word, "none", "\"{server_id}\"", "The autoscaler's identifier of this server (agent)")
        .flag("--agent-server-id")
        .also(&["agent_server_id"]),
    setting("agent.provider", Word, "none", "\"{provider_name}\"", "The autoscaler's provider name (agent)")
        .flag("--agent-provider")
        .also(&["agent_provider", "provider_name"]),
    setting("agent.enable", Boolean, "as the manager has it", "true", ENABLE),
    setting(
        "agent.cores",
        Count,
        "as the manager has it",
        "8",
        "How many processors the manager counts this agent with",
    ),
    setting(
        "agent.memory",
        Mebibytes,
        "as the manager has it",
        "\"16G\"",
        "How much memory the manager counts this agent with: MiB, or with a unit",
    ),
    setting(
        "guac.registration_token",
        Secret,
        "none: a guac node needs it",
        "\"YOUR_REGISTRATION_TOKEN\"",
        "The component registration token (guac)",
    )
    .flag("--registration-token")
    .credential("registration-token"),
    setting(
        "guac.registration_token_file",
        SecretFile,
        "none",
        "\"/etc/kasm-bootstrap/registration-token\"",
        "A file with the component registration token in it",
    )
    .flag("--registration-token-file")
    .fills("guac.registration_token"),
    setting("guac.zone", Word, "the release's own, default", "\"default\"", "The zone this node serves (guac)")
        .flag("--server-zone")
        .also(&["server_zone"]),
    setting(
        "guac.api_host",
        HostPort,
        "manager.address",
        "\"kasm.example.com\"",
        "The host of Kasm's API, where it is not the manager's address (guac)",
    )
    .flag("--api-hostname")
    .also(&["api_hostname"]),
    setting(
        "swap.size",
        Mebibytes,
        "none: the machine's swap is left alone",
        "\"8G\"",
        "Swap to make where the machine has none: MiB, or with a unit",
    )
    .flag("--swap-size")
    .also(&["swap_size"]),
    setting("apt.wait", Duration, "5m", "\"5m\"", "How long the package manager may stay busy"),
    setting(
        "run.ready",
        Choice(&["healthy", "at-once"]),
        "healthy",
        "\"healthy\"",
        "When `run` tells systemd that it is ready: when the node is healthy, or at once",
    ),
    setting(
        "run.wait",
        Duration,
        "10m",
        "\"10m\"",
        "How long `run` waits for a configuration that is not complete yet",
    )
    .also(&["config_wait"]),
    setting(
        "run.console",
        Boolean,
        "true",
        "true",
        "Whether `run` tells its steps on the machine's serial console, too",
    ),
    setting("run.watch", Duration, "30s", "\"30s\"", "How often `run` looks at the containers of a node that is up")
        .also(&["interval"]),
    setting(
        "run.user_data",
        Choice(&["auto", "off", "ec2", "nocloud", "config-drive"]),
        "auto: EC2's metadata service on EC2, and a disk labelled cidata or config-2 where one is there",
        "\"nocloud\"",
        "Where the boot looks for user-data that begins with #kasm-bootstrap",
    ),
    setting(
        "http.listen",
        HostPort,
        "none: only the socket /run/kasm-bootstrap/http.sock",
        "\"127.0.0.1:9107\"",
        "Where `run` also answers HTTP requests about the node, address and port: probes, metrics, a page; anybody who \
         can reach it can read it",
    ),
    setting("repair.method", Choice(&["both", "file", "yaml"]), "both", "\"both\"", REPAIR_METHOD),
    setting(
        "webhook.url",
        Url,
        "none: nobody is told",
        "\"https://hooks.example.com/kasm\"",
        "Who is told by HTTP POST what happens on this node (docs/webhook.md)",
    ),
    setting(
        "webhook.form",
        Choice(&["events", "phone-home"]),
        "events",
        "\"events\"",
        "JSON for each event, or one form at a good end, as cloud-init's phone_home sends it",
    ),
    setting(
        "webhook.events",
        Choice(&["all", "changes", "end"]),
        "changes",
        "\"changes\"",
        "What is told: all; beginnings, warnings, failures, ends and changes of health; or only how runs end",
    ),
    setting(
        "webhook.secret",
        Secret,
        "none: events are not signed",
        "\"YOUR_WEBHOOK_SECRET\"",
        "What events are signed with (HMAC-SHA256); at least 16 bytes",
    )
    .credential("webhook-secret"),
    setting(
        "webhook.secret_file",
        SecretFile,
        "none",
        "\"/etc/kasm-bootstrap/webhook-secret\"",
        "A file with that secret in it",
    )
    .fills("webhook.secret"),
    setting(
        "metadata.endpoint",
        Endpoint,
        "http://169.254.169.254",
        "\"http://[fd00:ec2::254]\"",
        "Where the cloud's metadata service answers",
    ),
    setting(
        "network.ca_certs",
        Paths,
        "none: the system's authorities alone",
        "[\"/etc/ssl/private-ca.pem\"]",
        "Further certificate authorities, PEM files",
    )
    .flag("--ca-cert")
    .also(&["ca_cert", "ca"]),
    setting(
        "network.tls_pin",
        Pin,
        "none",
        "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
        "The SHA-256 of the one certificate or public key to accept, whoever issued it",
    )
    .flag("--tls-pin"),
    setting(
        "network.insecure",
        Boolean,
        "false",
        "true",
        "Accept any certificate; the release is still verified by its digest",
    )
    .flag("--insecure"),
    setting("health.settle", Duration, "10s", "\"10s\"", "How long containers must stay up without a restart"),
    setting(
        "health.enable_sidecar",
        Boolean,
        "false",
        "true",
        "Whether `run` enables Kasm's sidecar plugin where Docker has it disabled, at most 3 times an hour",
    ),
    setting(
        "health.repair_tokens",
        Boolean,
        "false",
        "true",
        "Whether `run` repairs broken tokens as `token repair` does, with the configured token, at most once an hour",
    ),
    setting(
        "health.restart_components",
        Count,
        "0: never",
        "3",
        "How often an hour `run` restarts a component's container that does not stay up",
    ),
    setting(
        "preflight.skip",
        Texts,
        "none",
        "[\"wireguard\"]",
        "Checks to leave out, by the names that `kasm-bootstrap preflight` shows",
    )
    .flag("--skip"),
    setting(
        "installer.args",
        Texts,
        "none",
        "[\"--some-new-flag\"]",
        "Arguments for Kasm's installer as they are, after all others",
    )
    .flag("--installer-arg"),
    value("installer.offline_service", "--offline-service", "A file with Kasm's service images"),
    value("installer.offline_workspaces", "--offline-workspaces", "A file with Kasm's workspace images"),
    value("installer.offline_plugin", "--offline-plugin", "A file with Kasm's plugin images"),
    switch("installer.use_rolling_images", "--use-rolling-images", "Use images that move with their tag"),
    switch("installer.use_static_images", "--use-static-images", "Use images that stay as released (from 1.19 on)"),
    switch("installer.skip_v4l2loopback", "--skip-v4l2loopback", "Do not install v4l2loopback (webcams)"),
    switch("installer.skip_egress", "--skip-egress", "Do not set up egress"),
    switch("installer.skip_custom_rclone", "--skip-custom-rclone", "Do not install Kasm's own rclone plugin"),
    switch("installer.no_check_disk", "--no-check-disk", "Let the installer not check disk space"),
    switch("installer.no_check_ports", "--no-check-ports", "Let the installer not check for ports in use"),
    switch("installer.skip_connection_test", "--skip-connection-test", "Let the installer not test the manager"),
    switch("installer.no_start", "--no-start", "Do not start Kasm's services after installing"),
];

const API_KEY: &str =
    "A key of Kasm's developer API that may see and change agents: for agent.enable, cores and memory";
const ENABLE: &str = "Whether the manager may start sessions on this agent, once it is up (agent)";
const REPAIR_METHOD: &str = "Where `token repair` puts a registration token: registration_token.txt, the YAML, both";

/// One of Kasm's own flags that takes no value.
const fn switch(key: &'static str, flag: &'static str, doc: &'static str) -> Setting {
    setting(key, Boolean, "false", "true", doc).flag(flag)
}

/// One of Kasm's own flags that takes a file.
const fn value(key: &'static str, flag: &'static str, doc: &'static str) -> Setting {
    setting(key, Path, "none", "\"/var/lib/images/images.tar.gz\"", doc).flag(flag)
}
