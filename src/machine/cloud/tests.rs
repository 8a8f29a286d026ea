use super::*;
use std::fs;

/// A machine whose firmware says this.
fn machine(fields: &[(&str, &str)]) -> (tempfile::TempDir, Paths) {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::below(root.path());
    for (name, value) in fields {
        let path = if *name == "xen" { paths.xen_uuid() } else { paths.dmi_dir().join(name) };
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
    }
    (root, paths)
}

fn told_by(fields: &[(&str, &str)]) -> Option<Cloud> {
    recognise(&machine(fields).1)
}

#[test]
fn each_cloud_is_known_by_its_firmware() {
    const UUID: &str = "ec2e1916-9099-7caf-fd21-012345abcdef";
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Fields, Option<Cloud>); 18] = [
        (&[("sys_vendor", "Amazon EC2"), ("product_name", "t3.large")], Some(Cloud::Ec2)),
        (&[("sys_vendor", "Xen"), ("xen", UUID)], Some(Cloud::Ec2)),
        (&[("sys_vendor", "Xen"), ("product_uuid", &UUID.to_uppercase()), ("product_serial", UUID)], Some(Cloud::Ec2)),
        (&[("sys_vendor", "Xen"), ("product_uuid", UUID), ("product_serial", "else")], None),
        (&[("sys_vendor", "Google"), ("product_name", "Google Compute Engine")], Some(Cloud::Gcp)),
        (&[("product_serial", "GoogleCloud-1234")], Some(Cloud::Gcp)),
        (
            &[("sys_vendor", "Microsoft Corporation"), ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77")],
            Some(Cloud::Azure),
        ),
        (&[("sys_vendor", "Microsoft Corporation"), ("product_name", "Virtual Machine")], None),
        (&[("sys_vendor", "QEMU"), ("chassis_asset_tag", "OracleCloud.com")], Some(Cloud::Oci)),
        (&[("sys_vendor", "DigitalOcean"), ("product_name", "Droplet")], Some(Cloud::DigitalOcean)),
        (&[("product_name", "OpenStack Nova")], Some(Cloud::OpenStack)),
        (&[("product_name", "OpenStack Compute")], Some(Cloud::OpenStack)),
        (&[("chassis_asset_tag", "HUAWEICLOUD")], Some(Cloud::OpenStack)),
        (&[("sys_vendor", "KubeVirt"), ("product_name", "None")], Some(Cloud::KubeVirt)),
        (&[("sys_vendor", "QEMU"), ("product_name", "Standard PC (Q35 + ICH9, 2009)")], None),
        (&[("sys_vendor", "ec"), ("product_uuid", "ec"), ("product_serial", "ec")], None),
        (&[("sys_vendor", "é")], None),
        (&[], None),
    ];
    for (fields, cloud) in cases {
        assert_eq!(told_by(fields), cloud, "{fields:?}");
    }
}
