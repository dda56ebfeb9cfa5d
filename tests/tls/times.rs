//! Certificates that do not hold now, of either side: both are told so, and what to do.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::{Duration, OffsetDateTime};

use super::{Mesh, says};

/// An authority that signs what `certs issue` would not, in place of that of a mesh.
struct Authority {
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn of(mesh: &Mesh) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut of_it = params("authority");
        of_it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        of_it.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        mesh.cluster.file("certs/ca.pem", of_it.self_signed(&key).unwrap().pem());
        Self { key }
    }

    /// A certificate of the mesh's host for anything, which holds for this many days from now: from one to the other.
    fn issue(&self, mesh: &Mesh, name: &str, (from, to): (i64, i64)) {
        let mut of_it = params(name);
        let host = mesh.url.trim_start_matches("tls://").split(':').next().unwrap();
        let uris = [format!("daffi:node/{name}"), "daffi:tenant/default?process=*".to_owned()];
        let uris = uris.map(|uri| SanType::URI(uri.try_into().unwrap()));
        of_it.subject_alt_names = uris.into_iter().chain([SanType::IpAddress(host.parse().unwrap())]).collect();
        of_it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let now = OffsetDateTime::now_utc();
        (of_it.not_before, of_it.not_after) = (now + Duration::days(from), now + Duration::days(to));
        let key = KeyPair::generate().unwrap();
        let made = of_it.signed_by(&key, &Issuer::new(params("authority"), &self.key)).unwrap();
        mesh.cluster.file(&format!("certs/{name}.pem"), made.pem());
        // The file of a key that `certs` made, which is closed to others.
        mesh.cluster.file(&format!("certs/{name}.key"), key.serialize_pem());
    }
}

const NOW: (i64, i64) = (-1, 1);

/// Times that are not now, and what the other side says of them.
const NOT_NOW: [((i64, i64), &str); 2] = [((-3, -1), "it expired 1day"), ((1, 3), "it holds only in ")];

/// A mesh in which each has a certificate of this authority.
fn mesh() -> (Mesh, Authority) {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "server"]);
    let authority = Authority::of(&mesh);
    (mesh, authority)
}

#[test]
fn a_node_whose_certificate_does_not_hold_now_is_told_to_renew_it_and_its_controller_says_how_late_it_is() {
    let (mesh, authority) = mesh();
    authority.issue(&mesh, "mesh", NOW);
    let controller = mesh.controller(&mesh.shows("mesh"));
    for (times, why) in NOT_NOW {
        authority.issue(&mesh, "server", times);
        let node = mesh.node("math", &mesh.shows("server")).module("math", "fixtures").start();
        assert_eq!(node.exit_code(), 5);
        let told = [
            &mesh.url,
            "the certificate of this node: it has expired, or holds only later",
            "certs issue NAME --renew",
        ];
        says(&node.lines().join("\n"), &told);
        controller.wait_for_line_with(&["was turned away", "its certificate is not accepted", why]);
    }
    authority.issue(&mesh, "server", NOW);
    let _node = mesh.node("math", &mesh.shows("server")).module("math", "fixtures").ready();
}

#[test]
fn a_controller_whose_certificate_does_not_hold_now_lets_nobody_in_and_both_are_told() {
    let (mesh, authority) = mesh();
    authority.issue(&mesh, "server", NOW);
    authority.issue(&mesh, "mesh", NOT_NOW[0].0);
    let controller = mesh.controller(&mesh.shows("mesh"));
    controller.wait_for_line_with(&["no node is let in with it: it expired 1day", "certs issue NAME --renew"]);
    for (times, why) in NOT_NOW {
        authority.issue(&mesh, "mesh", times);
        let node = mesh.node("math", &mesh.shows("server")).module("math", "fixtures").start();
        assert_eq!(node.exit_code(), 5);
        says(&node.lines().join("\n"), &[&mesh.url, "its certificate is not accepted", why]);
    }
    let told = ["was turned away", "the certificate of this controller: it has expired", "certs issue NAME --renew"];
    controller.wait_for_line_with(&told);
    // A new one is taken without a restart.
    authority.issue(&mesh, "mesh", NOW);
    let _node = mesh.node("math", &mesh.shows("server")).module("math", "fixtures").ready();
}
