//! The tokens that an installed node holds, in both layouts, good and bad.

mod signed;

use kasm_bootstrap::error::Explain;
use kasm_bootstrap::intent::Role;
use kasm_bootstrap::kasm::held::{self, Held, Verdict};
use kasm_bootstrap::kasm::layout::Installed;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::token::{Context, Form, Kind, Signature};
use signed::{ID, Jwt, certificate};
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const TOKEN: &str = "aVeryOpaqueToken1234";

struct Root(TempDir);

impl Root {
    fn new() -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        fs::create_dir_all(root.paths().at("/opt/kasm/1.18.1/conf/app")).unwrap();
        symlink("/opt/kasm/1.18.1", root.paths().kasm_current()).unwrap();
        root
    }

    fn paths(&self) -> Paths {
        Paths::below(self.0.path())
    }

    fn put(&self, file: &str, text: &str) {
        let path = self.paths().at("/opt/kasm/1.18.1/conf/app").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn held(&self, role: Option<Role>) -> Vec<Held> {
        let installed = Installed::read(&self.paths()).unwrap();
        held::read(&installed, role, &Context::at(jiff::Timestamp::now())).unwrap()
    }

    /// The tokens of a guac whose file has this in its own section, and this behind `auth_token`.
    fn guac(&self, own: &str, auth: &str) -> Vec<Held> {
        self.put("guac/kasmguac.app.config.yaml", &guac(own, auth, &certificate()));
        self.held(Some(Role::Guac))
    }

    /// What a guac's auth token is worth.
    fn auth(&self, auth: &str) -> Verdict {
        let mut held = self.guac("", auth);
        assert_eq!((held.len(), held[0].key.as_str()), (1, "api.auth_token"));
        held.remove(0).verdict
    }
}

fn guac(own: &str, auth: &str, certificate: &str) -> String {
    let certificate: String = certificate.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "kasmguac:\n  id: {ID}\n  zone: default\n{own}\napi:\n  hostnames: [kasm.example.com]\n  auth_token: {auth}\n  \
         public_jwt_cert: |\n{certificate}"
    )
}

#[test]
fn a_registered_components_token_is_verified_by_the_key_in_its_own_file() {
    let root = Root::new();
    let Verdict::Accepted(accepted) = root.auth(&Jwt::default().signed()) else { panic!() };
    assert_eq!((accepted.form, accepted.signature), (Form::Jwt, Signature::Verified));
    let claims = accepted.claims.unwrap();
    assert_eq!(claims.authorizations, [80]);
    assert_eq!(claims.connection_proxy_id.unwrap(), ID.replace('-', ""));
    // Quoted and in one line, as other writers of YAML have it.
    let line = certificate().replace('\n', "\\n");
    for quoted in [format!("\"{line}\""), format!("'{line}'"), line] {
        let jwt = Jwt::default().signed();
        let text =
            format!("kasmguac: {{id: {ID}, zone: x}}\napi:\n  auth_token: '{jwt}'\n  public_jwt_cert: {quoted}\n");
        root.put("guac/kasmguac.app.config.yaml", &text);
        assert!(root.held(None)[0].verdict.is_good(), "{quoted}");
    }
}

