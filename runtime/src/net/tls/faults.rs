//! What went wrong between two sides, in words for the one who can mend it: what, where, and what to do.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

/// How a certificate is renewed where no other authority has made it.
const RENEW: &str = "`daffi-runtime certs issue NAME --renew`";

/// A failed handshake, as one side sees it.
pub(super) struct Fault {
    /// What happened.
    pub(super) message: String,
    /// Whether the same attempt may go better later: nobody has judged anybody.
    pub(super) passing: bool,
}

/// What the node's user is told.
pub(super) fn for_node(error: &io::Error) -> Fault {
    let judged = |message: &str| Fault { message: message.to_owned(), passing: false };
    match of_tls(error) {
        Some(Error::InvalidCertificate(error)) => {
            judged(&format!("its certificate is not accepted: {}", of_certificate(error, "the controller")))
        }
        Some(Error::AlertReceived(alert)) => judged(&of_alert(*alert, "this node")),
        Some(Error::InvalidMessage(_)) => judged("what listens there does not speak TLS: is it a tcp:// address?"),
        Some(Error::NoApplicationProtocol) => judged("what listens there is no controller of daffi-runtime"),
        Some(Error::PeerIncompatible(_)) => judged("what listens there does not speak TLS 1.3"),
        Some(other) => judged(&other.to_string()),
        None => Fault { message: format!("the connection ended in the handshake: {error}"), passing: true },
    }
}

/// What the controller's log says.
pub(super) fn for_controller(error: &io::Error) -> Fault {
    let judged = |message: &str| Fault { message: message.to_owned(), passing: false };
    match of_tls(error) {
        Some(Error::NoCertificatesPresented) => {
            judged("it shows no certificate, and there is no --join-token-file with which it could join without one")
        }
        Some(Error::InvalidCertificate(error)) => {
            judged(&format!("its certificate is not accepted: {}", of_certificate(error, "the node")))
        }
        Some(Error::AlertReceived(alert)) => judged(&of_alert(*alert, "this controller")),
        Some(other) => Fault { message: format!("no TLS handshake came of it: {other}"), passing: true },
        None => Fault { message: format!("it went in the handshake: {error}"), passing: true },
    }
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What is wrong with the other side's certificate.
fn of_certificate(error: &CertificateError, whose: &str) -> String {
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
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = if presented.is_empty() { "no host".to_owned() } else { presented.join(", ") };
            format!(
                "it is for {presented}, and not for the host {:?} of --connect: issue it with --host",
                expected.to_str()
            )
        }
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            let advice = "`daffi-runtime certs issue --controller` makes one for a controller";
            format!("it is for another purpose than that of {whose}: {advice}")
        }
        other => other.to_string(),
    }
}

/// What the other side thinks of our certificate.
fn of_alert(alert: AlertDescription, we: &str) -> String {
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
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
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
