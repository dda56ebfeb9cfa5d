//! What went wrong between two sides, in words for the one who can mend it: what, where, and what to do.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use super::said::hosts_among;

/// How a certificate is renewed where no other authority has made it.
const RENEW: &str = "`daffi-runtime certs issue NAME --renew`";

/// Whose certificate something is said of, or whose side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Controller,
    Node,
}

impl Whose {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Node => "node",
        }
    }

    /// Of a certificate that is for something else than this.
    pub(super) fn other_purpose(self) -> &'static str {
        match self {
            Self::Controller => {
                "it is not for a controller: `daffi-runtime certs issue NAME --controller --host HOST` makes one that is"
            }
            Self::Node => {
                "it is not for a node, which is a client of TLS: `daffi-runtime certs issue NAME` makes one that is"
            }
        }
    }
}

/// A failed handshake, as one side sees it.
pub(super) struct Fault {
    /// What happened.
    pub(super) message: String,
    /// Whether the same attempt may go better later: nobody has judged anybody.
    pub(super) passing: bool,
}

/// What the user of a node is told that dials one of these.
pub(super) fn for_dialer(error: &io::Error, whom: Whose) -> Fault {
    let judged = |message: &str| Fault { message: message.to_owned(), passing: false };
    match of_tls(error) {
        Some(Error::InvalidCertificate(error)) => {
            judged(&format!("its certificate is not accepted: {}", of_certificate(error, whom)))
        }
        Some(Error::AlertReceived(alert)) => judged(&of_alert(*alert, Whose::Node)),
        Some(Error::InvalidMessage(_)) => judged("what listens there does not speak TLS: is it a tcp:// address?"),
        Some(Error::NoApplicationProtocol) => judged(&no_daffi(whom)),
        Some(Error::PeerIncompatible(_)) => judged("what listens there does not speak TLS 1.3"),
        Some(other) => judged(&other.to_string()),
        None => Fault { message: format!("the connection ended in the handshake: {error}"), passing: true },
    }
}

/// What the log of one of these says, to which somebody came.
pub(super) fn for_acceptor(error: &io::Error, whose: Whose) -> Fault {
    let judged = |message: &str| Fault { message: message.to_owned(), passing: false };
    match of_tls(error) {
        Some(Error::NoCertificatesPresented) if matches!(whose, Whose::Node) => judged("it shows no certificate"),
        Some(Error::NoCertificatesPresented) => {
            judged("it shows no certificate, and there is no --join-token-file with which it could join without one")
        }
        Some(Error::InvalidCertificate(error)) => {
            judged(&format!("its certificate is not accepted: {}", of_certificate(error, Whose::Node)))
        }
        Some(Error::AlertReceived(alert)) => judged(&of_alert(*alert, whose)),
        Some(other) => Fault { message: format!("no TLS handshake came of it: {other}"), passing: true },
        None => Fault { message: format!("it went in the handshake: {error}"), passing: true },
    }
}

/// What is said of somebody who speaks something else inside TLS than one of these.
pub(super) fn no_daffi(whom: Whose) -> String {
    format!("what listens there is no {} of daffi-runtime", whom.name())
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What is wrong with the other side's certificate.
pub(super) fn of_certificate(error: &CertificateError, whose: Whose) -> String {
    let other_purpose = whose.other_purpose();
    let whose = format!("the {}", whose.name());
    let ago = |at: &UnixTime, time: &UnixTime| {
        let seconds = time.as_secs().abs_diff(at.as_secs());
        let whole = seconds - if seconds > 120 { seconds % 60 } else { 0 };
        humantime::format_duration(std::time::Duration::from_secs(whole)).to_string()
    };
    match error {
        // A bad signature: an authority of the same name has signed it, with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("no authority in --tls-ca has signed it; is it of {whose} that you mean?")
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("it expired {} ago: {whose} needs a new one, as {RENEW} makes it", ago(not_after, time))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("it holds only in {}: are the clocks of both machines right?", ago(not_before, time))
        }
        // Times of which the end is before the beginning: of neither is it said how far it is from now.
        CertificateError::Expired => {
            format!("it holds at no time, or not any more: {whose} needs a new one, as {RENEW} makes it")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let hosts = hosts_among(presented);
            let (host, hosts) =
                (expected.to_str(), if hosts.is_empty() { "no host".to_owned() } else { hosts.join(", ") });
            format!(
                "it is for {hosts}, and not for the host {host:?} of --connect: connect to the controller by a host that it is for, \
                 or issue it with --host {host}"
            )
        }
        // Ours: see [`super::sides`].
        CertificateError::Other(why) => why.0.to_string(),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => other_purpose.to_owned(),
        other => other.to_string(),
    }
}

/// What the other side thinks of our certificate.
fn of_alert(alert: AlertDescription, whose: Whose) -> String {
    let we = format!("this {}", whose.name());
    match alert {
        AlertDescription::CertificateRequired => {
            format!("the other side wants a certificate of {we}: give --tls-cert and --tls-key")
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            format!(
                "the other side does not accept the certificate of {we}: no authority in its --tls-ca has signed it"
            )
        }
        AlertDescription::CertificateExpired => {
            format!(
                "the other side does not accept the certificate of {we}: it has expired, or holds only later; renew it with \
                 {RENEW}, or set the clocks of both machines"
            )
        }
        AlertDescription::UnsupportedCertificate => {
            format!("the other side does not accept the certificate of {we}: {}", whose.other_purpose())
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked => {
            format!("the other side does not accept the certificate of {we} ({alert:?})")
        }
        AlertDescription::NoApplicationProtocol => {
            "the other side speaks something else than daffi inside TLS".to_owned()
        }
        AlertDescription::ProtocolVersion => "the other side does not speak TLS 1.3".to_owned(),
        other => format!("the other side ended the handshake ({other:?})"),
    }
}
