use super::*;
use crate::error::{Exit, Explain, Failure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::ToSpan;
use proptest::prelude::*;

const OPAQUE: &str = "Zq7Rk2mXw9Lp4Tn8Vb3s";

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn jwt(header: &str, payload: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signature = URL_SAFE_NO_PAD.encode([0x5a; 256]);
    format!("{}.{}.{signature}", encode(header), encode(payload))
}

fn expiring(at: Timestamp) -> String {
    jwt(r#"{"alg":"RS256"}"#, &format!("{{\"exp\":{}}}", at.as_second()))
}

fn check_at(kind: Kind, format: Format, text: &str, context: &Context) -> Result<Accepted, Error> {
    let result = check(kind, format, &Secret::new(text), context);
    if text.len() >= 12
        && let Err(error) = &result
    {
        let failure = Failure::from(error.clone());
        let shown = matches!(error, Error::Refused { refusal: Refusal::Placeholder(_), .. });
        assert!(shown || !format!("{error:?} {failure:?}").contains(text), "the token shows in {failure:?}");
    }
    result
}

fn verdict(kind: Kind, format: Format, text: &str) -> Result<Accepted, Error> {
    check_at(kind, format, text, &Context::at(now()))
}

fn reason(kind: Kind, format: Format, text: &str) -> &'static str {
    verdict(kind, format, text).map_or_else(|error| error.reason(), |accepted| accepted.form.as_str())
}

fn said(kind: Kind, text: &str) -> String {
    said_at(kind, text, &Context::at(now()))
}

fn said_at(kind: Kind, text: &str, context: &Context) -> String {
    match check_at(kind, Format::Auto, text, context) {
        Ok(accepted) => format!("accepted\n{}", accepted.warnings.join("\n")),
        Err(error) => format!("{error}\n{}", error.help()),
    }
}

#[test]
fn tokens_as_kasm_makes_them_are_accepted() {
    let day = expiring(now() + 24.hours());
    let uuid = "0b1f5a52-8f0e-4a3c-9d57-3f6f6a1b2c3d";
    for kind in [Kind::Manager, Kind::Registration] {
        for opaque in [OPAQUE, uuid, "abcdefghijk1", "Abcdefghijklmnopqrstuvwxyz"] {
            assert_eq!(reason(kind, Format::Auto, opaque), "opaque");
            assert_eq!(reason(kind, Format::Opaque, opaque), "opaque");
            assert_eq!(reason(kind, Format::Jwt, opaque), "token.not-enough-segments");
        }
        assert_eq!(reason(kind, Format::Auto, &day), "jwt");
        assert_eq!(reason(kind, Format::Jwt, &day), "jwt");
    }
    for kind in [Kind::CheckIn, Kind::Auth] {
        assert_eq!(reason(kind, Format::Auto, &day), "jwt");
        assert_eq!(reason(kind, Format::Auto, OPAQUE), "token.not-enough-segments");
        assert_eq!(reason(kind, Format::Opaque, &day), "token.always-jwt");
    }
    let accepted = verdict(Kind::Auth, Format::Auto, &day).unwrap();
    assert_eq!(accepted.claims.unwrap().exp, Some(now() + 24.hours()));
    assert_eq!((accepted.signature, accepted.warnings), (Signature::NotChecked, vec![]));
}

#[test]
fn the_shape_is_checked_first_whatever_the_kind() {
    let day = expiring(now() + 24.hours());
    for (text, wanted) in [
        ("", "token.empty"),
        (" \t ", "token.empty"),
        ("\n", "token.empty"),
        ("Zq7Rk2mXw9\nLp4Tn8Vb3s", "token.not-one-line"),
        ("Zq7Rk2mXw9Lp4Tn8Vb3s\r\n", "token.not-one-line"),
        ("\"Zq7Rk2mXw9Lp4Tn8Vb3s\"", "token.quoted"),
        ("'Zq7Rk2mXw9Lp4Tn8Vb3s", "token.quoted"),
        ("“Zq7Rk2mXw9Lp4Tn8Vb3s”", "token.quoted"),
        (" Zq7Rk2mXw9Lp4Tn8Vb3s", "token.blank"),
        ("Zq7Rk2mXw9Lp4Tn8Vb3s\u{a0}", "token.blank"),
        ("Bearer Zq7Rk2mXw9Lp4Tn8Vb3s", "token.blank"),
        ("--registration-token2", "token.starts-with-dash"),
        ("-Zq7Rk2mXw9Lp4Tn8Vb3s", "token.starts-with-dash"),
    ] {
        for kind in [Kind::Manager, Kind::Registration, Kind::CheckIn, Kind::Auth] {
            for format in [Format::Auto, Format::Jwt] {
                assert_eq!(reason(kind, format, text), wanted, "{text:?}");
            }
        }
    }
    for text in ["Zq7Rk2mXw9/p4Tn8Vb3s", "Zq7Rk2mXw9&p4Tn8Vb3s", "Zq7Rk2mXw9\u{0}p4Tn8Vb3s", "Zq7Rk2mXw9Lp4Tn8Vb3ß"] {
        assert_eq!(reason(Kind::Manager, Format::Auto, text), "token.character");
    }
    assert_eq!(reason(Kind::Manager, Format::Auto, &format!("{day}.{}", "x".repeat(9000))), "token.too-long");
}

#[test]
fn placeholders_are_recognised_in_every_dress() {
    for text in [
        "[COMPONENT_REGISTRATION_TOKEN]",
        "<manager token>",
        "<your-token-here>",
        "{manager_token}",
        "{{ manager_token }}",
        "{checkin_jwt}",
        "$TOKEN",
        "${MANAGER_TOKEN}",
        "$(cat /run/token)",
        "$1",
        "%MANAGER_TOKEN%",
        "prefix-{{token}}-suffix",
        "prefix-${TOKEN}",
        "None",
        "NULL",
        "nil",
        "false",
        "True",
        "undefined",
        "password",
        "ChangeMe",
        "change-me",
        "changeme123",
        "YOUR_TOKEN",
        "your-Zq7Rk2mXw9Lp4Tn8",
        "manager-token",
        "manager_token",
        "MANAGER_TOKEN",
        "registration_token",
        "COMPONENT_REGISTRATION_TOKEN",
        "registrationtoken",
        "token",
        "TOKEN",
        "auth_token",
        "REPLACE_WITH_REAL_TOKEN",
        "manager.token",
        "********************",
        "••••••••••••••••",
    ] {
        for kind in [Kind::Manager, Kind::Registration, Kind::CheckIn, Kind::Auth] {
            assert_eq!(reason(kind, Format::Auto, text), "token.placeholder", "{text}");
        }
        assert_eq!(reason(Kind::Manager, Format::Opaque, text), "token.placeholder", "{text}");
    }
}

#[test]
fn a_real_token_in_brackets_is_not_shown() {
    for text in ["[Zq7Rk2mXw9Lp4Tn8Vb3s]", "<Zq7Rk2mXw9Lp4Tn8Vb3s>", "$Zq7Rk2mXw9", "your_Zq7Rk2mXw9", "%Zq7Rk2mXw9%"] {
        let said = said(Kind::Manager, text);
        assert!(!said.contains("Zq7Rk2mXw9"), "{said}");
    }
}

#[test]
fn the_refusal_of_a_placeholder_says_what_happened_and_where_the_token_is() {
    insta::assert_snapshot!(said(Kind::Registration, "[COMPONENT_REGISTRATION_TOKEN]"), @r#"
    the component registration token is the placeholder [COMPONENT_REGISTRATION_TOKEN] out of an example, not a token (PyJWT: "Not enough segments")
    copy the Component Registration Token from the Admin UI: Settings, Global, Authentication
    "#);
    insta::assert_snapshot!(said(Kind::Manager, "{manager_token}"), @"
    the manager token is the variable {manager_token}, which nothing replaced
    a startup script that Kasm renders replaces variables in single braces; doubled braces stay as they are; take the manager token from the Admin UI, or let Kasm put it in place of {manager_token} in a startup script
    ");
    insta::assert_snapshot!(said(Kind::Auth, "false"), @r#"
    the component auth token is the word false, which templates and scripts leave where they have no value (PyJWT: "Not enough segments")
    `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(said(Kind::Manager, "<Zq7Rk2mXw9>"), @"
    the manager token holds a placeholder in angle brackets
    take the manager token from the Admin UI, or let Kasm put it in place of {manager_token} in a startup script
    ");
    insta::assert_snapshot!(said(Kind::CheckIn, "${CHECKIN_JWT}"), @r#"
    the check-in token is the variable ${CHECKIN_JWT}, which nothing replaced (PyJWT: "Not enough segments")
    make sure that the variable is set, and that the shell sees it outside single quotes; use what Kasm puts in place of {checkin_jwt} in a server pool's startup script; it is valid for 4 hours
    "#);
    insta::assert_snapshot!(said(Kind::Manager, "********"), @"
    the manager token is a row of dots or asterisks, as a screen shows a hidden token
    copy the token itself, not what the screen shows in its place; take the manager token from the Admin UI, or let Kasm put it in place of {manager_token} in a startup script
    ");
}

#[test]
fn what_looks_like_a_json_web_token_must_be_one() {
    let good = expiring(now() + 24.hours());
    let expired = expiring(now() - 24.hours());
    for kind in [Kind::Manager, Kind::Registration] {
        assert_eq!(reason(kind, Format::Auto, "Zq7Rk2mXw9.p4Tn8Vb3s"), "token.not-enough-segments");
        assert_eq!(reason(kind, Format::Auto, "eyJhbGciOiJSUzI1NiJ9"), "token.not-enough-segments");
        for format in [Format::Auto, Format::Jwt, Format::Opaque] {
            assert_eq!(reason(kind, format, &expired), "token.expired");
            assert_eq!(reason(kind, format, &good[..good.len() - 1]), "token.signature-padding");
            assert_eq!(reason(kind, format, "aaaa.bbbb.cccc"), "token.header-json");
        }
        // One dot may stand in a random string, if somebody says that it is one.
        assert_eq!(reason(kind, Format::Opaque, "Zq7Rk2mXw9.p4Tn8Vb3s"), "opaque");
        assert_eq!(reason(kind, Format::Opaque, &good), "token.too-long");
    }
}

#[test]
fn opaque_tokens_have_bounds() {
    let length = |count: usize| "Zq7R".chars().cycle().take(count).collect::<String>();
    for (count, wanted) in [(11, "token.too-short"), (12, "opaque"), (128, "opaque"), (129, "token.too-long")] {
        assert_eq!(reason(Kind::Manager, Format::Auto, &length(count)), wanted, "{count}");
    }
    assert_eq!(reason(Kind::Manager, Format::Auto, &"x".repeat(20)), "token.repeated");
}

#[test]
fn the_clock_that_counts_is_the_managers() {
    let token = expiring(now());
    let hours = |ours: i64, manager: Option<i64>| {
        let context =
            Context { manager_time: manager.map(|hours| now() + hours.hours()), ..Context::at(now() + ours.hours()) };
        said_at(Kind::Auth, &token, &context)
    };
    insta::assert_snapshot!(hours(3, None), @r#"
    the component auth token expired 3 hours ago, at 2026-01-01T00:00:00Z, by this machine's clock (PyJWT: "Signature has expired")
    if 2026-01-01T03:00:00Z is not the right time, set this machine's clock; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(hours(3, Some(3)), @r#"
    the component auth token expired 3 hours ago, at 2026-01-01T00:00:00Z, by the manager's clock and by this machine's (PyJWT: "Signature has expired")
    `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(hours(3, Some(-2)), @"
    accepted
    this machine's clock is 5 hours ahead of the manager's; the token is good by the manager's
    ");
    insta::assert_snapshot!(hours(-50, Some(1)), @r#"
    the component auth token expired 1 hour ago, at 2026-01-01T00:00:00Z, by the manager's clock; this machine's clock is 2 days 3 hours behind the manager's (PyJWT: "Signature has expired")
    set this machine's clock; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    let born = jwt(r#"{"alg":"RS256"}"#, &format!("{{\"iat\":{}}}", now().as_second()));
    insta::assert_snapshot!(said_at(Kind::Auth, &born, &Context::at(now() - 400.hours())), @r#"
    the component auth token was issued at 2026-01-01T00:00:00Z, 16 days 16 hours in the future, by this machine's clock (PyJWT: "The token is not yet valid (iat)")
    if 2025-12-15T08:00:00Z is not the right time, set this machine's clock, or wait until then, and set the clock of the manager that issued it
    "#);
    let early = jwt(r#"{"alg":"RS256"}"#, &format!("{{\"nbf\":{}}}", now().as_second()));
    insta::assert_snapshot!(said_at(Kind::Auth, &early, &Context::at(now() - 90.minutes())), @r#"
    the component auth token is valid only from 2026-01-01T00:00:00Z on, in 1 hour 30 minutes, by this machine's clock (PyJWT: "The token is not yet valid (nbf)")
    if 2025-12-31T22:30:00Z is not the right time, set this machine's clock, or wait until then
    "#);
    let error = verdict(Kind::Auth, Format::Auto, &early).map(|_| ());
    assert_eq!(error, Ok(()));
}

#[test]
fn only_time_is_about_time() {
    assert!(verdict(Kind::Auth, Format::Auto, &expiring(now() - 1.hour())).unwrap_err().is_about_time());
    assert!(!verdict(Kind::Auth, Format::Auto, "false").unwrap_err().is_about_time());
}

#[test]
fn a_token_that_will_not_last_is_accepted_with_a_warning() {
    let left = |minutes: i64| said(Kind::Auth, &expiring(now() + minutes.minutes()));
    insta::assert_snapshot!(left(4), @"
    accepted
    the token expires in 4 minutes, and the work ahead may take 10 minutes
    ");
    assert_eq!(left(10), "accepted\n");
    insta::assert_snapshot!(said(Kind::Auth, &expiring(now() - 30.seconds())), @"
    accepted
    the token expired 30 seconds ago; only the leeway keeps it
    ");
}

#[test]
fn a_signature_that_is_too_short_for_its_algorithm_is_a_warning() {
    let cut = expiring(now() + 24.hours());
    let cut = format!("{}c2lnbmF0dXJl", &cut[..=cut.rfind('.').unwrap()]);
    insta::assert_snapshot!(said(Kind::Auth, &cut), @"
    accepted
    the signature has 9 bytes where RS256 has at least 128: the token may have been cut
    ");
}

#[test]
fn each_refusal_of_a_damaged_token_says_where_it_is_damaged() {
    let good = expiring(now() + 24.hours());
    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    insta::assert_snapshot!(said(Kind::Auth, &format!("{header}.{payload}")), @r#"
    the component auth token is not a JSON Web Token: it has 2 segments between dots, not 3 (PyJWT: "Not enough segments")
    the token was probably cut or changed on its way: copy it again, whole; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(said(Kind::Auth, &format!("{good}.{signature}")), @r#"
    the component auth token is not a JSON Web Token: it has 4 segments between dots, not 3 (PyJWT: "Invalid payload padding")
    the token was probably cut or changed on its way: copy it again, whole; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(said(Kind::Auth, &format!("{header}.{}/{}.{signature}", &payload[..4], &payload[4..])), @r#"
    the component auth token is damaged: its payload is not base64url, character 26 is a slash (PyJWT: "Invalid payload padding")
    the token was probably cut or changed on its way: copy it again, whole; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(said(Kind::Auth, &format!("{header}.{payload}.{}", &signature[1..])), @r#"
    the component auth token is damaged: its signature is not base64url, a character is missing or one too many (PyJWT: "Invalid crypto padding")
    the token was probably cut or changed on its way: copy it again, whole; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(said(Kind::Auth, &jwt(r#"{"alg":"none"}"#, "{}")), @r#"
    the component auth token is not signed: its header says that the algorithm is none (PyJWT: "The specified alg value is not allowed")
    `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(said(Kind::Auth, &jwt(r#"{"alg":"RS256"}"#, r#"{"exp":"never"}"#)), @r#"
    the component auth token has a claim exp that is no number (PyJWT: "Expiration Time claim (exp) must be an integer.")
    `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(said(Kind::Auth, &jwt(r#"{"alg":"RS256"}"#, r#"{"exp":1,"exp":2}"#)), @"
    the component auth token is ambiguous: its payload holds the same key twice
    `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    ");
    insta::assert_snapshot!(said(Kind::Auth, &jwt(r#"{"alg":"RS256"}"#, r#"{"exp":1"#)), @r#"
    the component auth token is damaged: its payload is not JSON from byte 8 on (PyJWT: "Invalid payload string")
    the token was probably cut or changed on its way: copy it again, whole; `kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one without any token must be redeployed
    "#);
    insta::assert_snapshot!(said(Kind::Manager, "Zq7Rk2/Xw9Lp4Tn8Vb3s"), @"
    the manager token holds a character that no token has: character 7 is a slash
    only letters, digits and . _ ~ - survive Kasm's scripts: if the token really holds another character, make a new one; take the manager token from the Admin UI, or let Kasm put it in place of {manager_token} in a startup script
    ");
    insta::assert_snapshot!(said(Kind::Manager, "Zq7Rk2mXw9"), @"
    the manager token is too short: 10 characters, and an opaque token has at least 12
    make sure that the whole token was copied; take the manager token from the Admin UI, or let Kasm put it in place of {manager_token} in a startup script
    ");
    insta::assert_snapshot!(said(Kind::Registration, "--server-zone"), @"
    the component registration token begins with a dash, as a flag does
    look for a flag whose value is missing; Kasm's installer takes every value that begins with a dash for an option; copy the Component Registration Token from the Admin UI: Settings, Global, Authentication
    ");
}

#[test]
fn spans_are_told_in_words() {
    for (seconds, words) in [
        (0, "0 seconds"),
        (1, "1 second"),
        (61, "1 minute 1 second"),
        (3_600, "1 hour"),
        (3_659, "1 hour"),
        (11_520, "3 hours 12 minutes"),
        (86_400 * 3 + 7_300, "3 days 2 hours"),
        (86_400 * 366, "1 year 1 day"),
    ] {
        assert_eq!(in_words(Duration::from_secs(seconds)), words);
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Manager, Kind::Registration, Kind::CheckIn, Kind::Auth])
}

fn any_format() -> impl Strategy<Value = Format> {
    prop::sample::select(vec![Format::Auto, Format::Jwt, Format::Opaque])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_gets_a_verdict_that_does_not_show_it(
        kind in any_kind(), format in any_format(),
        text in prop_oneof!["(?s).{0,200}", "[A-Za-z0-9._~-]{0,140}", "eyJ[A-Za-z0-9._=-]{0,60}", "[ -~]{0,40}"],
    ) {
        // `verdict` itself looks for the token in the error.
        match verdict(kind, format, &text) {
            Ok(accepted) => {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)));
                prop_assert_eq!(accepted.form == Form::Jwt, accepted.claims.is_some());
            }
            Err(error) => {
                let failure = Failure::from(error);
                prop_assert!(failure.reason.starts_with("token."));
                prop_assert!(matches!(failure.exit(), Exit::Token | Exit::Usage));
                prop_assert!(!failure.help.is_empty() && !failure.help.ends_with('.'));
            }
        }
    }

    #[test]
    fn no_key_file_makes_it_panic(
        label in "(RSA )?(PUBLIC KEY|CERTIFICATE)",
        body in prop::collection::vec(any::<u8>(), 0..120),
        around in "(?s).{0,30}",
    ) {
        let encoded = base64::engine::general_purpose::STANDARD.encode(body);
        let pem = format!("{around}-----BEGIN {label}-----\n{encoded}\n-----END {label}-----\n");
        prop_assert!(PublicKey::from_pem(pem.as_bytes()).is_err());
        PublicKey::from_pem(around.as_bytes()).ok();
    }

    #[test]
    fn random_opaque_tokens_are_accepted(kind in prop::sample::select(vec![Kind::Manager, Kind::Registration]),
                                         text in "[A-Za-z0-9]{11,29}[0-9]") {
        prop_assume!(!text.starts_with("eyJ") && text.bytes().any(|byte| byte != text.as_bytes()[0]));
        prop_assert_eq!(reason(kind, Format::Auto, &text), "opaque");
    }

    #[test]
    fn json_of_any_kind_in_a_payload_gets_a_verdict(
        payload in "(?s).{0,60}",
        claim in "(exp|nbf|iat|sub)",
        value in "[-+0-9.eE]{1,12}",
    ) {
        verdict(Kind::Auth, Format::Auto, &jwt(r#"{"alg":"RS256"}"#, &payload)).ok();
        verdict(Kind::Auth, Format::Auto, &jwt(r#"{"alg":"RS256"}"#, &format!("{{\"{claim}\":{value}}}"))).ok();
    }

    #[test]
    fn a_changed_structure_is_refused_the_same_way_by_every_kind_and_format(
        cut in any::<prop::sample::Index>(), how in 0..5_u8, byte in "[ -~]",
    ) {
        let good = expiring(now() + 24.hours());
        let at = cut.index(good.len());
        let changed = match how {
            0 => good[..at].to_owned(),
            1 => format!("{}.{}", &good[..at], &good[at..]),
            2 => format!("{}{}", &good[..at], &good[at + 1..]),
            3 => format!("{}{byte}{}", &good[..at], &good[at..]),
            _ => format!("{}={}", &good[..at], &good[at..]),
        };
        let auth = reason(Kind::Auth, Format::Auto, &changed);
        for kind in [Kind::Manager, Kind::Registration, Kind::CheckIn] {
            prop_assert_eq!(reason(kind, Format::Jwt, &changed), auth);
            if changed.contains('.') || changed.starts_with("eyJ") {
                prop_assert_eq!(reason(kind, Format::Auto, &changed), auth);
            }
        }
        // Cutting, splitting and padding always break it; another character may make another good token.
        if matches!(how, 1 | 4) || (how == 0 && at <= good.rfind('.').unwrap() + 1) {
            prop_assert_ne!(auth, "jwt");
        }
    }
}