#[test]
fn what_a_faulty_upgrade_leaves_in_the_place_of_a_token_is_refused_by_name() {
    let root = Root::new();
    for (auth, reason) in [
        ("false", "token.placeholder"),
        ("\"false\"", "token.placeholder"),
        ("443", "token.not-enough-segments"),
        ("[COMPONENT]", "token.missing"),
        ("null", "token.missing"),
        ("''", "token.missing"),
        ("aaa.bbb", "token.not-enough-segments"),
    ] {
        let verdict = root.auth(auth);
        assert_eq!(verdict.reason(), Some(reason), "{auth}: {verdict}");
        assert!(!verdict.is_good() && verdict.accepted().is_none());
    }
    let words = root.auth("443").to_string();
    insta::assert_snapshot!(words, @r#"is not a JSON Web Token: it has 1 segment between dots, not 3 ("Not enough segments")"#);
}

#[test]
fn a_token_that_is_expired_changed_or_for_somebody_else_is_not_good() {
    let root = Root::new();
    let expired = Jwt { expires_in: -7200, ..Jwt::default() };
    let foreign = Jwt { id: "0".repeat(32), ..Jwt::default() };
    let table = [
        (expired, "token.expired"),
        (Jwt { key: "test-only-rsa-other.key.pem", ..Jwt::default() }, "token.signature-mismatch"),
        (Jwt { authorizations: "[90]", ..Jwt::default() }, "token.wrong-class"),
        (Jwt { authorizations: "[]", ..Jwt::default() }, "token.wrong-class"),
        (Jwt { authorizations: "\"80\"", ..Jwt::default() }, "token.wrong-class"),
        (foreign, "token.other-component"),
    ];
    for (jwt, reason) in table {
        let verdict = root.auth(&jwt.signed());
        assert_eq!(verdict.reason(), Some(reason), "{verdict}");
    }
    let wrong = root.auth(&Jwt { authorizations: "[90, 3]", ..Jwt::default() }.signed());
    insta::assert_snapshot!(wrong, @"is of the wrong class: it allows 90, 3, and 80 is needed");
    let foreign = root.auth(&Jwt { id: "f".repeat(32), ..Jwt::default() }.signed());
    insta::assert_snapshot!(foreign, @"belongs to another component: it was made for ffffffffffffffffffffffffffffffff, and this one's id is 0f8fad5b-d9cb-469f-a165-70867728950e");
    // The rights of the gateways are others than guac's.
    let gateway = guac("", &Jwt { authorizations: "[90]", ..Jwt::default() }.signed(), &certificate());
    root.put("rdp_gateway/passthrough.app.config.yaml", &gateway.replace("kasmguac:", "rdp-gateway:"));
    let held = root.held(Some(Role::Guac));
    assert_eq!((held[1].component, held[1].verdict.reason()), ("rdp_gateway", None));
}

#[test]
fn without_a_usable_certificate_a_token_is_not_called_good() {
    let root = Root::new();
    let jwt = Jwt::default().signed();
    for (certificate, words) in [
        ("", "cannot be verified: the file has no api.public_jwt_cert"),
        (
            "no PEM",
            "cannot be verified: the api.public_jwt_cert beside it cannot be used, it holds no PEM block with a public \
             key or certificate",
        ),
    ] {
        root.put("guac/kasmguac.app.config.yaml", &guac("", &jwt, certificate));
        let verdict = root.held(None).remove(0).verdict;
        assert_eq!((verdict.to_string().as_str(), verdict.reason()), (words, Some("token.not-verified")));
        assert!(verdict.accepted().is_some());
    }
}

#[test]
fn a_component_that_still_has_to_register_holds_its_registration_token() {
    let root = Root::new();
    let held = root.guac(&format!("  registration_token: {TOKEN}"), "''");
    assert_eq!(held.len(), 2);
    assert_eq!((held[0].key.as_str(), held[0].kind), ("kasmguac.registration_token", Kind::Registration));
    assert!(held[0].verdict.is_good() && held[1].verdict == Verdict::Missing);
    // And the file that gives it one again.
    root.put("guac/registration_token.txt", &format!("{TOKEN}\n"));
    let held = root.guac("", "''");
    assert_eq!((held.len(), held[1].key.as_str(), held[1].verdict.is_good()), (2, "registration_token.txt", true));
    assert_eq!(held[1].place(&root.paths()), "/opt/kasm/1.18.1/conf/app/guac/registration_token.txt");
    root.put("guac/registration_token.txt", "[COMPONENT_REGISTRATION_TOKEN]");
    assert_eq!(root.guac("", "''")[1].verdict.reason(), Some("token.placeholder"));
    let told = format!("{:?} {}", root.guac("", TOKEN), root.guac("", TOKEN)[0].describe(&root.paths()));
    assert!(!told.contains(TOKEN), "{told}");
}

#[test]
fn an_agents_manager_token_and_the_older_layout_are_read_too() {
    let root = Root::new();
    root.put("agent.app.config.yaml", &format!("agent: {{server_id: a}}\nmanager: {{token: {TOKEN}}}\n"));
    root.put("kasmguac.app.config.yaml", &guac("", "false", &certificate()));
    root.put("passthrough.app.config.yaml", &guac("", "false", &certificate()));
    root.put("registration_token.txt", TOKEN);
    let keys: Vec<String> =
        root.held(None).into_iter().map(|held| format!("{} {}", held.component, held.key)).collect();
    assert_eq!(
        keys,
        ["agent manager.token", "guac api.auth_token", "guac registration_token.txt", "rdp_gateway api.auth_token"]
    );
    assert_eq!(root.held(Some(Role::Agent)).len(), 1);
    assert_eq!(root.held(Some(Role::Guac)).len(), 3);
    root.put("agent.app.config.yaml", "manager: {token: null}\n");
    assert_eq!(root.held(Some(Role::Agent))[0].verdict, Verdict::Missing);
    root.put("agent.app.config.yaml", "manager: {token: \"");
    let installed = Installed::read(&root.paths()).unwrap();
    let error = held::read(&installed, None, &Context::at(jiff::Timestamp::now())).unwrap_err();
    assert_eq!(error.reason(), "kasm.not-yaml");
}
