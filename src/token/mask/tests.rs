use super::*;
use proptest::prelude::*;

const TOKEN: &str = "Zq7Rk2mXw9Lp4Tn8Vb3s";
const JWT: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE4OTM0NTYwMDB9.c2lnbmF0dXJl";

fn masker(secrets: &[&str]) -> Masker {
    let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text)).collect();
    Masker::new(&secrets)
}

#[test]
fn the_installers_own_words_lose_the_token_and_keep_the_rest() {
    let masker = masker(&[TOKEN]);
    for (line, masked) in [
        (format!("Setting Default Manager Token as {TOKEN}"), "Setting Default Manager Token as [masked]"),
        (format!("+ sed -i s/TOKEN/{TOKEN}/ app.yaml"), "+ sed -i s/TOKEN/[masked]/ app.yaml"),
        (format!("{TOKEN}{TOKEN}"), "[masked][masked]"),
        (format!("ärger {TOKEN}ß"), "ärger [masked]ß"),
    ] {
        assert_eq!(masker.mask(&line), masked);
    }
}

#[test]
fn a_token_nobody_told_us_of_is_masked_where_it_is_announced() {
    let masker = masker(&[]);
    for (line, masked) in [
        (format!("Setting Default Manager Token as {TOKEN}"), "Setting Default Manager Token as [masked]"),
        ("Setting Default Manager Token as abcdefgh".to_owned(), "Setting Default Manager Token as [masked]"),
        (format!("auth: {JWT}."), "auth: [masked]."),
        (format!("x{JWT}, y"), "x[masked], y"),
        ("cut eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE4".to_owned(), "cut [masked]"),
        ("POST /api/set_server_status?token=abc.def&x=1".to_owned(), "POST /api/set_server_status?token=[masked]&x=1"),
        ("next=%2Fx%3Ftoken%3Dabc123".to_owned(), "next=%2Fx%3Ftoken%3D[masked]"),
        (format!("  registration_token: {TOKEN}"), "  registration_token: [masked]"),
        ("  auth_token: 'x y'".to_owned(), "  auth_token: '[masked] y'"),
        (r#"{"token": "abc", "n": 1}"#.to_owned(), r#"{"token": "[masked]", "n": 1}"#),
        (r#"log="{\"token\": \"abc\"}""#.to_owned(), r#"log="{\"token\": \"[masked]\"}""#),
        ("upgrade.sh --registration-token abcdef -v".to_owned(), "upgrade.sh --registration-token [masked] -v"),
        ("install.sh --manager-token=abcdef".to_owned(), "install.sh --manager-token=[masked]"),
        ("Authorization: Bearer abcdef".to_owned(), "Authorization: Bearer [masked]"),
        ("authorization: Basic dXNlcjpwYXNz".to_owned(), "authorization: Basic [masked]"),
        (r#"-H "Authorization: abcdef""#.to_owned(), r#"-H "Authorization: [masked]""#),
        (format!("sent Bearer {TOKEN} to it"), "sent Bearer [masked] to it"),
    ] {
        assert_eq!(masker.mask(&line), masked);
    }
}

#[test]
fn messages_about_tokens_stay_readable() {
    let masker = masker(&[TOKEN]);
    for line in [
        "Error while decoding token: Not enough segments",
        "The JWT token has expired",
        "Expired JWT utilized on register_component",
        "invalid token: expired",
        "token: authentication failed",
        "Unknown option --token",
        "the bearer of bad news",
        "tokens: 3",
        "use the token as an argument",
        "authorization failed",
        "keyJoin.a.b and eyJ alone",
        "",
    ] {
        assert!(
            matches!(masker.mask(line), Cow::Borrowed(same) if same == line),
            "{line} became {}",
            masker.mask(line)
        );
    }
}

#[test]
fn encoded_forms_are_masked_too() {
    let secret = "p/ss w\"rd+1";
    let masker = masker(&[secret]);
    for text in ["p%2Fss%20w%22rd%2B1", "p%2fss%20w%22rd%2b1", "p/ss w\\\"rd+1"] {
        assert_eq!(masker.mask(text), MASK);
    }
    for before in ["", "u", "us", "use", "user:"] {
        for behind in ["", "x", "xx", "xxx"] {
            let whole = format!("{before}{secret}{behind}");
            for encoded in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                assert_eq!(masker.mask(&format!("<{encoded}==>")), "<[masked]>", "{before}…{behind}");
            }
        }
    }
}

#[test]
fn short_secrets_do_not_shred_the_log() {
    let masker = masker(&["", "1", "short", "masked"]);
    assert_eq!(masker.mask("1 short line, [masked]"), "1 short line, [masked]");
}

#[test]
fn a_masker_does_not_show_its_secrets() {
    assert!(!format!("{:?}", masker(&[TOKEN])).contains(TOKEN));
}

#[test]
fn long_lines_of_bait_are_masked_in_linear_time() {
    // With anything quadratic these megabytes would take hours.
    let masker = masker(&[TOKEN]);
    for bait in ["eyJ", "token:", "token ", "Bearer ", "authorization:", "--token", "=", "a", "token as ", TOKEN] {
        let line = bait.repeat(2_000_000 / bait.len());
        assert!(!masker.mask(&line).contains(TOKEN));
    }
    let encoded = STANDARD_NO_PAD.encode(format!("{TOKEN}x").repeat(100_000));
    assert_eq!(masker.mask(&encoded), MASK);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_secret_survives(secret in "[A-Za-z0-9._~-]{6,40}", parts in prop::collection::vec("(?s).{0,12}", 1..5)) {
        prop_assume!(!MASK.contains(&secret));
        let text = parts.join(&secret);
        let masked = masker(&[&secret]).mask(&text).into_owned();
        prop_assert!(!masked.contains(&secret), "{} in {}", secret, masked);
    }

    #[test]
    fn masking_twice_changes_nothing_more(
        secret in "[A-Za-z0-9._~-]{6,12}",
        parts in prop::collection::vec(
            "(token|Token |: |=| as |eyJ|Bearer |authorization:|--|\"|[a-zA-Z0-9.]{1,9}|é){0,6}",
            1..6,
        ),
    ) {
        prop_assume!(!MASK.contains(&secret));
        let masker = masker(&[&secret]);
        let once = masker.mask(&parts.join(&secret)).into_owned();
        prop_assert_eq!(masker.mask(&once), once.as_str());
    }

    #[test]
    fn text_without_secrets_is_unchanged(text in "[a-z ,:=/é]{0,200}") {
        prop_assume!(!text.contains("token") && !text.contains("bearer") && !text.contains("authorization"));
        let masker = masker(&[TOKEN]);
        prop_assert_eq!(masker.mask(&text), text.as_str());
    }

    #[test]
    fn any_text_is_taken(text in "(?s).{0,300}") {
        masker(&[TOKEN]).mask(&text);
    }
}
