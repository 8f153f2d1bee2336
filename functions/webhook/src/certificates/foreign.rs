//! Certificates that are not what an authority made.

use std::sync::LazyLock;

use fuzz::proptest::prelude::{prop_assert, prop_assert_eq};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use x509_cert::der::Encode as _;

use super::*;

/// A root, an issuing authority and a signer, as DER and as PEM.
struct Made {
    der: Vec<Vec<u8>>,
    pem: Vec<String>,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let params = |name: &str, authority: bool| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Microsoft Corporation");
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    };
    let (root, issuing) = (params("Root", true), params("Issuing", true));
    let mut leaf = params("pcnotifications-dispatch.microsoft.com", false);
    // Authority information access: one issuer, at http://www.microsoft.com/a.crt.
    let location = b"http://www.microsoft.com/a.crt";
    let length = u8::try_from(location.len()).unwrap();
    let mut access = vec![
        0x30,
        length + 14,
        0x30,
        length + 12,
        0x06,
        0x08,
        0x2b,
        6,
        1,
        5,
        5,
        7,
        0x30,
        2,
        0x86,
        length,
    ];
    access.extend(location);
    let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    leaf.custom_extensions
        .push(CustomExtension::from_oid_content(&oid, access));

    let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
    let by_root = Issuer::from_params(&root, &keys[0]);
    let by_issuing = Issuer::from_params(&issuing, &keys[1]);
    let certificates = [
        root.self_signed(&keys[0]).unwrap(),
        issuing.signed_by(&keys[1], &by_root).unwrap(),
        leaf.signed_by(&keys[2], &by_issuing).unwrap(),
    ];
    Made {
        der: certificates.iter().map(|made| made.der().to_vec()).collect(),
        pem: certificates.iter().map(rcgen::Certificate::pem).collect(),
    }
});

#[test]
fn the_genuine_signer_is_proven() {
    let leaf = Candidate::read(&MADE.der[2]).unwrap();
    assert!(leaf.is_microsofts);
    assert_eq!(leaf.issuers, ["http://www.microsoft.com/a.crt"]);
    let certificates = certificates();
    let candidates = [CertificateDer::from(MADE.der[1].clone())];
    assert!(certificates.prove_chain(&leaf, &candidates, now()).is_some());
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn certificates() -> Certificates {
    let anchors = Anchors::from_pem(MADE.pem[0].as_bytes()).unwrap();
    Certificates::new(
        transport::client().unwrap(),
        Hosts::parse("www.microsoft.com").unwrap(),
        anchors,
    )
}

#[test]
fn a_document_is_exactly_one_certificate_and_none_that_was_changed_is_proven() {
    let documents = MADE
        .der
        .iter()
        .cloned()
        .chain(MADE.pem.iter().map(|pem| pem.clone().into_bytes()));
    let certificates = certificates();
    let candidates = [CertificateDer::from(MADE.der[1].clone())];
    fuzz::check("certificates", file!(), 4_000, fuzz::bytes(documents), |document| {
        let Some(read) = Candidate::read(&document) else {
            return Ok(());
        };
        if !document.trim_ascii_start().starts_with(b"-----BEGIN") {
            prop_assert_eq!(&*read.der, &document[..]);
        }
        let parsed = Certificate::from_der(&read.der).unwrap();
        prop_assert_eq!(parsed.to_der().unwrap(), &*read.der, "it is not canonical");
        if read.is_microsofts {
            prop_assert!(read.der.windows(ORGANISATION.len()).any(|part| part == ORGANISATION));
        }
        prop_assert!(read.issuers.iter().map(String::len).sum::<usize>() <= document.len());
        if let Some(until) = certificates.prove_chain(&read, &candidates, now()) {
            prop_assert!(
                MADE.der.iter().any(|made| made[..] == *read.der),
                "a changed certificate was proven"
            );
            prop_assert!(until <= read.not_after && read.is_valid(now().as_second()));
        }
        Ok(())
    });
}

#[test]
fn a_file_of_anchors_has_a_root_or_is_refused() {
    let files = [MADE.pem.concat(), MADE.pem[0].clone(), MADE.pem[1..].concat()];
    fuzz::check("files of anchors", file!(), 1_500, fuzz::bytes(files), |pem| {
        if let Some(anchors) = Anchors::from_pem(&pem) {
            prop_assert!(!anchors.roots.is_empty());
            let blocks = pem.windows(10).filter(|part| part == b"-----BEGIN").count();
            prop_assert!(anchors.roots.len() + anchors.intermediates.len() <= blocks);
        }
        Ok(())
    });
}
