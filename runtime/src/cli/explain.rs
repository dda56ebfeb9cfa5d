//! `daffi-runtime explain`: whether a process may call a callback, by which rules, or what is missing.
//!
//! | module | holds |
//! |---|---|
//! | [`answer`] | the question and the answer, and the words that both forms have in common |
//! | [`files`] | of config files, as runtimes would read them; nothing is started |
//! | [`mesh`] | of a running mesh, as an anonymous client sees it; nothing is called |
//!
//! Files know all rules and not who is there; the mesh knows who is there and not what the caller's runtime keeps to itself.
//! So a question is asked of one of the two, and flags of both are a mistake.

mod answer;
mod files;
mod mesh;

use super::args::{ConnectArgs, ExplainArgs};
use crate::exit::Failure;

/// Explains, and gives the exit code too: 0 where the call is allowed, 3 where it would not run.
///
/// # Errors
/// A question that cannot be asked, a file that cannot be used, no controller.
pub fn run(args: &ExplainArgs) -> Result<(String, u8), Failure> {
    let answer = if args.config.is_empty() {
        mesh::explain(args)?
    } else {
        if let Some(flag) = of_the_mesh(&args.connect) {
            let advice = format!("leave {flag} out to ask the files, or --config to ask the mesh");
            return Err(Failure::usage(format!("--config asks files, and {flag} is for a running mesh: {advice}")));
        }
        files::explain(args)?
    };
    Ok((answer.text(args.json)?, answer.exit_code()))
}

/// The first flag of a client that was given.
fn of_the_mesh(connect: &ConnectArgs) -> Option<&'static str> {
    let ConnectArgs { connect, insecure, tenant, tls, log } = connect;
    let given = [
        ("--connect", connect.is_some()),
        ("--insecure", *insecure),
        ("--tenant", tenant.is_some()),
        ("--tls-ca", tls.tls_ca.is_some()),
        ("--tls-cert", tls.tls_cert.is_some()),
        ("--tls-key", tls.tls_key.is_some()),
        ("--join-token-file", tls.join_token_file.is_some()),
        ("--log", log.is_some()),
    ];
    given.into_iter().find_map(|(flag, given)| given.then_some(flag))
}
