//! Values: what each kind accepts and what it says of the rest.

use super::*;

fn problems<T: std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, value::Wrong>, texts: &[&str]) -> String {
    let line = |text: &&str| {
        let wrong = parse(text).expect_err(text);
        format!("{}; {}", wrong.problem, wrong.help)
    };
    texts.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn managers_are_hosts_with_or_without_a_port() {
    for (text, host, port) in [
        ("kasm.example.com", "kasm.example.com", None),
        ("kasm", "kasm", None),
        ("kasm.example.com.", "kasm.example.com.", None),
        ("10.0.0.1:8443", "10.0.0.1", Some(8443)),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:443", "2001:db8::1", Some(443)),
    ] {
        assert_eq!(value::host_port(text), Ok(HostPort { host: host.into(), port }), "{text}");
    }
    insta::assert_snapshot!(problems(value::host_port, &[
        "https://kasm.example.com:8443/#/login", "kasm.example.com/", "me@kasm.example.com", "kasm.example.com:0", "kasm.example.com:",
        ":443", "10.0.0.300", "kasm_&.example", "-kasm", "kasm..example", "2001:db8::zz", "[fe80::1%eth0]:443", "[]", "ZONE.example",
    ]), @"
    is `https://kasm.example.com:8443/#/login`, a URL; write only the host, without `https` and path: kasm.example.com:8443
    is `kasm.example.com/`, with a path; write only the host: kasm.example.com
    holds an `@`; write only the host, without a user: kasm.example.com
    is `kasm.example.com:0`, and the port is `0`, which is no port; write host, or host:port
    is `kasm.example.com:`, and the port is ``, which is no port; write host, or host:port
    names no host; write host, or host:port
    is `10.0.0.300`, which is no valid IPv4 address; correct the address: four numbers from 0 to 255
    is `kasm_&.example`: the character `&` does not survive Kasm's installer; use letters, digits, `.`, `_` and `-`
    is `-kasm`, which Kasm's installer takes for an option; let it begin with another character
    is `kasm..example`, neither a DNS name nor an address; write a name such as kasm.example.com, or an address
    is `2001:db8::zz`, no valid IPv6 address; correct the address; with a port it stands in brackets: [2001:db8::1]:443
    is `[fe80::1%eth0]`: an address with a scope means something on one machine only; use a global address or a DNS name
    is `[]`: the character `[` does not survive Kasm's installer; use letters, digits, `.`, `_` and `-`
    is `ZONE.example`: Kasm's installer replaces the word ZONE in it; choose a name without that word
    ");
}

#[test]
fn addresses_are_auto_an_interface_or_given() {
    assert_eq!(value::address("auto"), Ok(AddressChoice::Auto));
    assert_eq!(value::address("interface:enp1s0"), Ok(AddressChoice::Interface("enp1s0".into())));
    assert_eq!(value::address("10.0.0.1"), Ok(AddressChoice::Given("10.0.0.1".into())));
    assert_eq!(
        value::address("ec2-public").unwrap(),
        AddressChoice::Cloud(crate::intent::CloudAddress::parse("ec2-public").unwrap())
    );
    assert_eq!(value::address("[2001:db8::1]"), Ok(AddressChoice::Given("2001:db8::1".into())));
    insta::assert_snapshot!(problems(value::address, &[
        "10.0.0.1:443", "interface:", "interface:far-too-long-a-name", "0.0.0.0", "a b", "a\"b", "SERVER_ADDRESS",
    ]), @r#"
    is `10.0.0.1:443`, with a port; write 10.0.0.1 here, and the port into proxy_port
    is `interface:`, which names no network interface; write interface:NAME as `ip link` shows it, such as interface:enp1s0
    is `interface:far-too-long-a-name`, which names no network interface; write interface:NAME as `ip link` shows it, such as interface:enp1s0
    is `0.0.0.0`, which is no address of one machine; write auto, interface:NAME, or an address the manager can reach
    is `a b`: the character ` ` does not survive Kasm's installer; use letters, digits, `.`, `_` and `-`
    is `a"b`: the character `"` does not survive Kasm's installer; use letters, digits, `.`, `_` and `-`
    is `SERVER_ADDRESS`: Kasm's installer replaces the word SERVER_ADDRESS in it; choose a name without that word
    "#);
}

#[test]
fn words_survive_the_installer() {
    for good in ["harvester", "0a1b-2c", "Zürich", "a.b_c~d:e@f,g+h=i%j^k"] {
        assert_eq!(value::word(good), Ok(good.to_owned()));
    }
    for bad in [
        "-a",
        "a b",
        "a/b",
        "a&b",
        "a\\b",
        "a'b",
        "a\"b",
        "a\nb",
        "a\0b",
        "a$b",
        "a`b",
        "a;b",
        "a*b",
        "xZONEx",
        "MY_SERVER_PORT",
    ] {
        assert!(value::word(bad).is_err(), "{bad:?}");
    }
    assert!(value::word(&"a".repeat(256)).is_err());
}

#[test]
fn spans_amounts_and_switches_are_read_as_people_write_them() {
    for (text, seconds) in
        [("90s", 90), ("90", 90), ("2m", 120), ("1h30m", 5400), ("1h 30m", 5400), ("0s", 0), ("24h", 86400)]
    {
        assert_eq!(value::duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(value::duration("500ms"), Ok(Duration::from_millis(500)));
    for (text, mib) in [("8192", 8192), ("8192M", 8192), ("8G", 8192), ("8 GiB", 8192), ("1t", 1048576), ("0", 0)] {
        assert_eq!(value::mebibytes(text), Ok(mib), "{text}");
    }
    assert_eq!((value::boolean("Yes"), value::boolean("0")), (Ok(true), Ok(false)));
    assert_eq!(value::port("443"), Ok(443));
    insta::assert_snapshot!(problems(value::duration, &["-5s", "25h", "soon", "", "1d", "9999999999999999999999s"]), @"
    is `-5s`, which is no span of time up to a day; write a number with a unit: 90s, 2m, 1h30m
    is `25h`, which is no span of time up to a day; write a number with a unit: 90s, 2m, 1h30m
    is `soon`, which is no span of time up to a day; write a number with a unit: 90s, 2m, 1h30m
    is ``, which is no span of time up to a day; write a number with a unit: 90s, 2m, 1h30m
    is `1d`, which is no span of time up to a day; write a number with a unit: 90s, 2m, 1h30m
    is `9999999999999999999999s`, which is no span of time up to a day; write a number with a unit: 90s, 2m, 1h30m
    ");
    insta::assert_snapshot!(problems(value::mebibytes, &["-5", "8X", "G", "5T", "99999999999999999999"]), @"
    is `-5`, which is no amount of memory; write MiB as a number, or with a unit: 8192, 8192M, 8G
    is `8X`, which is no amount of memory; write MiB as a number, or with a unit: 8192, 8192M, 8G
    is `G`, which is no amount of memory; write MiB as a number, or with a unit: 8192, 8192M, 8G
    is `5T`, more than 4 TiB; write MiB as a number, or with a unit: 8192, 8192M, 8G
    is `99999999999999999999`, which is no amount of memory; write MiB as a number, or with a unit: 8192, 8192M, 8G
    ");
    insta::assert_snapshot!(problems(value::port, &["0", "65536", "+1", "http"]), @"
    is `0`, which is no port; write a number from 1 to 65535
    is `65536`, which is no port; write a number from 1 to 65535
    is `+1`, which is no port; write a number from 1 to 65535
    is `http`, which is no port; write a number from 1 to 65535
    ");
    insta::assert_snapshot!(problems(value::boolean, &["maybe"]), @"is `maybe`; write true or false");
}

#[test]
fn digests_and_pins_are_sixty_four_digits() {
    assert_eq!(value::digest(&HEX.to_uppercase()), Ok(Digest::Pinned(HEX.into())));
    assert_eq!(value::digest("sidecar"), Ok(Digest::Sidecar));
    let colons = HEX.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>().join(":");
    assert_eq!(value::pin(&colons), value::pin(HEX));
    assert_eq!(value::pin(HEX).unwrap().0[0], 0xaa);
    insta::assert_snapshot!(problems(value::digest, &["abc", "Sidecar", &format!("{HEX}0")]), @"
    is `abc`, which is no SHA-256; write the 64 digits that `kasm-bootstrap release digest FILE` prints, or sidecar
    is `Sidecar`, which is no SHA-256; write the 64 digits that `kasm-bootstrap release digest FILE` prints, or sidecar
    is `aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddd…`, which is no SHA-256; write the 64 digits that `kasm-bootstrap release digest FILE` prints, or sidecar
    ");
    assert!(value::pin("é".repeat(32).as_str()).is_err());
}

#[test]
fn a_minisign_key_is_itself_or_a_file() {
    assert_eq!(value::minisign_key(KEY), Ok(MinisignKey::Text(KEY.into())));
    for path in ["/etc/kasm-bootstrap/minisign.pub", "/etc/key", "minisign.pub"] {
        assert_eq!(value::minisign_key(path), Ok(MinisignKey::File(path.into())));
    }
    insta::assert_snapshot!(problems(value::minisign_key, &["RWnonsense", HEX]), @"
    is `RWnonsense`, which is no minisign public key; write the line of minisign.pub that begins with RW, or the whole path of that file
    is `aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddd…`, which is no minisign public key; write the line of minisign.pub that begins with RW, or the whole path of that file
    ");
}

#[test]
fn urls_are_http_https_or_file() {
    for good in ["https://m.example/k.tar.gz", "http://10.0.0.1:8080/k", "file:///srv/k.tar.gz", "http://[::1]:80/k"] {
        assert_eq!(value::url(good), Ok(good.to_owned()));
    }
    insta::assert_snapshot!(problems(value::url, &["m.example/k", "ftp://m.example/k", "file://", "file://host/k", "https://"]), @"
    holds `m.example/k`, which is no URL; write https://HOST/PATH or file:///PATH
    holds a URL with the scheme `ftp`; write https://HOST/PATH or file:///PATH
    holds a URL that leads nowhere; write https://HOST/PATH or file:///PATH
    holds a URL that leads nowhere; write https://HOST/PATH or file:///PATH
    holds `https://`, which is no URL; write https://HOST/PATH or file:///PATH
    ");
}

#[test]
fn a_misspelt_method_is_not_taken_for_a_name() {
    let help = |text: &str| value::address(text).unwrap_err().help;
    assert_eq!(help("ec2-privat"), "did you mean ec2-private?");
    assert_eq!(help("EC2_Public"), "did you mean ec2-public?");
    assert_eq!(help("opnestack-public"), "did you mean openstack-public?");
    assert!(help("oci-public").starts_with("the methods are ec2-private, "));
    for name in ["ec2-198-51-100-1.compute-1.amazonaws.com", "kasm-public", "ec2", "node-private", "agent7"] {
        assert_eq!(value::address(name), Ok(AddressChoice::Given(name.into())));
    }
}

#[test]
fn an_endpoint_is_http_and_an_address() {
    for (text, endpoint) in [
        ("http://169.254.169.254", "http://169.254.169.254"),
        ("http://169.254.169.254/", "http://169.254.169.254"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[fd00:ec2::254]", "http://[fd00:ec2::254]"),
        ("http://[::1]:80/", "http://[::1]:80"),
    ] {
        assert_eq!(value::endpoint(text).as_deref(), Ok(endpoint));
    }
    for wrong in [
        "",
        "http://",
        "169.254.169.254",
        "https://169.254.169.254",
        "http://metadata.google.internal",
        "http://127.0.0.1/latest",
        "http://u:p@127.0.0.1",
        "http://fd00:ec2::254",
        "http://127.0.0.1//",
    ] {
        assert!(value::endpoint(wrong).is_err(), "{wrong}");
    }
}
