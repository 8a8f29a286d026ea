//! What the Packer template in `packaging/image/` says, read from it.
//!
//! Packer and its Amazon plugin are not asked: they would want the network, and what distributions carry (1.6) does
//! not know half of these settings. So this holds what the template says against the names and values of the
//! plugin's documentation ("Amazon EBS", "Metadata Options", "SSH communicator"; the plugin's `builder.hcl2spec.go`
//! has the same names and types), and does not show that a build with it succeeds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn template(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/image").join(name)).unwrap()
}

/// The settings of the one block with this head, each `NAME` or `BLOCK.NAME` with what stands behind its `=`.
///
/// As much of HCL as the template is written in: one setting, or one brace that opens or closes, a line.
fn settings(text: &str, head: &str) -> BTreeMap<String, String> {
    let mut heads = text.lines().enumerate().filter(|(_, line)| *line == format!("{head} {{"));
    let (at, _) = heads.next().unwrap_or_else(|| panic!("there is no {head}"));
    assert!(heads.next().is_none(), "there is more than one {head}");
    let mut inside: Vec<String> = Vec::new();
    let mut found = BTreeMap::new();
    for line in text.lines().skip(at + 1).map(str::trim) {
        match line.split_once('=') {
            _ if line.is_empty() || line.starts_with('#') => {}
            _ if line == "}" => {
                if inside.pop().is_none() {
                    return found;
                }
            }
            _ if line.ends_with('{') => inside.push(line.trim_end_matches(['{', ' ', '=']).to_owned()),
            Some((name, value)) => {
                let name = inside.iter().map(String::as_str).chain([name.trim()]).collect::<Vec<_>>().join(".");
                let again = found.insert(name, value.trim().to_owned());
                assert_eq!(again, None, "said twice: {line}");
            }
            None => panic!("not a setting: {line}"),
        }
    }
    panic!("{head} does not end")
}

#[test]
fn the_build_machine_and_every_machine_of_the_image_answer_only_with_an_imdsv2_token() {
    let text = template("ec2.pkr.hcl");
    let said = settings(&text, r#"source "amazon-ebs" "agent""#);
    // The image: machines made from it begin with version 2 alone.
    assert_eq!(said["imds_support"], r#""v2.0""#);
    // The machine it is built on.
    let metadata: Vec<(&str, &str)> = said
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("metadata_options.")?, value.as_str())))
        .collect();
    let wanted =
        [("http_endpoint", r#""enabled""#), ("http_put_response_hop_limit", "2"), ("http_tokens", r#""required""#)];
    assert_eq!(metadata, wanted);
    // No other machine or image is made here that they would not be about.
    assert_eq!(text.lines().filter(|line| line.starts_with("source ")).count(), 1);
    assert!(settings(&text, "build")["sources"].contains("source.amazon-ebs.agent"));
}

#[test]
fn packers_own_key_does_not_stay_in_the_image() {
    let said = settings(&template("ec2.pkr.hcl"), r#"source "amazon-ebs" "agent""#);
    assert_eq!(said["ssh_clear_authorized_keys"], "true");
}

#[test]
fn a_packer_that_does_not_know_these_settings_is_refused_by_the_template_itself() {
    let text = template("plugins.pkr.hcl");
    let said = settings(&text, "packer");
    assert_eq!(said["required_version"], r#"">= 1.9.0""#);
    assert_eq!(said["required_plugins.amazon.version"], r#"">= 1.2.8""#);
}
