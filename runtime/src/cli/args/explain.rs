//! The flags of `explain`.

use std::path::PathBuf;

use clap::Args;

use super::ConnectArgs;

/// `explain`
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub struct ExplainArgs {
    /// Who calls: PROCESS or TENANT::PROCESS
    pub caller: String,
    /// What is called: a name as the caller writes it, TENANT::NAME for another tenant's
    pub callback: String,
    /// Ask this config file of a runtime, and no mesh; repeated: those of all runtimes that matter
    #[arg(long, value_name = "PATH")]
    pub config: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the mesh is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

const EXPLAIN_HELP: &str = "\
One line a rule: what it allows (yes or no), and why, or what to do.

Without --config the running mesh is asked: whether the caller is there, which callback the name means, who has it, and \
what another tenant exports to the caller's, which is that of TENANT::PROCESS or --tenant. Nothing is called. What only the \
caller's runtime knows has a `?`: its grants, aliases and imports, which its config file and component say.

With --config the files are asked: all rules, with the file of each. Nothing is started; processes that no file names are \
not known.

Exit codes: 0 nothing that was asked forbids it; 2 what you gave cannot be used; 3 the call would not run; 5 there is no \
controller.

Examples:
  daffi-runtime explain consumer sum-of-two-numbers
  daffi-runtime explain globex::shop acme::prices#of --connect tcp://127.0.0.1:8888
  daffi-runtime explain --config acme.toml --config globex.toml globex::shop acme::prices#of";
