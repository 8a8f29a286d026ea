use super::*;
use proptest::prelude::*;

#[test]
fn a_holder_is_told_by_its_unit_its_pid_and_its_program() {
    let holder = Holder { pid: Some(812), command: Some("apt-get".into()), unit: Some("apt-daily.service".into()) };
    insta::assert_snapshot!(holder, @"apt-daily.service, pid 812, apt-get");
    insta::assert_snapshot!(Holder { unit: None, ..holder }, @"pid 812, apt-get");
    insta::assert_snapshot!(Holder::default(), @"a process that cannot be seen from here");
}

#[test]
fn a_program_is_called_by_its_whole_name_and_a_script_by_its_own() {
    for (comm, cmdline, expected) in [
        ("apt-get\n", "apt-get\0update\0", Some("apt-get")),
        ("unattended-upgr\n", "/usr/bin/python3\0/usr/bin/unattended-upgrade\0-d\0", Some("unattended-upgrade")),
        ("apt.systemd.dai\n", "/bin/sh\0/usr/lib/apt/apt.systemd.daily\0update\0", Some("apt.systemd.daily")),
        ("python3\n", "python3\0/usr/share/tool.py\0", Some("tool.py")),
        ("python3.12\n", "/usr/bin/python3.12\0/usr/sbin/aptd\0", Some("aptd")),
        // What follows an option may be anything, a secret too.
        ("python3\n", "python3\0-c\0token = 1\0", Some("python3")),
        ("bash\n", "bash\0-c\0apt-get update\0", Some("bash")),
        ("packagekitd\n", "/usr/libexec/packagekitd\0", Some("packagekitd")),
        ("kworker/0:1\n", "", Some("kworker/0:1")),
        ("a \x1b[31m\n", "", Some("a[31m")),
        ("\n", "", None),
    ] {
        assert_eq!(command(comm.as_bytes(), cmdline.as_bytes()).as_deref(), expected, "{comm:?} {cmdline:?}");
    }
}

#[test]
fn the_innermost_unit_is_found_in_both_kinds_of_hierarchy() {
    for (cgroup, expected) in [
        ("0::/system.slice/apt-daily.service\n", Some("apt-daily.service")),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-5.scope\n", Some("run-5.scope")),
        ("9:cpu:/\n1:name=systemd:/system.slice/cloud-final.service\n0::/\n", Some("cloud-final.service")),
        ("4:memory:/not/a.service\n0::/\n", None),
        ("0::/system.slice/docker-abc.scope/inner\n", Some("docker-abc.scope")),
        ("", None),
        ("0::", None),
    ] {
        assert_eq!(unit(cgroup).as_deref(), expected, "{cgroup:?}");
    }
}

#[test]
fn the_kernels_list_is_read_without_its_waiters_and_leases() {
    let text = "\
1: POSIX  ADVISORY  WRITE 812 fe:00:10013059 0 EOF
1: -> POSIX  ADVISORY  WRITE 900 fe:00:10013059 0 EOF
2: OFDLCK ADVISORY  WRITE -1 103:02:77 0 EOF
3: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF
4: LEASE  ACTIVE    READ  4 00:13:5 0 EOF
";
    let found: Vec<Entry> = parse_locks(text).collect();
    let entry = |kind, pid, device, inode| Entry { kind, pid, device, inode };
    assert_eq!(
        found,
        [
            entry(Kind::Posix, Some(812), (0xfe, 0), 10_013_059),
            entry(Kind::Ofd, None, (0x103, 2), 77),
            entry(Kind::Flock, Some(359), (0, 0x13), 11_691),
        ]
    );
}

#[test]
fn a_process_that_is_gone_leaves_only_its_number() {
    // Beyond the kernel's largest (PID_MAX_LIMIT, proc_sys_kernel(5)).
    let holder = Holder::of(4_194_305);
    assert_eq!(holder, Holder { pid: Some(4_194_305), command: None, unit: None });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_line_the_kernel_writes_is_understood(
        pid in 1u32..4_194_304, major in 0u64..4096, minor in 0u64..1_048_576,
        inode in any::<u64>(), end in any::<u32>(),
    ) {
        let line = format!("17: POSIX  ADVISORY  READ  {pid} {major:02x}:{minor:02x}:{inode} 0 {end}\n");
        let found: Vec<Entry> = parse_locks(&line).collect();
        prop_assert_eq!(found, [Entry { kind: Kind::Posix, pid: Some(pid), device: (major, minor), inode }]);
    }

    #[test]
    fn no_text_makes_the_parsers_panic_or_a_name_unprintable(
        text in "(?s).{0,200}", line in "[0-9]{1,2}:( ->)? (POSIX|FLOCK|OFDLCK|X)? +[A-Z -]{0,12} [0-9a-f: -]{0,30}",
        comm in proptest::collection::vec(any::<u8>(), 0..20), cmdline in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        for input in [&text, &line] {
            prop_assert!(parse_locks(input).count() <= input.lines().count());
            if let Some(unit) = unit(input) {
                prop_assert!(unit.chars().all(|c| c.is_ascii_graphic()) && unit.len() <= 255);
            }
        }
        if let Some(name) = command(&comm, &cmdline) {
            prop_assert!(!name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_graphic()));
        }
    }

    #[test]
    fn a_unit_is_found_wherever_its_slice_lies(
        slices in proptest::collection::vec("[a-z]{1,8}\\.slice", 0..4), name in "[a-z0-9@_-]{1,20}\\.(service|scope)",
    ) {
        let path: String = slices.iter().map(|slice| format!("/{slice}")).collect();
        let found = unit(&format!("12:pids:/x\n0::{path}/{name}\n"));
        prop_assert_eq!(found, Some(name));
    }
}
